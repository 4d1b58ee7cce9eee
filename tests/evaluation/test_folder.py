"""Evaluation of folders of real files: pairing, scores, and the lists of unusual clips."""

from __future__ import annotations

import json

import pytest
from support.click_sounds import clicks, write_sound

from foleyflow.errors import DataError
from foleyflow.evaluation.files import read_events
from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.report import systems_text

TIMES_S = {"a": [0.5, 1.0, 1.8], "b": [0.7, 1.4], "c": [0.3, 1.2, 1.6]}


def write_clicks(path, times_s, *, duration_s=2.0, level=0.5):
    write_sound(path, clicks(times_s, duration_s=duration_s, level=level))


def write_events(path, times_s, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"events": [{"time_s": t} for t in times_s], **more}))


@pytest.fixture
def folders(tmp_path):
    """Three clips, generated 20 ms late, with the suffix that `generate` writes."""
    for case, times_s in TIMES_S.items():
        write_clicks(tmp_path / "true" / f"{case}.flac", times_s)
        write_clicks(tmp_path / "generated" / f"{case}.foley.wav", [t + 0.02 for t in times_s])
    return tmp_path / "generated", tmp_path / "true"


def test_onsets_20_ms_late_score_an_f1_of_one(folders):
    report = evaluate_folder(*folders)
    assert [clip.case for clip in report.clips] == ["a", "b", "c"]
    assert report.synchrony.windows[0].f1.mean == 1.0
    assert report.synchrony.windows[0].gain.mean > 0.5
    assert report.synchrony.median_lag_s == pytest.approx(0.02, abs=0.006)
    assert report.clips[1].reference_onsets == 2
    assert not (report.unreadable or report.silent or report.short or report.only_generated)


def test_event_files_are_references_and_come_before_sound(folders):
    generated, true = folders
    for case, times_s in TIMES_S.items():
        write_events(true / f"{case}.json", times_s)
    assert evaluate_folder(generated, true).synchrony.windows[0].f1.mean == 1.0
    write_events(true / "a.json", [0.1, 1.5])
    assert evaluate_folder(generated, true).clips[0].f1[0.05] == 0.0


def test_references_in_subfolders_are_found_and_duplicates_are_refused(folders):
    generated, true = folders
    for case in TIMES_S:
        (true / f"shard_{case}").mkdir()
        (true / f"{case}.flac").rename(true / f"shard_{case}" / f"{case}.flac")
    assert evaluate_folder(generated, true).synchrony.windows[0].f1.mean == 1.0
    write_clicks(true / "shard_a" / "b.flac", [1.0])
    with pytest.raises(DataError, match="'b' exists twice"):
        evaluate_folder(generated, true)


def test_a_json_next_to_a_generated_file_is_ignored(folders):
    generated, true = folders
    write_events(generated / "a.json", [0.1])
    assert evaluate_folder(generated, true).clips[0].f1[0.05] == 1.0


def test_every_unusable_file_is_listed(folders):
    generated, true = folders
    write_clicks(generated / "extra.wav", [1.0])
    write_clicks(true / "missing.wav", [1.0])
    write_clicks(generated / "b.foley.wav", TIMES_S["b"], level=1e-4)
    write_clicks(generated / "c.foley.wav", TIMES_S["c"], duration_s=1.7)
    (generated / "a.foley.wav").write_bytes(b"not a sound")
    report = evaluate_folder(generated, true)
    assert report.only_generated == ("extra",)
    assert report.only_reference == ("missing",)
    assert list(report.unreadable) == ["a"]
    assert report.silent == ("b",)
    assert report.short == ("c",)
    assert [clip.case for clip in report.clips] == ["b", "c"]
    assert report.clips[0].f1[0.05] == 0.0
    text = report.to_text()
    for line in ("results without a reference: 1", "unreadable: 1", "silent (scored): 1", "  c"):
        assert line in text


def test_text_lists_the_first_clips_of_a_remark_and_json_all(folders):
    generated, true = folders
    for number in range(15):
        write_clicks(true / f"missing_{number:02}.wav", [1.0])
    report = evaluate_folder(generated, true)
    text = report.to_text()
    assert "references without a result: 15\n  missing_00\n" in text
    assert "  missing_11\n  and 3 more, listed with --json\n" in text
    assert "missing_12" not in text
    assert report.to_json()["only_reference"][-1] == "missing_14"


def test_clips_without_true_onsets_are_scored_unless_skipped(folders):
    generated, true = folders
    write_clicks(generated / "still.wav", [])
    write_events(true / "still.json", [], duration_s=2.0)
    report = evaluate_folder(generated, true)
    assert report.synchrony.clips_without_onsets == 1
    assert report.clips[-1].f1[0.05] == 1.0
    assert evaluate_folder(generated, true, skip_without_onsets=True).skipped == ("still",)


def test_several_systems_in_one_folder_per_clip(tmp_path):
    for case, times_s in TIMES_S.items():
        write_clicks(tmp_path / case / "gt.wav", times_s)
        write_clicks(tmp_path / case / "exact.wav", times_s)
        write_clicks(tmp_path / case / "same.wav", TIMES_S["b"])
    reports = evaluate_systems(tmp_path)
    assert list(reports) == ["exact", "same"]
    assert reports["exact"].synchrony.windows[0].f1.mean == 1.0
    assert reports["same"].synchrony.windows[0].gain.mean < 0.4
    patterns = {"generated_pattern": "{case}/same.wav", "reference_pattern": "{case}/gt.wav"}
    pair = evaluate_folder(tmp_path, tmp_path, **patterns)
    assert pair.to_json() == reports["same"].to_json()
    assert "exact" in systems_text(reports)


def test_the_report_is_strict_json(folders):
    record = json.loads(json.dumps(evaluate_folder(*folders).to_json(), allow_nan=False))
    assert record["count"] == 3
    assert record["synchrony"]["windows"]["50_ms"]["f1"]["mean"] == 1.0
    assert sum(record["synchrony"]["lags"]["counts"]) == record["synchrony"]["matched"] == 8
    assert record["clips"][0]["f1"]["100_ms"] == 1.0


def test_empty_folders_give_an_empty_report(tmp_path):
    report = evaluate_folder(tmp_path, tmp_path)
    assert report.synchrony is None
    assert report.to_text() == "nothing to score\n"
    json.dumps(report.to_json())


def test_folders_and_patterns_are_checked(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        evaluate_folder(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="exactly once"):
        evaluate_folder(tmp_path, tmp_path, generated_pattern="frieren.m4a")
    with pytest.raises(DataError, match="no <case>/<system>"):
        evaluate_systems(tmp_path)


def test_events_closer_than_30_ms_are_merged_and_those_after_the_end_are_dropped(tmp_path):
    path = tmp_path / "events.json"
    write_events(path, [1.02, 1.0, 1.5, 9.0], duration_s=3.0)
    clip = read_events(path, duration_s=10.0)
    assert clip.times_s.tolist() == [1.0, 1.5]
    assert clip.duration_s == 3.0


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"events": 3}', '{"events": [{"time": 1}]}', '{"events": [{"time_s": "x"}]}'],
)
def test_a_json_without_events_is_refused(tmp_path, text):
    path = tmp_path / "events.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"events\.json: not a file of events"):
        read_events(path, duration_s=1.0)
