"""Plots of curves over step counts."""

from __future__ import annotations

import numpy as np
from matplotlib.image import imread

from foleyflow.experiments.flow_plots import plot_curves


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 9}


def result(f1: float = 0.5, judge: bool = True) -> dict:
    def figures(evaluations: int) -> dict:
        material = {
            "material_accuracy": interval(0.4),
            "FAD-sim": {"mean": 3.0 / evaluations, "count": 9},
        }
        return {
            "onset_f1": interval(f1),
            "shuffled_f1": interval(0.2),
            "variance": 1.0 - 0.5 / evaluations,
            "noise_level": None if evaluations == 1 else 0.9,
            "frechet_latent": 2.0,
            "flow_s_per_10s": 0.05 * evaluations,
            **(material if judge else {}),
        }

    counts = (1, 2, 4, 8, 25)
    return {
        "model": "embedded",
        "clips": 9,
        "true": {"onset_f1": interval(0.95)},
        "curves": {
            solver: {str(count): figures(count) for count in counts} for solver in ("map", "euler")
        },
    }


def test_the_plot_depends_on_the_figures(tmp_path):
    pictures = []
    for number, given in enumerate((result(), result(f1=0.7), result(judge=False))):
        path = tmp_path / f"{number}.png"
        plot_curves(path, given)
        pictures.append(imread(path))
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{n}.png" for n in range(3)]
