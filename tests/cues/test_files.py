"""Files of cues contain the sheets that were written to them, exactly."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
from support.random_cues import random_sheet

from foleyflow.cues.cue import Cue
from foleyflow.cues.fields import FIELD_NAMES, StoredCues
from foleyflow.cues.files import FORMATS, CueFormat, read_cues, write_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

SHEET = CueSheet(
    cues=(
        Cue(time_s=0.5, level_db=-6, material="wood", seed=3),
        Cue(time_s=1, kind="scrape", end_s=2, level_curve_db=(-20, -3.5), enabled=False),
    ),
    duration_s=4,
)


def read(path, text: str | bytes) -> CueSheet:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_cues(path, duration_s=None, materials=None)


@pytest.mark.parametrize("suffix", [".json", ".csv"])
@pytest.mark.parametrize("seed", range(25))
def test_random_sheets_round_trip_exactly(tmp_path, suffix, seed):
    sheet, path = random_sheet(seed), tmp_path / f"cues{suffix}"
    write_cues(path, sheet)
    again = read_cues(path, duration_s=sheet.duration_s, materials=None)
    assert again == sheet
    assert [repr(cue) for cue in again] == [repr(cue) for cue in sheet]
    content = path.read_bytes()
    write_cues(path, again)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [path.name]


def test_json_is_as_documented(tmp_path):
    write_cues(tmp_path / "cues.json", SHEET)
    assert (tmp_path / "cues.json").read_text() == (
        '{\n "format": "foleyflow cues",\n "version": 1,\n "duration_s": 4.0,\n "cues": [\n'
        '  {"time_s": 0.5, "kind": "hit", "level_db": -6.0, "material": "wood", "seed": 3, '
        '"enabled": true},\n'
        '  {"time_s": 1.0, "kind": "scrape", "end_s": 2.0, "level_curve_db": [-20.0, -3.5], '
        '"enabled": false}\n ]\n}\n'
    )
    write_cues(tmp_path / "none.json", CueSheet())
    assert json.loads((tmp_path / "none.json").read_text()) == {
        "format": "foleyflow cues",
        "version": 1,
        "cues": [],
    }


def test_csv_is_as_documented(tmp_path):
    write_cues(tmp_path / "cues.csv", SHEET)
    with (tmp_path / "cues.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == FIELD_NAMES
    assert [{name: cell for name, cell in row.items() if cell} for row in rows] == [
        {
            "time_s": "0.5",
            "kind": "hit",
            "level_db": "-6.0",
            "material": "wood",
            "seed": "3",
            "enabled": "true",
        },
        {
            "time_s": "1.0",
            "kind": "scrape",
            "end_s": "2.0",
            "level_curve_db": "-20.0 -3.5",
            "enabled": "false",
        },
    ]


def test_the_examples_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "cues.md").read_text("utf-8")
    examples = {
        name: re.findall(rf"```{name}\n(.*?)```", page, re.DOTALL) for name in ("json", "csv")
    }
    assert [len(found) for found in examples.values()] == [1, 1]
    from_json, from_csv = (read(tmp_path / f"cues.{n}", found[0]) for n, found in examples.items())
    assert len(from_json) == 3 and from_json.duration_s == 4.0
    assert from_csv == CueSheet(cues=from_json.cues)


def test_the_shortest_files(tmp_path):
    one = CueSheet(cues=(Cue(time_s=1.25),))
    assert read(tmp_path / "a.csv", "time_s\n1.25") == one
    assert read(tmp_path / "a.csv", "time_s") == CueSheet()
    head = '{"format": "foleyflow cues", "version": 1, "cues": ['
    assert read(tmp_path / "a.json", head + '{"time_s": 1.25}]}') == one
    assert read(tmp_path / "a.json", head + "]}") == CueSheet()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", ", "])
def test_csv_of_other_programs(tmp_path, mark, newline, separator):
    rows = [
        ["enabled", "material", "time_s", "level_curve_db", "kind", "end_s"],
        ["FALSE", "wood", "0.5", "", "", ""],
        [],
        ["1", '"a, b; ""c"""', "1", " -20  -3.5", "", "2"],
        ["0", "", "2.5"],
        ["", "", "3", "", "roll", "3.5", "", ""],
        ["", "", "", "", "", ""],
    ]
    text = newline.join(separator.join(row) for row in rows) + newline
    assert read(tmp_path / "cues.csv", mark + text.encode()).cues == (
        Cue(time_s=0.5, material="wood", enabled=False),
        Cue(time_s=1, end_s=2, kind="scrape", material='a, b; "c"', level_curve_db=(-20, -3.5)),
        Cue(time_s=2.5, enabled=False),
        Cue(time_s=3, kind="roll", end_s=3.5),
    )


def test_decimal_commas_between_semicolons(tmp_path):
    text = "time_s;end_s;level_curve_db\n0,5;1,25;-3,5 -6 -7,25\n"
    assert read(tmp_path / "cues.csv", text).cues == (
        Cue(time_s=0.5, kind="scrape", end_s=1.25, level_curve_db=(-3.5, -6, -7.25)),
    )


def test_a_cell_longer_than_the_limit_of_pythons_csv_module(tmp_path):
    roll = Cue(time_s=0, kind="roll", end_s=600, level_curve_db=[-1 / 3] * 60_000)
    write_cues(tmp_path / "cues.csv", CueSheet(cues=(roll,)))
    assert read_cues(tmp_path / "cues.csv", duration_s=None, materials=None).cues == (roll,)


def test_null_is_not_set(tmp_path):
    text = (
        '\ufeff{"format": "foleyflow cues", "version": 1, "duration_s": null, "cues": '
        '[{"time_s": 1, "kind": null, "level_db": null, "enabled": null, "level_curve_db": null}]}'
    )
    assert read(tmp_path / "cues.json", text) == CueSheet(cues=(Cue(time_s=1),))


def test_the_duration_of_the_clip_takes_precedence(tmp_path):
    path = tmp_path / "cues.json"
    write_cues(path, SHEET)
    assert read_cues(path, duration_s=None, materials=None).duration_s == 4
    assert read_cues(path, duration_s=3.5, materials=None).duration_s == 3.5


def test_only_listed_materials_are_accepted(tmp_path):
    path = tmp_path / "cues.csv"
    write_cues(path, SHEET)
    assert read_cues(path, duration_s=4, materials=("metal", "wood")) == SHEET
    with pytest.raises(ConfigError):
        read_cues(path, duration_s=4, materials=("metal",))


def test_suffixes_may_be_in_upper_case(tmp_path):
    write_cues(tmp_path / "CUES.JSON", SHEET)
    assert read_cues(tmp_path / "CUES.JSON", duration_s=None, materials=None) == SHEET


def test_a_file_that_is_not_written_leaves_no_draft(tmp_path):
    folder = tmp_path / "cues.csv"
    folder.mkdir()
    with pytest.raises(OSError):
        write_cues(folder, SHEET)
    with pytest.raises(OSError):
        write_cues(tmp_path / "missing" / "cues.csv", SHEET)
    assert os.listdir(tmp_path) == ["cues.csv"] and os.listdir(folder) == []


def test_a_format_can_be_added(tmp_path, monkeypatch):
    def parse(data: bytes, file: str, video: VideoReference) -> StoredCues:
        times = data.decode().split()
        return StoredCues(rows=[(f"word {n}", {"time_s": float(t)}) for n, t in enumerate(times)])

    def make_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
        return " ".join(str(cue.time_s) for cue in sheet).encode()

    times = CueFormat(parse=parse, make_bytes=make_bytes)
    monkeypatch.setitem(FORMATS, ".times.csv", times)
    path = tmp_path / "clip.times.csv"
    write_cues(path, SHEET)
    assert path.read_bytes() == b"0.5 1.0"
    assert read_cues(path, duration_s=None, materials=None).cues == (
        Cue(time_s=0.5),
        Cue(time_s=1.0),
    )
    path.write_bytes(b"0.5 0.5")
    with pytest.raises(ConfigError, match=r"clip\.times\.csv, word 1: the hit at 0\.5 s is closer"):
        read_cues(path, duration_s=None, materials=None)
