"""Plots of an alignment run."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from foleyflow.training.alignment_plots import MONITORS_NAME, RECOVERED_NAME, plot_run


@pytest.fixture
def example():
    true = np.random.default_rng(0).normal(size=(80, 64)).astype(np.float32)
    masked = true.copy()
    masked[20:70] = np.nan
    return {
        "masked": masked,
        "recovered": np.where(np.isnan(masked), 0.0, true).astype(np.float32),
        "true": true,
        "onsets": np.linspace(0, 1, 40, dtype=np.float32),
        "rises": np.zeros(40, np.float32),
        "duration_s": np.float32(0.8),
    }


def journal(r2: float) -> list[dict[str, float]]:
    shifts = {f"validation/r2_shift_{s:+d}ms": -abs(s) / 400 for s in range(-400, 401, 100)}
    distances = {f"validation/r2_distance_{d}": 1 / d for d in range(1, 4)}
    return [
        {"step": 10, "align/loss": 3.0},
        {"step": 10, "validation/r2": 0.0, **shifts, **distances},
        {"step": 20, "validation/r2": r2, **shifts, **distances},
    ]


def test_only_the_two_plots_are_written(example, tmp_path):
    plot_run(tmp_path, journal(0.5), example)
    assert sorted(p.name for p in tmp_path.iterdir()) == [MONITORS_NAME, RECOVERED_NAME]
    for name in (MONITORS_NAME, RECOVERED_NAME):
        picture = imread(tmp_path / name)
        assert min(picture.shape[:2]) > 500
        assert picture[..., :3].std() > 0.05


def test_plots_differ_for_different_figures(example, tmp_path):
    for name, r2 in (("one", 0.5), ("other", -0.5)):
        (tmp_path / name).mkdir()
        plot_run(tmp_path / name, journal(r2), example)
        example["recovered"] = example["true"]
    for picture in (MONITORS_NAME, RECOVERED_NAME):
        one, other = (imread(tmp_path / name / picture) for name in ("one", "other"))
        assert not np.array_equal(one, other), picture


def test_run_without_validation_has_only_the_recovery(example, tmp_path):
    plot_run(tmp_path, [{"step": 10, "align/loss": 3.0}], example)
    assert [p.name for p in tmp_path.iterdir()] == [RECOVERED_NAME]
