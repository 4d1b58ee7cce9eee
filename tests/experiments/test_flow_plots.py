"""The picture of curves over step counts, and the script that measures and draws them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from foleyflow.experiments.flow_plots import draw_curves

ROOT = Path(__file__).resolve().parents[2]


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 9}


def result(f1: float = 0.5, judge: bool = True) -> dict:
    def figures(evaluations: int) -> dict:
        heard = {"material_accuracy": interval(0.4), "frechet_tagger-sim": 3.0 / evaluations}
        return {
            "onset_f1": interval(f1),
            "shuffled_f1": interval(0.2),
            "variance": 1.0 - 0.5 / evaluations,
            "noise_level": None if evaluations == 1 else 0.9,
            "frechet_latent": 2.0,
            "flow_s_per_10s": 0.05 * evaluations,
            **(heard if judge else {}),
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


def test_the_picture_shows_what_it_is_given(tmp_path):
    pictures = []
    for number, given in enumerate((result(), result(f1=0.7), result(judge=False))):
        path = tmp_path / f"{number}.png"
        draw_curves(path, given)
        pictures.append(imread(path))
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{n}.png" for n in range(3)]


def test_the_script_measures_and_draws(smoke_model, simulated_data, tmp_path):
    out, picture = tmp_path / "flow.json", tmp_path / "flow.png"
    places = (smoke_model, simulated_data, "--out", out, "--picture", picture)
    few = ("--clips", "3", "--density-clips", "2", "--threads", "1")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "measure_flow.py", *places, *few],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert json.loads(done.stdout) == written
    assert list(written["curves"]) == ["map", "euler"]
    for points in written["curves"].values():
        assert list(points) == ["1", "2", "4", "8", "25"]
        assert all(figures["flow_s_per_10s"] > 0 for figures in points.values())
    assert written["clips"] == 3 and written["density"]["clips"] == 2
    assert imread(picture).ndim == 3
