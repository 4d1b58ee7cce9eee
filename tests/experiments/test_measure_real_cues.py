"""The timing of sounds generated for recordings with sound."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from support.cli_model import ROOT, check_refusal, make_model, run_cli

from foleyflow.errors import DataError
from foleyflow.experiments.measure_real_cues import recordings_of, sheet_of_onsets
from foleyflow.signals import Waveform

RATE_HZ = 48_000


def report(*arguments: object) -> dict:
    """The JSON of a successful `foleyflow measure real-cues`."""
    outcome = run_cli("measure", "real-cues", *map(str, arguments), "--json")
    assert outcome.status == 0, outcome.stderr
    return outcome.answer


def test_levels_are_relative_to_the_loudest_onset():
    samples = np.zeros((1, 3 * RATE_HZ), np.float32)
    times_s = np.array([0.5, 1.0, 1.5, 2.5])
    for time_s, level in zip(times_s, (0.05, 0.2, 0.1, 0.9), strict=True):
        samples[0, round(time_s * RATE_HZ)] = level
    recording = Waveform(samples=samples, rate_hz=RATE_HZ)
    sheet = sheet_of_onsets(times_s, duration_s=2.0, recording=recording)
    assert [cue.time_s for cue in sheet] == [0.5, 1.0, 1.5]
    levels_db = [cue.level_db for cue in sheet]
    np.testing.assert_allclose(levels_db, [-12.04, 0.0, -6.02], atol=0.01)
    bare = sheet_of_onsets(times_s, duration_s=2.0)
    assert [cue.level_db for cue in bare] == [None, None, None]
    assert len(sheet_of_onsets(np.zeros(0), duration_s=2.0, recording=recording)) == 0


def test_folders_give_their_videos_or_those_of_the_manifest(tmp_path):
    for name in ("b.mp4", "a.mkv", "c.MP4", "notes.txt"):
        (tmp_path / name).touch()
    names = [path.name for path in recordings_of([tmp_path, tmp_path / "x.mp4"])]
    assert names == ["a.mkv", "b.mp4", "c.MP4", "x.mp4"]
    rows = ("name,category,clear_onsets", "b.mp4,drums_percussion,yes", "a.mkv,speech,yes")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    assert recordings_of([tmp_path]) == [tmp_path / "b.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no recordings"):
        recordings_of([tmp_path / "empty"])


def test_each_recording_gets_two_sounds(tmp_path, clip_file):
    model = make_model(tmp_path / "model")
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("one.mp4", "three.mp4", "two.mp4"):
        shutil.copy(clip_file, folder / name)
    found = report(folder, "--model", model, "--levels", "--clips", 2)
    assert found["levels"] is True
    assert [clip["clip"] for clip in found["clips"]] == ["one.mp4", "three.mp4"]
    for clip in found["clips"]:
        assert clip["onsets"] == clip["true_onsets"]["cues"] == 1
        assert clip["true_onsets"]["warnings"] == []
        assert 0 <= clip["found_cues"]["f1"] <= 1
    assert found["true_onsets"]["within 50 ms"]["f1"]["count"] == 2


def test_scores_are_those_of_evaluate(tmp_path):
    videos = [ROOT / f"foleyflow/assets/examples/{name}.mp4" for name in ("chopping", "drums")]
    recordings, sounds = tmp_path / "recordings", tmp_path / "sounds"
    for folder in (recordings, sounds):
        folder.mkdir()
    # The embedded model makes the recordings, with another seed, and the sounds to evaluate
    outcome = run_cli("generate", *videos, "-o", f"{recordings}/", "--seed", "7")
    assert outcome.status == 0, outcome.stderr
    made = [
        path.rename(recordings / path.name.replace(".foley", ""))
        for path in sorted(recordings.iterdir())
    ]
    outcome = run_cli("generate", *made, "-o", f"{sounds}/", "--audio-only", "--seed", "1")
    assert outcome.status == 0, outcome.stderr
    outcome = run_cli("evaluate", sounds, recordings, "--json")
    assert outcome.status == 0, outcome.stderr
    evaluated = outcome.answer["synchrony"]
    # The same figures in one command
    found = report(*made, "--seed", 1)
    scores = found["found_cues"]
    assert scores["within 50 ms"] == evaluated["windows"]["50_ms"]
    assert scores["within 100 ms"] == evaluated["windows"]["100_ms"]
    for name in ("f1", "shuffled_f1", "gain"):
        assert scores["at the best lags"][name] == evaluated["lag_free"][name]
    assert scores["median_lag_s"] == evaluated["median_lag_s"]
    assert sum(clip["onsets"] for clip in found["clips"]) == evaluated["reference_onsets"] > 10
    assert found["true_onsets"]["within 50 ms"]["f1"]["mean"] > 0.9


def test_a_video_without_sound_is_refused(tmp_path):
    video = ROOT / "foleyflow/assets/examples/chopping.mp4"
    outcome = run_cli("measure", "real-cues", video)
    assert "no sound in it" in check_refusal(outcome)
