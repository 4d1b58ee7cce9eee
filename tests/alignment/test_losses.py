"""VAMA's losses: predicting the mean costs 1, and only masked segments count."""

from __future__ import annotations

import math

import pytest
import torch

from foleyflow.alignment.losses import onset_loss, reconstruction_losses
from foleyflow.alignment.model import AlignmentConfig, Reconstruction
from foleyflow.alignment.targets import MelPatches, SegmentLogMel

CONFIG = AlignmentConfig()
SEGMENTS, CHANNELS, DIM = 20, 32, CONFIG.mel_frames_per_segment * CONFIG.mel_bands + 1


def output(latents: torch.Tensor, mel: torch.Tensor) -> Reconstruction:
    return Reconstruction(states=latents, latents=latents, mel=mel, onsets=latents[..., 0])


@pytest.fixture
def targets():
    torch.manual_seed(0)
    return {
        "latents": torch.randn(16, 4 * SEGMENTS, CHANNELS),
        "mel": torch.randn(16, SEGMENTS, DIM),
    }


@pytest.fixture
def masked():
    torch.manual_seed(1)
    return torch.rand(16, SEGMENTS) < 0.7


def test_predicting_the_mean_costs_one_and_the_targets_zero(targets, masked):
    guess = output(torch.zeros_like(targets["latents"]), torch.zeros_like(targets["mel"]))
    for name, value in reconstruction_losses(guess, masked=masked, **targets).items():
        assert float(value) == pytest.approx(1.0, abs=0.15 if name == "energy" else 0.03)
    exact = output(targets["latents"], targets["mel"])
    assert not any(reconstruction_losses(exact, masked=masked, **targets).values())


def test_only_masked_segments_count(targets, masked):
    wrong_latents, wrong_mel = targets["latents"].clone(), targets["mel"].clone()
    wrong_mel[~masked] += 9.0
    wrong_latents[~masked.repeat_interleave(4, 1)] += 9.0
    wrong = output(wrong_latents, wrong_mel)
    assert not any(reconstruction_losses(wrong, masked=masked, **targets).values())


def test_the_loss_does_not_depend_on_the_number_of_masked_segments(targets):
    exact = output(targets["latents"] + 2.0, targets["mel"] + 3.0)
    for fraction in (0.1, 1.0):
        masked = torch.rand(16, SEGMENTS) < fraction
        parts = reconstruction_losses(exact, masked=masked, **targets)
        got = {name: float(value) for name, value in parts.items()}
        assert got == pytest.approx({"latent": 4.0, "mel": 9.0, "energy": 9.0}, rel=1e-4)


def test_the_loss_without_masked_segments_is_zero(targets):
    masked = torch.zeros(16, SEGMENTS, dtype=torch.bool)
    guess = output(torch.zeros_like(targets["latents"]), torch.zeros_like(targets["mel"]))
    assert not any(reconstruction_losses(guess, masked=masked, **targets).values())


def test_onset_loss_is_a_weighted_cross_entropy():
    logits = torch.tensor([[2.0, -1.0, 0.5, 3.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    masked = torch.tensor([[True, False]])  # two latent frames per segment
    wanted = (4 * math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-1.0))) / 2
    assert float(onset_loss(logits, targets, masked)) == pytest.approx(wanted, rel=1e-5)


@pytest.fixture
def patches():
    return MelPatches(CONFIG, SegmentLogMel(CONFIG, rate_hz=48_000))


def test_patches_are_normalised_and_their_level_is_a_target(patches):
    sound = torch.randn(2, 4 * 3840, generator=torch.Generator().manual_seed(0))
    mel = patches(sound)
    assert mel.shape == (2, 32, CONFIG.mel_bands)
    targets = patches.targets(mel)
    assert targets.shape == (2, 4, DIM)
    torch.testing.assert_close(targets[..., :-1].mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    raw = mel.reshape(2, 4, -1)
    torch.testing.assert_close(targets[..., -1], raw.mean(-1))
    spread = raw.std(-1)
    torch.testing.assert_close(targets[..., :-1].std(-1), spread / (spread + 0.1))


def test_a_gain_changes_the_level_but_not_the_patch(patches):
    sound = torch.randn(1, 4 * 3840, generator=torch.Generator().manual_seed(0))
    plain, loud = (patches.targets(patches(gain * sound)) for gain in (1.0, 10.0))
    torch.testing.assert_close(loud[..., :-1], plain[..., :-1], atol=1e-3, rtol=1e-3)
    step = (loud - plain)[..., -1]
    torch.testing.assert_close(step, torch.full_like(step, math.log(10) / 3), atol=1e-3, rtol=0)
