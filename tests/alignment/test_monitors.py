"""Monitors: R2, errors by distance and by shift, and the detection of collapse."""

from __future__ import annotations

import pytest
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig, Reconstruction
from foleyflow.alignment.monitors import (
    COLLAPSED,
    FARTHEST,
    errors_by_distance,
    feature_deviation,
    r2,
    shifted_errors,
    squared_errors,
)
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig

SEGMENTS, CHANNELS, PATCH = 20, 6, 12


def goals() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "latents": torch.randn(8, 4 * SEGMENTS, CHANNELS, generator=random),
        "mel": 2.0 + torch.randn(8, SEGMENTS, PATCH + 1, generator=random),
    }


def decoded(latents: torch.Tensor, mel: torch.Tensor) -> Reconstruction:
    return Reconstruction(states=latents, latents=latents, mel=mel, onsets=latents[..., 0])


def score(pair: tuple[torch.Tensor, torch.Tensor]) -> float:
    return float(r2(torch.stack([part.sum() for part in pair])))


def test_r2_is_one_for_the_targets_and_zero_for_their_mean():
    true = goals()
    for factor, wanted in ((1.0, 1.0), (0.0, 0.0), (2.0, 0.0), (0.5, 0.75)):
        pairs = squared_errors(decoded(factor * true["latents"], true["mel"]), **true)
        assert score(pairs["latent"]) == pytest.approx(wanted, abs=1e-5)
        assert score(pairs["mel"]) == score(pairs["energy"]) == 1.0


def test_predicting_the_mean_level_gives_zero_r2():
    true = goals()
    level = true["mel"].clone()
    level[..., -1] = true["mel"][..., -1].mean()
    pairs = squared_errors(decoded(true["latents"], level), **true)
    assert score(pairs["energy"]) == pytest.approx(0.0, abs=1e-5)


def test_errors_by_distance_contain_every_masked_segment():
    visible = torch.zeros(2, SEGMENTS, dtype=torch.bool)
    visible[0, 3] = True  # the second sample is fully masked
    pair = (torch.rand(2, SEGMENTS), torch.rand(2, SEGMENTS))
    rows = errors_by_distance(pair, visible)
    assert rows.shape == (FARTHEST, 2)
    torch.testing.assert_close(rows[0, 0], pair[0][0, 2] + pair[0][0, 4])
    torch.testing.assert_close(rows[2, 1], pair[1][0, 0] + pair[1][0, 6])
    torch.testing.assert_close(rows.sum(0), torch.stack([p[~visible].sum() for p in pair]))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = AlignmentConfig(
        width=16,
        heads=2,
        video_layers=1,
        audio_layers=1,
        decoder_layers=1,
        latent_channels=CHANNELS,
        mel_frames_per_segment=2,
        mel_bands=PATCH // 2,
    )
    encoder = MotionEncoder(MotionEncoderConfig(size=32, widths=(4, 4, 8), dim=16))
    return Alignment(config, encoder=encoder).eval().requires_grad_(False)


@pytest.fixture
def film():
    """F^v and times of eight clips."""
    video = torch.randn(8, 40, 16, generator=torch.Generator().manual_seed(0))
    return video, (torch.arange(40) * 0.04).expand(8, -1)


def test_the_shift_curve_peaks_at_the_shift_that_undoes_a_delay(model, film):
    """The targets are the model's own predictions for the video at its true time."""
    video, times_s = film
    right = model.reconstruct(video, times_s, segments=SEGMENTS)
    true = {"latents": right.latents, "mel": right.mel}
    shifts_s = torch.tensor([-0.16, -0.08, 0.0, 0.08, 0.16])
    for delay_s in (-0.08, 0.0, 0.16):
        sums = shifted_errors(model, video, times_s + delay_s, **true, shifts_s=shifts_s)
        assert sums.shape == (5, 2)
        best = int(r2(sums).argmax())
        assert float(shifts_s[best]) == pytest.approx(-delay_s)
        assert float(r2(sums)[best]) == pytest.approx(1.0, abs=1e-4)


def test_segments_beyond_the_shifted_video_are_left_out(model, film):
    shifts_s = torch.tensor([-0.16, 0.0])
    one = shifted_errors(model, *film, **goals(), shifts_s=shifts_s)
    true = goals()
    true["latents"][:, :8] = true["latents"][:, -8:] = 99.0  # two segments at either end
    torch.testing.assert_close(shifted_errors(model, *film, **true, shifts_s=shifts_s), one)


def test_constant_features_have_collapsed():
    random = torch.randn(4, 30, 16, generator=torch.Generator().manual_seed(0))
    assert feature_deviation(random) == pytest.approx(1.0, abs=0.1)
    assert feature_deviation(torch.ones(4, 30, 16) + 0.01 * random) < COLLAPSED
    present = torch.ones(4, 30, dtype=torch.bool)
    present[:, 20:] = False
    random[:, 20:] = 1e6
    assert feature_deviation(random, present) == pytest.approx(1.0, abs=0.1)
