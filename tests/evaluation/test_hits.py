"""Protocol flatsounds: coverage and timing error of annotated hits."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from support.cli_model import run_cli
from support.click_sounds import clicks, write_sound

from foleyflow.errors import ConfigError, DataError
from foleyflow.evaluation.cases import Sound
from foleyflow.evaluation.hits import (
    HitSettings,
    evaluate_hits,
    hit_windows_s,
    onsets_of_sound,
    read_hits,
    score_hits,
)
from foleyflow.signals import Waveform

pytest.importorskip("librosa")

HITS_S = {"a": [0.5, 1.3, 2.2], "b": [0.85, 1.8], "c": [0.3, 1.5, 2.6]}


def write_annotations(path, hits_s):
    lines = [f"{clip},{time_s}" for clip, times_s in hits_s.items() for time_s in times_s]
    path.write_text("clip,time_s\n" + "\n".join(lines) + "\n")
    return path


def write_generated(root, *, late_s=0.0):
    for clip, times_s in HITS_S.items():
        write_sound(root / f"{clip}.wav", clicks([t + late_s for t in times_s]))
    return root


def test_windows_follow_the_distance_to_the_nearest_hit():
    settings = HitSettings(smallest_window_s=0.1, largest_window_s=0.25, gap_fraction=0.2)
    windows_s = hit_windows_s([1.0, 1.6, 2.6, 9.0], settings)
    assert windows_s == pytest.approx([0.12, 0.12, 0.2, 0.25])
    assert hit_windows_s([3.0], settings) == pytest.approx([0.25])
    assert hit_windows_s([1.0, 1.1], settings) == pytest.approx([0.1, 0.1])


def test_coverage_and_error_of_known_onsets():
    settings = HitSettings(smallest_window_s=0.1, largest_window_s=0.1)
    score = score_hits([1.0, 2.0, 3.0, 4.0], [0.96, 2.02, 3.11, 7.0], settings)
    assert (score.hits, score.covered, score.coverage) == (4, 2, 0.5)
    assert score.timing_error_s == pytest.approx(0.03)
    nothing = score_hits([1.0], [], settings)
    assert (nothing.coverage, nothing.timing_error_s) == (0.0, None)
    with pytest.raises(ValueError, match="expected at least one"):
        score_hits([], [1.0], settings)


@pytest.mark.parametrize(("late_s", "coverage"), [(0.0, 1.0), (0.06, 1.0), (0.4, 0.0)])
def test_late_sounds_have_that_error(tmp_path, late_s, coverage):
    hits = write_annotations(tmp_path / "hits.csv", HITS_S)
    report = evaluate_hits(write_generated(tmp_path / "made", late_s=late_s), hits)
    assert report.coverage.mean == coverage
    if coverage:
        assert report.timing_error_s.mean == pytest.approx(late_s, abs=0.008)
        assert report.perfect.mean == 1.0
    else:
        assert report.timing_error_s is None
    assert report.chance_coverage < 0.6


def test_many_onsets_cover_everything_and_the_chance_level_shows_it(tmp_path):
    hits = write_annotations(tmp_path / "hits.csv", HITS_S)
    for clip in HITS_S:
        write_sound(tmp_path / "made" / f"{clip}.wav", clicks(np.arange(0.1, 2.9, 0.15)))
    report = evaluate_hits(tmp_path / "made", hits)
    assert report.coverage.mean == report.chance_coverage == 1.0


def test_a_sound_without_onsets_has_one_at_its_steepest_rise():
    rate_hz = 16_000
    t = np.arange(3 * rate_hz) / rate_hz
    # A tone that swells within half a second
    samples = 0.3 * np.sin(2 * np.pi * 300 * t) / (1 + np.exp(-(t - 1.5) / 0.05))

    def onsets(samples, **settings):
        waveform = Waveform(samples=samples.astype(np.float32)[None], rate_hz=rate_hz)
        return onsets_of_sound(Sound("x", lambda: waveform), HitSettings(**settings))

    steady = np.full(len(t), 0.1) * np.sin(2 * np.pi * 300 * t)
    assert len(onsets(steady, envelope_fallback=False)) == 0
    assert len(onsets(steady)) == 1
    assert len(onsets(np.zeros(len(t)))) == 0
    assert all(0.8 < time_s < 1.6 for time_s in onsets(samples))


def test_unpaired_and_broken_files_are_listed(tmp_path):
    made = write_generated(tmp_path / "made")
    write_sound(made / "extra.wav", clicks([0.5]))
    (made / "b.wav").write_bytes(b"no sound")
    hits = write_annotations(tmp_path / "hits.csv", {**HITS_S, "lost": [1.0]})
    report = evaluate_hits(made, hits)
    assert (report.not_generated, report.not_annotated) == (("lost",), ("extra",))
    assert list(report.unreadable) == ["b"] and list(report.clips) == ["a", "c"]
    text = report.to_text()
    assert "definition not verified against the paper" in text
    assert "smallest_window_s=0.1" in text and "  lost" in text
    record = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert record["clips"]["a"]["coverage"] == 1.0 and record["settings"]["gap_fraction"] == 0.2


def test_annotations_are_sorted_and_other_columns_ignored(tmp_path):
    path = tmp_path / "hits.csv"
    path.write_text("time_s, note, clip\n2.0,hard,a\n1.0,,a\n0.5,,b\n")
    assert {clip: list(t) for clip, t in read_hits(path).items()} == {"a": [1.0, 2.0], "b": [0.5]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,start\na,1\n", "no column 'time_s'"),
        ("", "no column 'clip'"),
        ("clip,time_s\na,soon\n", "line 2: could not convert"),
        ("clip,time_s\na,1\nb,-1\n", "line 3: -1 is no time"),
        ("clip,time_s\na\n", "line 2"),
        (None, "No such file"),
    ],
)
def test_wrong_annotations_are_refused(tmp_path, text, message):
    path = tmp_path / "hits.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_hits(path)


@pytest.mark.parametrize(
    "wrong", [{"smallest_window_s": 0.3}, {"gap_fraction": -1.0}, {"smallest_window_s": math.nan}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        HitSettings(**wrong)


def test_the_command_prints_both_figures(tmp_path):
    made = write_generated(tmp_path / "made", late_s=0.15)
    hits = write_annotations(tmp_path / "hits.csv", HITS_S)
    flags = ("--protocol", "flatsounds", "--hits", hits)
    answer = run_cli("evaluate", made, *flags, "--json").answer
    assert answer["protocol"] == "flatsounds" and answer["annotations"] == "annotations: hits.csv"
    narrow = run_cli("evaluate", made, *flags, "--set", "largest_window_s=0.1", "--json").answer
    assert narrow["coverage"]["mean"] == 0.0 < answer["coverage"]["mean"]
    assert "timing error" in run_cli("evaluate", made, *flags).stdout


def test_detected_onsets_are_named_as_such(tmp_path):
    made, true = write_generated(tmp_path / "made", late_s=0.02), write_generated(tmp_path / "true")
    flags = ("--protocol", "flatsounds", "--hits", "detected")
    outcome = run_cli("evaluate", made, true, *flags)
    assert "onsets detected in the true sounds, not the hits of FlatSounds" in outcome.stdout
    answer = run_cli("evaluate", made, true, *flags, "--json").answer
    assert answer["coverage"]["mean"] == 1.0
    assert answer["timing_error_s"]["mean"] == pytest.approx(0.02, abs=0.006)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--protocol", "flatsounds"), "expected --hits CSV"),
        (("--hits", "x.csv"), "expected --protocol flatsounds"),
        (("--set", "gap_fraction=1"), "expected --protocol flatsounds"),
        (("--protocol", "flatsounds", "--hits", "detected"), "needs REFERENCE"),
        (("--protocol", "flatsounds", "--hits", "x.csv", "--workers", "2"), "no effect"),
        (
            ("--protocol", "flatsounds", "--hits", "x.csv", "--set", "gap=1"),
            "no such setting",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, flags, message):
    outcome = run_cli("evaluate", write_generated(tmp_path / "made"), *flags)
    assert outcome.status == 2 and message in outcome.stderr
