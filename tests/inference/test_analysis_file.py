"""Stored analyses of videos."""

from __future__ import annotations

import numpy as np
import pytest
from support.cli_model import make_model

from foleyflow import FoleyFlow
from foleyflow.errors import DataError
from foleyflow.inference.analysis_file import read_analysis, write_analysis
from foleyflow.media import probe
from foleyflow.system.stopwatch import Stopwatch

ORIGIN = {"video": [1, 2.5], "weights": {"flow": "ab"}}


@pytest.fixture
def analysed(tmp_path, clip_file):
    model = FoleyFlow.from_pretrained(make_model(tmp_path / "model"))
    return model, model.analyse(probe(clip_file), Stopwatch(), None)


def test_a_stored_analysis_gives_the_same_cues_and_sound(analysed, clip_file, tmp_path):
    model, (analysis, warnings) = analysed
    path = tmp_path / "analysis.zip"
    write_analysis(path, analysis, [*warnings, "one more"], origin=ORIGIN)
    again, again_warnings = read_analysis(path, origin=ORIGIN)
    assert again_warnings == [*warnings, "one more"]
    assert model.spot_in(again, 0.5).cues == model.spot_in(analysis, 0.5).cues
    for stored, known in zip(again.motion.arrays(), analysis.motion.arrays(), strict=True):
        assert np.array_equal(stored, known)
    expected = model.generate(clip_file).waveform
    model.analyse = lambda *_: (again, [])
    assert np.array_equal(model.generate(clip_file).waveform, expected)


def test_other_origins_and_missing_files_are_not_used(analysed, tmp_path):
    _, (analysis, warnings) = analysed
    path = tmp_path / "analysis.zip"
    assert read_analysis(path, origin=ORIGIN) is None
    write_analysis(path, analysis, warnings, origin=ORIGIN)
    assert read_analysis(path, origin={**ORIGIN, "weights": {}}) is None


def test_a_damaged_file_is_an_error(analysed, tmp_path):
    _, (analysis, warnings) = analysed
    path = tmp_path / "analysis.zip"
    write_analysis(path, analysis, warnings, origin=ORIGIN)
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", data[:200] + bytes(300) + data[500:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            read_analysis(path, origin=ORIGIN)
