"""The frame encoder: which frames it looks at, and that batches and blocks change nothing."""

from __future__ import annotations

import pytest
import torch

from foleyflow.encoders.motion import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError

CONFIG = MotionEncoderConfig(size=32, widths=(4, 4, 8, 8), dim=8)
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


def test_the_same_pictures_give_the_same_features(encoder):
    pictures = film(2, 5)
    before = pictures.clone()
    assert torch.equal(encoder(pictures), encoder(pictures))
    assert torch.equal(pictures, before)


def test_clips_of_a_batch_do_not_see_each_other(encoder):
    pictures = film(3, 5)
    whole = encoder(pictures)
    for row in range(3):
        torch.testing.assert_close(encoder(pictures[row : row + 1])[0], whole[row])


def test_a_clip_may_be_cut_in_blocks(encoder):
    pictures = film(1, 12)
    blocks = [encoder(pictures[:, s : s + 4 + CONFIG.window]) for s in (0, 4, 8)]
    torch.testing.assert_close(torch.cat(blocks, 1), encoder(pictures))


def test_a_feature_is_of_its_frame_and_of_two_on_each_side(encoder):
    pictures = film(1, 9)
    before = encoder(pictures)
    for changed in range(9 + CONFIG.window):
        other = pictures.clone()
        other[:, changed] = 255 - other[:, changed]
        moved = ((encoder(other) - before).abs().amax(-1)[0] > 1e-5).nonzero()[:, 0].tolist()
        centre = changed - HALF
        wanted = [t for t in range(9) if abs(t - centre) <= HALF]
        assert moved == wanted


def test_a_still_clip_shows_no_change(encoder):
    torch.manual_seed(1)
    blind = MotionEncoder(CONFIG).eval().requires_grad_(False)
    blind.load_state_dict(encoder.state_dict())
    blind.stem.weight[:, 3:] = 0.0  # what is learned of changes
    still = film(1, 1)[:, :1].expand(-1, 6 + CONFIG.window, -1, -1, -1)
    torch.testing.assert_close(encoder(still), blind(still))
    torch.testing.assert_close(encoder(still), encoder(still)[:, :1].expand(-1, 6, -1))
    moving = film(1, 6)
    assert not torch.allclose(encoder(moving), blind(moving), atol=1e-3)


@pytest.mark.parametrize(("size", "window"), [(30, 4), (32, 3)])
def test_sizes_that_do_not_fit_are_refused(size, window):
    with pytest.raises(ConfigError, match=f"size={size} .*window={window}"):
        MotionEncoderConfig(size=size, window=window)
