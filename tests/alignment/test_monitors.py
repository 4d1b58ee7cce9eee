"""The monitors: R2 of the truth is 1 and of the mean 0, by distance, by shift, and collapse."""

from __future__ import annotations

import pytest
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig, Recovered
from foleyflow.alignment.monitors import (
    COLLAPSED,
    FARTHEST,
    deviation,
    errors_by_distance,
    r2,
    shifted_errors,
    squares,
)
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig

SEGMENTS, CHANNELS, PATCH = 20, 6, 12


def goals(seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "latents": torch.randn(8, 4 * SEGMENTS, CHANNELS, generator=random),
        "mel": 2.0 + torch.randn(8, SEGMENTS, PATCH + 1, generator=random),
    }


def said(latents: torch.Tensor, mel: torch.Tensor) -> Recovered:
    return Recovered(states=latents, latents=latents, mel=mel, onsets=latents[..., 0])


def score(pair: tuple[torch.Tensor, torch.Tensor]) -> float:
    return float(r2(torch.stack([part.sum() for part in pair])))


def test_the_truth_scores_one_the_mean_nought_and_twice_the_truth_nought():
    true = goals()
    for factor, wanted in ((1.0, 1.0), (0.0, 0.0), (2.0, 0.0), (0.5, 0.75)):
        pairs = squares(said(factor * true["latents"], true["mel"]), **true)
        assert score(pairs["latent"]) == pytest.approx(wanted, abs=1e-5)
        assert score(pairs["mel"]) == score(pairs["energy"]) == 1.0


def test_the_mean_level_is_no_merit():
    true = goals()
    level = true["mel"].clone()
    level[..., -1] = true["mel"][..., -1].mean()
    pairs = squares(said(true["latents"], level), **true)
    assert score(pairs["energy"]) == pytest.approx(0.0, abs=1e-5)


def test_errors_are_sorted_by_distance_and_none_is_lost():
    kept = torch.zeros(2, SEGMENTS, dtype=torch.bool)
    kept[0, 3] = True  # the second row is hidden as a whole
    pair = (torch.rand(2, SEGMENTS), torch.rand(2, SEGMENTS))
    rows = errors_by_distance(pair, kept)
    assert rows.shape == (FARTHEST, 2)
    torch.testing.assert_close(rows[0, 0], pair[0][0, 2] + pair[0][0, 4])
    torch.testing.assert_close(rows[2, 1], pair[1][0, 0] + pair[1][0, 6])
    torch.testing.assert_close(rows.sum(0), torch.stack([p[~kept].sum() for p in pair]))


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


def test_the_curve_of_shifts_peaks_where_the_video_was_moved_back(model):
    """Targets that are what the model says of the video at its right time."""
    times_s = (torch.arange(40) * 0.04).expand(8, -1)
    video = torch.randn(8, 40, 16, generator=torch.Generator().manual_seed(0))
    right = model.recover(video, times_s, mel=None, kept=None, segments=SEGMENTS)
    true = {"latents": right.latents, "mel": right.mel}
    shifts_s = torch.tensor([-0.16, -0.08, 0.0, 0.08, 0.16])
    for moved_s in (-0.08, 0.0, 0.16):
        sums = shifted_errors(model, video, times_s + moved_s, **true, shifts_s=shifts_s)
        assert sums.shape == (5, 2)
        best = int(r2(sums).argmax())
        assert float(shifts_s[best]) == pytest.approx(-moved_s)
        assert float(r2(sums)[best]) == pytest.approx(1.0, abs=1e-4)


def test_edges_that_a_moved_video_does_not_cover_are_left_out(model):
    times_s = (torch.arange(40) * 0.04).expand(8, -1)
    video = torch.randn(8, 40, 16, generator=torch.Generator().manual_seed(0))
    shifts_s = torch.tensor([-0.16, 0.0])
    one = shifted_errors(model, video, times_s, **goals(), shifts_s=shifts_s)
    true = goals()
    true["latents"][:, :8] = true["latents"][:, -8:] = 99.0  # two segments at either end
    torch.testing.assert_close(
        shifted_errors(model, video, times_s, **true, shifts_s=shifts_s), one
    )


def test_features_that_are_all_the_same_have_collapsed():
    random = torch.randn(4, 30, 16, generator=torch.Generator().manual_seed(0))
    assert deviation(random) == pytest.approx(1.0, abs=0.1)
    assert deviation(torch.ones(4, 30, 16) + 0.01 * random) < COLLAPSED
    present = torch.ones(4, 30, dtype=torch.bool)
    present[:, 20:] = False
    random[:, 20:] = 1e6
    assert deviation(random, present) == pytest.approx(1.0, abs=0.1)
