"""Figures of stems, mixes and recorded sounds."""

from __future__ import annotations

import shutil

from matplotlib.image import imread
from support.cli_model import run_cli


def test_the_embedded_model_delivers_what_it_generates(tmp_path, clip_file):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(clip_file, folder / name)
    plot = tmp_path / "plot.png"
    outcome = run_cli(
        "measure", "delivery", str(folder), "--clips", "1", "--plot", str(plot), "--json"
    )
    assert outcome.status == 0, outcome.stderr
    figures = outcome.answer
    assert [row["clip"] for row in figures["clips"]] == ["one.mp4"]
    assert figures["clips"][0]["cues"] > 0
    assert figures["stem_error_steps"] == 0
    assert figures["equal_pictures"] == figures["files"] == 2
    assert figures["placed"] > 0
    assert figures["placement_error_samples"] <= 1
    if not figures["loudness_warnings"]:
        assert max(figures["mix_error_lu"], figures["duck_error_lu"]) <= 0.5
    assert imread(plot).shape[1] == 1600
