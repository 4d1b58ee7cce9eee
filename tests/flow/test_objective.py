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
from foleyflow.flow.path import SMALLEST_TAU
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


def test_the_fraction_of_intervals_grows_and_some_are_those_of_generation():
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.5, endpoint_share=0.2, noise_share=1.0)
    tau, r = sample_intervals(20_000, config, 0.0, CPU)
    assert torch.equal(tau, r)
    for progress, fraction in ((0.05, 0.25), (0.1, 0.5), (1.0, 0.5)):
        tau, r = sample_intervals(20_000, config, progress, CPU)
        assert bool((r <= tau).all())
        wide = r < tau
        assert float(wide.float().mean()) == pytest.approx(fraction, abs=0.02)
        ends = wide & (r == 0)
        assert float(ends.float().mean()) == pytest.approx(0.2 * fraction, abs=0.02)
        assert float(tau[ends].min()) >= 0.98 and float(tau.max()) <= 1.0


def test_intervals_of_generation_end_where_the_path_ends():
    torch.manual_seed(0)
    settings = {"interval_share": 1.0, "endpoint_share": 1.0, "path": "vp"}
    tau, r = sample_intervals(100, ObjectiveConfig(noise_share=1.0, **settings), 1.0, CPU)
    assert torch.equal(r, torch.full((100,), SMALLEST_TAU["vp"]))
    assert float(tau.min()) >= 0.98
    # Other intervals to the end start anywhere
    tau, r = sample_intervals(20_000, ObjectiveConfig(noise_share=0.25, **settings), 1.0, CPU)
    assert torch.equal(r, torch.full((20_000,), SMALLEST_TAU["vp"]))
    assert bool((tau > r).all())
    assert float((tau >= 0.98).float().mean()) == pytest.approx(0.25 + 0.75 * 0.02, abs=0.02)
    assert float(tau[tau < 0.98].mean()) == pytest.approx(0.49, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"largest_guidance": 0.5}, r"largest_guidance=0.5.*largest_guidance >= 1"),
        ({"interval_share": 1.5}, r"interval_share=1.5.*shares in 0..1"),
        ({"noise_share": -0.1}, r"noise_share=-0.1.*shares in 0..1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**settings)
