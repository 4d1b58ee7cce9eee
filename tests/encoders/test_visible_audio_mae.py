"""AudioMAE as a student: what it hears of a sound, and that it hears nothing of what is hidden."""

from __future__ import annotations

import pytest
import torch
from support.small_encoders import WIDTH, small

from foleyflow.encoders.catalogue import AUDIOMAE_SOUND
from foleyflow.encoders.frozen import FrozenSound
from foleyflow.encoders.kaldi_fbank import FbankLevels
from foleyflow.encoders.visible_audio_mae import VisibleSound, VisibleSoundConfig
from foleyflow.errors import ConfigError

SEGMENT_SAMPLES = 2560
LEVELS = FbankLevels(mean=AUDIOMAE_SOUND.mean, deviation=AUDIOMAE_SOUND.deviation)


@pytest.fixture
def student(timm):
    torch.manual_seed(0)
    trunk = small("audiomae").trunk()
    config = VisibleSoundConfig(published="audiomae", dim=WIDTH, bottleneck=4, adapted=1)
    student = VisibleSound(trunk, config).eval()
    with torch.no_grad():
        student.project.weight.copy_(torch.eye(WIDTH))
        student.project.bias.zero_()
    return student


def noise(segments: int, *, rows: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(rows, segments * SEGMENT_SAMPLES, generator=generator)


@torch.no_grad()
def test_what_is_all_visible_is_heard_as_by_the_frozen_encoder(student):
    """Two implementations: all patches of ten seconds, and adapters that have not learnt yet."""
    sound = noise(64)
    whole = FrozenSound(student.trunk, AUDIOMAE_SOUND).eval()(sound[0])
    kept = torch.ones(1, 64, dtype=torch.bool)
    torch.testing.assert_close(student(LEVELS(sound), kept)[0], whole.mean(1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_no_sample_of_a_hidden_segment_is_heard(student):
    kept = torch.zeros(1, 12, dtype=torch.bool)
    kept[0, [0, 3, 4, 11]] = True
    sound, other = noise(12), noise(12, seed=1)
    hidden = ~kept.repeat_interleave(SEGMENT_SAMPLES, 1)
    changed = torch.where(hidden, 5 * other + 0.3, sound)
    heard, still = student(LEVELS(sound), kept), student(LEVELS(changed), kept)
    torch.testing.assert_close(heard, still, atol=1e-4, rtol=1e-4)
    assert not heard[~kept].any() and heard[kept].abs().min() > 0
    # And a visible one is: each of its segments hears it.
    moved = sound.clone()
    moved[:, 3 * SEGMENT_SAMPLES + 500 : 3 * SEGMENT_SAMPLES + 900] *= 8
    assert (student(LEVELS(moved), kept) - heard)[0, 3].abs().max() > 1e-3


@torch.no_grad()
def test_rows_with_fewer_visible_segments_are_heard_as_alone(student):
    kept = torch.zeros(3, 10, dtype=torch.bool)
    kept[0, [1, 2, 7]] = True
    kept[1, 5] = True
    levels = LEVELS(noise(10, rows=3))
    together = student(levels, kept)
    for row in range(3):
        alone = student(levels[row : row + 1], kept[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=1e-4)
    assert not together[2].any()


def test_only_adapters_and_projection_learn(student):
    kept = torch.ones(1, 4, dtype=torch.bool)
    student(LEVELS(noise(4)), kept).square().sum().backward()
    assert all(p.grad is None for p in student.trunk.parameters())
    assert student.adapters[0].widen.weight.grad.abs().max() > 0
    assert student.project.weight.grad.abs().max() > 0


def test_more_segments_than_it_has_places_for_are_refused(student):
    with pytest.raises(ConfigError, match="windows of 65 segments: audiomae hears 64"):
        student(LEVELS(noise(65)), torch.ones(1, 65, dtype=torch.bool))
