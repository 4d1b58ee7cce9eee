"""The frame encoder: its window, its inputs, and independence of batches and blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from foleyflow.encoders.motion_encoder import (
    PATCH,
    MotionEncoder,
    MotionEncoderConfig,
    PlacewiseMix,
)
from foleyflow.errors import ConfigError

DEEPER = ("middle_pairs.", "rounds.")  # prefixes of the tensors of further layers
CONFIG = MotionEncoderConfig(size=32, widths=(4, 4, 8), dim=8)
HALF = CONFIG.window // 2


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return MotionEncoder(CONFIG).eval().requires_grad_(False)


def film(batch: int, count: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    shape = (batch, count + CONFIG.window, 3, CONFIG.size, CONFIG.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)


def test_shapes(encoder):
    assert encoder(film(2, 7)).shape == (2, 7, CONFIG.dim)
    assert encoder(film(1, 1)).shape == (1, 1, CONFIG.dim)


def test_the_encoder_is_deterministic_and_does_not_change_its_input(encoder):
    pictures = film(2, 5)
    before = pictures.clone()
    assert torch.equal(encoder(pictures), encoder(pictures))
    assert torch.equal(pictures, before)


def test_clips_of_a_batch_are_independent(encoder):
    pictures = film(3, 5)
    batch = encoder(pictures)
    for row in range(3):
        torch.testing.assert_close(encoder(pictures[row : row + 1])[0], batch[row])


def test_a_clip_can_be_encoded_in_blocks(encoder):
    pictures = film(1, 12)
    blocks = [encoder(pictures[:, s : s + 4 + CONFIG.window]) for s in (0, 4, 8)]
    torch.testing.assert_close(torch.cat(blocks, 1), encoder(pictures))


def test_a_feature_depends_on_the_frames_of_its_window(encoder):
    pictures = film(1, 9)
    before = encoder(pictures)
    for changed in range(9 + CONFIG.window):
        other = pictures.clone()
        other[:, changed] = 255 - other[:, changed]
        moved = ((encoder(other) - before).abs().amax(-1)[0] > 1e-5).nonzero()[:, 0].tolist()
        centre = changed - HALF
        wanted = [t for t in range(9) if abs(t - centre) <= HALF]
        assert moved == wanted


def test_a_still_clip_has_no_changes(encoder):
    torch.manual_seed(1)
    without_changes = MotionEncoder(CONFIG).eval().requires_grad_(False)
    without_changes.load_state_dict(encoder.state_dict())
    without_changes.stem.weight[:, 3 * PATCH**2 :] = 0.0  # the weights of changes
    still = film(1, 1)[:, :1].expand(-1, 6 + CONFIG.window, -1, -1, -1)
    torch.testing.assert_close(encoder(still), without_changes(still))
    torch.testing.assert_close(encoder(still), encoder(still)[:, :1].expand(-1, 6, -1))
    moving = film(1, 6)
    assert not torch.allclose(encoder(moving), without_changes(moving), atol=1e-3)


def test_inputs_are_patches_of_colours_and_changes_of_grey(encoder):
    pictures = film(1, 3)
    reach, half = CONFIG.reach, CONFIG.changes // 2
    patches = encoder._patches(pictures)
    side = CONFIG.size // PATCH
    assert patches.shape == (1, 3 + 2 * reach, side, side, PATCH**2 * (3 + CONFIG.changes))
    frame, row, column, y, x = 2, 3, 5, 1, 2
    picture = pictures[0, :, :, row * PATCH + y, column * PATCH + x].double()
    values = patches[0, frame, row, column].double()
    place = y * PATCH + x
    colour = (picture[frame + half] - 118) / 64
    torch.testing.assert_close(values[: 3 * PATCH**2][3 * place : 3 * place + 3], colour)
    grey = picture.mean(1)
    changes = values[3 * PATCH**2 :].reshape(CONFIG.changes, PATCH**2)[:, place]
    wanted = 4 * grey.diff()[frame : frame + CONFIG.changes] / 64
    torch.testing.assert_close(changes, wanted.clamp(-6, 6), atol=1e-6, rtol=1e-6)


def test_maps_are_mixed_at_each_place_only():
    torch.manual_seed(0)
    mix = PlacewiseMix(4, reach=2).requires_grad_(False)
    maps = torch.randn(1, 7, 3, 3, 4)
    changed = maps.clone()
    changed[:, 3, 1, 2] += 1.0
    moved = (mix(changed) - mix(maps)).abs().amax(-1)[0]
    assert moved.shape == (3, 3, 3)
    assert (moved > 1e-6).nonzero()[:, 1:].unique(dim=0).tolist() == [[1, 2]]
    assert bool((moved[:, 1, 2] > 1e-6).all())  # frame 3 is within reach of all three


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 30}, "size=30"),
        ({"changes": 3}, "changes=3"),
        ({"reach": -1}, "reach=-1"),
        ({"rounds": -1}, "rounds=-1"),
    ],
)
def test_invalid_sizes_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        MotionEncoderConfig(**settings)


def test_the_mix_of_middle_maps_is_the_identity_at_first_and_reaches_further():
    reaching = replace(CONFIG, middle_reach=1)
    torch.manual_seed(0)
    wide = MotionEncoder(reaching).eval().requires_grad_(False)
    narrow = MotionEncoder(CONFIG).eval()
    shared = {k: v for k, v in wide.state_dict().items() if "middle_neighbours" not in k}
    narrow.load_state_dict(shared)
    pictures = film(1, 7)
    inner = pictures[:, 1:-1]
    torch.testing.assert_close(wide(pictures), narrow(inner).detach())
    # With other weights, the outermost frames matter
    torch.nn.init.normal_(wide.middle_neighbours.mix.weight)
    changed = pictures.clone()
    changed[:, 0] = 255 - changed[:, 0]
    difference = (wide(changed) - wide(pictures)).abs().amax((0, 2))
    assert difference[0] > 0
    assert difference[1:].max() == 0


@pytest.mark.parametrize("added", [{"middle_pairs": 2}, {"rounds": 1}, {"rounds": 2}])
def test_further_layers_are_the_identity_at_first_and_learn(added):
    torch.manual_seed(0)
    deep = MotionEncoder(replace(CONFIG, **added))
    shallow = MotionEncoder(CONFIG)
    shared = {k: v for k, v in deep.state_dict().items() if not k.startswith(DEEPER)}
    shallow.load_state_dict(shared)
    wider = (deep.window - shallow.window) // 2
    assert wider == CONFIG.reach * added.get("rounds", 0)
    pictures = film(1, 3 + 2 * wider)
    inner = pictures[:, wider : pictures.shape[1] - wider]
    features = deep(pictures)
    torch.testing.assert_close(features, shallow(inner))
    # The zeroed layers receive gradients, so that the layers before them learn from then on
    features.square().sum().backward()
    named = [(name, p) for name, p in deep.named_parameters() if name.startswith(DEEPER)]
    last = [p for name, p in named if name.endswith(("second.weight", "mix.weight"))]
    assert last and not any(bool(p.any()) for p in last)
    assert all(bool(p.grad.any()) for p in last)
