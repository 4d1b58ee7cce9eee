"""Small published encoders with random weights, and a small data set of real clips."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.cli_model import run_cli
from support.media_files import Sound, make_video
from support.small_encoders import PAIRS, publish, small
from support.small_vggsound import FRAME_RATE, RATE_HZ, hum, painter

from foleyflow.encoders import catalogue

CLIP_S = 2.5


@pytest.fixture
def small_encoders(monkeypatch, tmp_path, request):
    """Small versions of a pair of encoders in the catalogue, and a folder of random weights."""
    pair = request.param
    if pair != PAIRS[0]:
        request.getfixturevalue("timm")
    for name, known in zip(pair, (catalogue.VIDEO_ENCODERS, catalogue.SOUND_ENCODERS), strict=True):
        monkeypatch.setitem(known, name, small(name))
        publish(name, tmp_path / "weights")
    return (*pair, tmp_path / "weights")


@pytest.fixture(scope="module")
def vggsound_folder(tmp_path_factory):
    """A data set of 8 clips of 2.5 s, built from a folder like VGGSound on the command line."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "clips").mkdir()
    rows = []
    for number in range(8):
        times_s = np.arange(round(CLIP_S * FRAME_RATE)) / FRAME_RATE
        make_video(
            folder / "clips" / f"clip-{number}_000010.mp4",
            rate=FRAME_RATE,
            n_frames=len(times_s),
            painter=painter(number, times_s),
            codec_options={"preset": "ultrafast"},
            sound=Sound(samples=hum(number, CLIP_S), rate_hz=RATE_HZ),
        )
        rows.append(f"clip-{number},10,thing,{'test' if number > 5 else 'train'}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    command = ["data", "vggsound", folder / "list.csv", folder / "clips", "--out", folder / "data"]
    command += ["--duration", "2.5", "--segment", "2.5", "--validation", "0.2"]
    outcome = run_cli(*command)
    assert outcome.status == 0, outcome.stderr
    splits = json.loads((folder / "data" / "manifest.json").read_text())["splits"]
    assert splits["train"] >= 2 and splits["validation"] >= 1, splits
    return folder / "data"
