"""Targets: standardised, frozen or slowly updated, and computed from the audio alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.alignment.targets import (
    CodecLatents,
    MelPatches,
    SegmentLogMel,
    SlowStudent,
    TeacherFeatures,
    split_features,
)
from foleyflow.errors import ConfigError

CONFIG = AlignmentConfig(
    width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, latent_channels=4
)
RATE_HZ, SEGMENTS = 48_000, 6
SAMPLES = round(SEGMENTS * CONFIG.segment_s * RATE_HZ)


@pytest.fixture(scope="module")
def patches():
    return MelPatches(CONFIG, SegmentLogMel(CONFIG, rate_hz=RATE_HZ))


def noise(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, SAMPLES, generator=torch.Generator().manual_seed(seed))


def student() -> Alignment:
    torch.manual_seed(0)
    return Alignment(CONFIG, encoder=nn.Identity())


# ---------------------------------------------------------------------------------- onsets


@pytest.mark.parametrize("time_s", [0.105, 0.2, 0.313])
def test_an_impact_is_an_onset_in_its_own_frame(patches, time_s):
    sound = 1e-4 * noise(1)
    start = round(time_s * RATE_HZ)
    sound[:, start:] += torch.exp(-torch.arange(SAMPLES - start) / 2000) * noise(1, 1)[:, start:]
    onsets = patches.onset_strength(patches(sound))[0]
    assert onsets.shape == (SEGMENTS * 4,)
    top = int(onsets.argmax())
    assert abs((top + 0.5) / 50 - time_s) <= 0.02
    assert onsets[top] == 1.0
    near = torch.arange(len(onsets)).sub(top).abs() <= 1
    assert onsets[~near].max() < 0.5


def test_silence_and_decay_have_no_onset(patches):
    silence = patches.onset_strength(patches(torch.zeros(1, SAMPLES)))
    assert not silence.any()
    fall = torch.exp(-torch.arange(SAMPLES) / 3000.0) * torch.sin(torch.arange(SAMPLES) * 0.1)
    assert patches.onset_strength(patches(fall[None])).max() < 0.35


def test_a_cut_ring_has_no_onset_at_the_edges(patches):
    ring = 0.3 * torch.sin(torch.arange(SAMPLES) * 0.1) + 1e-3 * noise(1)
    assert patches.onset_strength(patches(ring)).max() < 0.35


def test_vibrato_is_no_onset(patches):
    phase = torch.cumsum(0.1 + 0.004 * torch.sin(torch.arange(SAMPLES) / 2000.0), 0)
    vibrato = patches.onset_strength(patches(0.3 * torch.sin(phase)[None]))[0]
    click = torch.zeros(1, SAMPLES)
    click[0, SAMPLES // 2 :] = 0.3 * torch.sin(phase[: SAMPLES - SAMPLES // 2])
    assert vibrato.max() < 0.5 < patches.onset_strength(patches(click)).max()


# ---------------------------------------------------------------------------------- features


def test_codec_latents_are_standardised():
    raw = 3.0 + 2.0 * torch.randn(8, 24, 4, generator=torch.Generator().manual_seed(0))
    flat = raw.flatten(0, 1)
    got = CodecLatents(flat.mean(0), flat.std(0))({"latents": raw}, torch.zeros(0)).flatten(0, 1)
    torch.testing.assert_close(got.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(got.std(0), torch.ones(4), atol=1e-5, rtol=0)


class Levels(nn.Module):
    """A teacher of sixteen numbers per segment: means of mel bands, at odd scales."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.logspace(-1, 2, 16))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        bands = mel.unflatten(1, (-1, 8)).mean(2).unflatten(-1, (16, -1)).mean(-1)
        return 5.0 + self.scale * bands


def test_teacher_features_are_frozen_and_standardised(patches):
    teacher = Levels()
    mel = patches(noise(8))
    target = TeacherFeatures(teacher, CONFIG, mel)
    features = target({}, mel)
    assert features.shape == (8, 4 * SEGMENTS, 4)
    assert not features.requires_grad and not any(p.requires_grad for p in teacher.parameters())
    flat = features.flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(0), torch.ones(4), atol=1e-3, rtol=0)
    # Other sounds are standardised with the same scale
    loud = target({}, mel + 1.0)
    assert float(loud.mean()) > float(features.mean()) + 0.1


def test_features_of_another_size_are_refused():
    with pytest.raises(ConfigError, match=r"20 numbers per segment, the latent head 16") as caught:
        split_features(torch.zeros(1, 3, 20), CONFIG)
    assert "model.latent_channels" in caught.value.hint


def test_split_features_stay_in_their_segment():
    features = torch.arange(2 * 3 * 16.0).reshape(2, 3, 16)
    split = split_features(features, CONFIG)
    assert split.shape == (2, 12, 4)
    assert torch.equal(split.reshape(2, 3, 16), features)


def test_the_slow_student_is_normalised_and_updated(patches):
    model = student()
    slow = SlowStudent(model, decay=0.9)
    mel = patches(noise(2))
    before = slow({}, mel)
    tokens = before.reshape(2, SEGMENTS, 16)
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, SEGMENTS), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        tokens.std(-1, correction=0), torch.ones(2, SEGMENTS), atol=1e-2, rtol=0
    )
    with torch.no_grad():
        for p in model.audio_input.parameters():
            p.add_(1.0)
    assert torch.equal(slow({}, mel), before)  # unchanged until it is updated
    start = slow.module.audio_input.weight.clone()
    slow.update(model)
    torch.testing.assert_close(slow.module.audio_input.weight, start + 0.1)
    assert not torch.equal(slow({}, mel), before)
    assert not slow({}, mel).requires_grad
