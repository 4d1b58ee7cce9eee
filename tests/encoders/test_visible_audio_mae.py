"""AudioMAE as a student: features of visible segments, without influence of masked audio."""

from __future__ import annotations

import pytest
import torch
from support.small_encoders import WIDTH, small

from foleyflow.alignment.masking import sample_visible_mask
from foleyflow.encoders.catalogue import AUDIOMAE_SOUND
from foleyflow.encoders.frozen import FrozenSound
from foleyflow.encoders.kaldi_fbank import FbankLevels
from foleyflow.encoders.visible_audio_mae import FRAMES, VisibleAudioMae, VisibleAudioMaeConfig
from foleyflow.errors import ConfigError

SEGMENT_SAMPLES = 2560
LEVELS = FbankLevels(mean=AUDIOMAE_SOUND.mean, deviation=AUDIOMAE_SOUND.deviation)


@pytest.fixture
def student(timm):
    torch.manual_seed(0)
    trunk = small("audiomae").trunk()
    config = VisibleAudioMaeConfig(published="audiomae", dim=WIDTH, bottleneck=4, adapted=1)
    student = VisibleAudioMae(trunk, config).eval()
    with torch.no_grad():
        student.project.weight.copy_(torch.eye(WIDTH))
        student.project.bias.zero_()
    return student


def noise(segments: int, *, rows: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(rows, segments * SEGMENT_SAMPLES, generator=generator)


@torch.no_grad()
def test_fully_visible_audio_has_the_features_of_the_frozen_encoder(student):
    """Two implementations: all patches of ten seconds, and adapters that have not learnt yet."""
    sound = noise(64)
    complete = FrozenSound(student.trunk, AUDIOMAE_SOUND).eval()(sound[0])
    visible = torch.ones(1, 64, dtype=torch.bool)
    torch.testing.assert_close(
        student(LEVELS(sound), visible)[0], complete.mean(1), atol=1e-5, rtol=1e-4
    )


@torch.no_grad()
def test_masked_samples_have_no_influence(student):
    visible = torch.zeros(1, 12, dtype=torch.bool)
    visible[0, [0, 3, 4, 11]] = True
    sound, other = noise(12), noise(12, seed=1)
    hidden = ~visible.repeat_interleave(SEGMENT_SAMPLES, 1)
    changed = torch.where(hidden, 5 * other + 0.3, sound)
    features, unchanged = student(LEVELS(sound), visible), student(LEVELS(changed), visible)
    torch.testing.assert_close(features, unchanged, atol=1e-4, rtol=1e-4)
    assert not features[~visible].any() and features[visible].abs().min() > 0
    # Audio of a visible segment changes its features
    moved = sound.clone()
    moved[:, 3 * SEGMENT_SAMPLES + 500 : 3 * SEGMENT_SAMPLES + 900] *= 8
    assert (student(LEVELS(moved), visible) - features)[0, 3].abs().max() > 1e-3


@torch.no_grad()
def test_samples_with_fewer_visible_segments_are_independent(student):
    visible = torch.zeros(3, 10, dtype=torch.bool)
    visible[0, [1, 2, 7]] = True
    visible[1, 5] = True
    levels = LEVELS(noise(10, rows=3))
    together = student(levels, visible)
    for row in range(3):
        alone = student(levels[row : row + 1], visible[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=1e-4)
    assert not together[2].any()


def test_visible_frames_are_as_many_as_the_mask_ratio_says(student):
    """Frames of a gradient: the last two of a block are hidden, one at either end elsewhere."""
    visible = sample_visible_mask(
        24,
        40,
        frames_per_segment=FRAMES,
        ratio=0.8,
        longest_block=4,
        generator=torch.Generator().manual_seed(0),
    )
    levels = torch.randn(24, 40 * FRAMES, 128, generator=torch.Generator().manual_seed(0))
    levels.requires_grad_()
    student(levels, visible).square().sum().backward()
    used = levels.grad.abs().amax(-1) > 0
    assert float(used.float().mean()) == pytest.approx(0.2, abs=0.01)
    assert bool((used.unflatten(1, (40, FRAMES)).any(-1) == visible).all())


def test_only_adapters_and_projection_are_trained(student):
    visible = torch.ones(1, 4, dtype=torch.bool)
    student(LEVELS(noise(4)), visible).square().sum().backward()
    assert all(p.grad is None for p in student.trunk.parameters())
    assert student.adapters[0].widen.weight.grad.abs().max() > 0
    assert student.project.weight.grad.abs().max() > 0


def test_more_segments_than_positions_are_refused(student):
    with pytest.raises(ConfigError, match="windows of 65 segments: audiomae takes at most 64"):
        student(LEVELS(noise(65)), torch.ones(1, 65, dtype=torch.bool))


@pytest.fixture
def initialised(timm):
    """A student of two centred frames per segment, as in `literal-audiomae`."""
    torch.manual_seed(0)
    config = VisibleAudioMaeConfig(
        published="audiomae",
        dim=WIDTH,
        bottleneck=4,
        adapted=1,
        frames_per_segment=2,
        trains_trunk=True,
    )
    return VisibleAudioMae(small("audiomae").trunk(), config)


@torch.no_grad()
def test_two_frames_per_segment_are_those_of_the_pre_training_repeated(student, initialised):
    """With everything visible, where no frame is hidden."""
    initialised.load_state_dict(student.state_dict())
    levels, visible = torch.randn(2, 2 * 64, 128), torch.ones(2, 64, dtype=torch.bool)
    repeated = levels.repeat_interleave(8, 1)
    torch.testing.assert_close(initialised.eval()(levels, visible), student(repeated, visible))


def test_frames_at_both_ends_of_a_block_are_hidden(initialised):
    visible = torch.zeros(1, 10, dtype=torch.bool)
    visible[0, [3, 4, 5, 9]] = True
    levels = torch.randn(1, 20, 128, requires_grad=True)
    initialised(levels, visible).square().sum().backward()
    used = (levels.grad[0].abs().amax(-1) > 0).nonzero()[:, 0].tolist()
    assert used == [7, 8, 9, 10, 19]  # 18 is the guard of the block at the end of the window


def test_an_initialised_trunk_is_trained(initialised):
    visible = torch.ones(1, 4, dtype=torch.bool)
    initialised(torch.randn(1, 8, 128), visible).square().sum().backward()
    assert initialised.trunk.blocks[0].attn.qkv.weight.grad.abs().max() > 0


def test_frames_must_divide_a_patch():
    with pytest.raises(ConfigError, match="frames_per_segment=3: expected a divisor of 16"):
        VisibleAudioMaeConfig(published="audiomae", dim=WIDTH, frames_per_segment=3)
