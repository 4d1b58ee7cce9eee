"""Helpers of the training objectives: the error, and the sampling of settings."""

from __future__ import annotations

import pytest
import torch

from foleyflow.errors import ConfigError
from foleyflow.flow.objective import (
    ObjectiveConfig,
    masked_error,
    sample_dropout,
    sample_intervals,
)
from foleyflow.flow.path import PATHS, SMALLEST_TAU
from foleyflow.flow.transformer import DROP_ALL, DROP_TIMING, KEEP_ALL

CPU = torch.device("cpu")


def test_masked_error_is_the_mean_over_unknown_frames():
    predicted, target = torch.zeros(2, 4, 3), torch.zeros(2, 4, 3)
    predicted[:, 0], predicted[:, 3] = 100.0, 2.0
    known = torch.tensor([[True, False, False, False], [True, True, True, False]])
    expected = torch.tensor([4.0 / 3, 4.0])
    torch.testing.assert_close(masked_error(predicted, target, known), expected)
    assert masked_error(predicted, target, torch.ones(2, 4, dtype=torch.bool)).tolist() == [0, 0]


def test_fractions_of_dropped_conditions():
    torch.manual_seed(0)
    drops = sample_dropout(40_000, ObjectiveConfig(drop_all=0.1, drop_timing=0.05), CPU)
    kinds = (KEEP_ALL, DROP_TIMING, DROP_ALL)
    fractions = [float((drops == kind).float().mean()) for kind in kinds]
    assert fractions == pytest.approx([0.85, 0.05, 0.1], abs=0.01)


def test_the_fraction_of_intervals_grows():
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.5)
    tau, r = sample_intervals(20_000, config, 0.0, CPU)
    assert torch.equal(tau, r)
    for progress, fraction in ((0.05, 0.25), (0.1, 0.5), (1.0, 0.5)):
        tau, r = sample_intervals(20_000, config, progress, CPU)
        assert bool((r <= tau).all())
        assert float((r < tau).float().mean()) == pytest.approx(fraction, abs=0.02)


@pytest.mark.parametrize("path", PATHS)
def test_interval_lengths_are_halved_and_some_start_at_noise(path):
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=1.0, noise_share=0.25, halvings=3, path=path)
    tau, r = sample_intervals(40_000, config, 1.0, CPU)
    smallest = SMALLEST_TAU[path]
    assert float(r.min()) >= smallest and float(tau.max()) <= 1.0
    lengths = (tau - r) / (1 - smallest)
    for length in (1.0, 0.5, 0.25, 0.125):
        fraction = ((lengths - length).abs() < 1e-5).float().mean()
        assert float(fraction) == pytest.approx(0.25, abs=0.01)
    # A quarter of those with room start at noise, the others uniformly in the room
    has_room = lengths < 0.6
    from_noise = (tau > 1 - 1e-6)[has_room]
    assert float(from_noise.float().mean()) == pytest.approx(0.25, abs=0.01)
    place = ((r - smallest) / (1 - smallest - (tau - r)))[has_room][~from_noise]
    assert float(place.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(place.std()) == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"largest_guidance": 0.5}, r"largest_guidance=0.5.*largest_guidance >= 1"),
        ({"interval_share": 1.5}, r"interval_share=1.5.*shares in 0..1"),
        ({"noise_share": -0.1}, r"noise_share=-0.1.*shares in 0..1"),
        ({"halvings": 0}, "halvings=0: expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**settings)
