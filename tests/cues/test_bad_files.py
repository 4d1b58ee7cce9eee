"""A bad file of cues gives one line that names the file and the line or cue, and a hint."""

from __future__ import annotations

import pytest

from foleyflow.cues.files import read_cues, write_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError

MATERIALS = ("wood", "metal", "glass")
FIELDS = (
    "time_s, kind, end_s, level_db, level_curve_db, material, striker, pitch_hz, decay_s, pan, "
    "seed, enabled, confidence"
)
TIMES = "seconds from the start of the clip, for instance 1.25"
LEVEL = "0 dB is the loudest hit of an ordinary clip, -50 dB is barely audible"
HEADER = "the first line names the columns, of which only time_s is required"
FORM = 'expected {"format": "foleyflow cues", "version": 1, "cues": [{"time_s": 1.25}, ...]}'
HEAD = '{"format": "foleyflow cues", "version": 1, "cues": '


def refusal(path) -> ConfigError:
    """The error for a file of cues of a clip of 10 s."""
    with pytest.raises(ConfigError) as caught:
        read_cues(path, duration_s=10.0, materials=MATERIALS)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2
    return caught.value


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", ": the file is empty", HEADER),
        ("\n;;\n", ": the file is empty", HEADER),
        (
            "time_s,levle_db\n",
            ", line 1: unknown column 'levle_db'",
            f"did you mean 'level_db'? expected {FIELDS}",
        ),
        ("1.5\n", ", line 1: unknown column '1.5'", f"expected {FIELDS}"),
        (
            "\ntime_s,kind,time_s\n",
            ", line 2: column 'time_s' appears 2 times",
            "remove all but one",
        ),
        ("kind,level_db\n", ", line 1: no column 'time_s'", HEADER),
        (
            "time_s,kind\n1,hit\n,hit\n",
            ", line 3: time_s is missing",
            "give each cue its time in seconds",
        ),
        (
            "time_s\n1\n12.5\n",
            ", line 3: time_s=12.5: expected a time within the clip, 0..10.0 s",
            "times are seconds from the start of the clip",
        ),
        (
            "time_s,end_s\n1,12\n",
            ", line 2: end_s=12.0: expected a time within the clip, 0..10.0 s",
            "times are seconds from the start of the clip",
        ),
        ("time_s\nnan\n", ", line 2: time_s=nan: expected a finite number", TIMES),
        ("time_s\n1e999\n", ", line 2: time_s=inf: expected a finite number", TIMES),
        ("time_s,level_db\n1,loud\n", ", line 2: level_db='loud': expected a number", LEVEL),
        ("time_s\n1_0\n", ", line 2: time_s='1_0': expected a number", TIMES),
        ('time_s\n"1,5"\n', ", line 2: time_s='1,5': expected a number", TIMES),
        ("time_s,level_db\n1,13\n", ", line 2: level_db=13.0: expected -60..12 dB", LEVEL),
        (
            "time_s,kind\n1,Hit\n",
            ", line 2: kind='Hit': expected one of hit, roll, scrape",
            "a hit is a moment; a roll or scrape lasts from time_s to end_s",
        ),
        (
            "time_s,seed\n1,1.2E+18\n",
            ", line 2: seed='1.2E+18': expected an integer",
            "a seed repeats the same sound; without one the model chooses",
        ),
        (
            "time_s,enabled\n1,yes\n",
            ", line 2: enabled='yes': expected true, false, 1 or 0",
            "a disabled cue stays in the sheet and makes no sound",
        ),
        (
            "time_s,end_s,level_curve_db\n1,2,-3 x\n",
            ", line 2: level_curve_db='x': expected a number",
            "levels of a roll or scrape at equal steps, the first at time_s and the last at end_s",
        ),
        (
            "time_s\n3\n1\n2\n1.0005\n",
            ", line 5: the hit at 1.0005 s is closer than 1 ms to the hit of line 3",
            "remove or move one of them",
        ),
        (
            "time_s,material\n1,wod\n",
            ", line 2: material='wod': expected one of wood, metal, glass",
            "did you mean 'wood'?",
        ),
        (
            "time_s,striker\n1,xyz\n",
            ", line 2: striker='xyz': expected one of wood, metal, glass",
            "without one the model chooses",
        ),
        (
            "time_s,kind\n1,hit,3\n",
            ", line 2: 3 cells, expected 2 as in the first line",
            'quote a cell that contains the separator: "a,b"',
        ),
        ("time_s,,kind\n1,x,hit\n", ", line 2: 'x' is in a column without a name", HEADER),
        (
            'time_s,material\n1,"wo"od\n',
            ", line 2: damaged CSV (',' expected after '\"')",
            'a quoted cell begins and ends with ", and a quote in it is doubled',
        ),
        (
            'time_s,material\n1,"a\n\nb"\n2,x\n',
            ", line 2: material='a\\n\\nb': expected a name of printable characters without "
            "spaces at its ends",
            "a name such as wood; without one the model chooses",
        ),
        (
            b"time_s,material\n1,wood\n2,\xff\n",
            ", line 3: byte 0xff is not UTF-8",
            "save the file in UTF-8",
        ),
    ],
)
def test_bad_csv(tmp_path, text, message, hint):
    path = tmp_path / "cues.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    error = refusal(path)
    assert str(error) == f"{path}{message}"
    assert error.hint == hint


DAMAGED = "undo the last edit of the file, or write the cue sheet again"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (" \n", ": the file is empty", FORM),
        (HEAD + '[\n{"time_s": 1},\n', ", line 3: damaged JSON (Expecting value)", DAMAGED),
        ("[1]", ": [1] is not an object", FORM),
        ("{}", ": format=None: expected 'foleyflow cues'", FORM),
        (
            '{"format": "foleyflow cues", "version": 2}',
            ": version=2: expected 1",
            "use the foleyflow version that wrote it",
        ),
        ('{"format": "foleyflow cues", "version": 1}', ": cues=None: expected a list", FORM),
        (
            HEAD + '[], "duration": 3}',
            ": unknown key 'duration'",
            "did you mean 'duration_s'? expected format, version, duration_s, cues",
        ),
        (HEAD + '[], "cues": []}', ": key 'cues' appears more than once", "remove all but one"),
        (
            HEAD + '[], "duration_s": "10"}',
            ": duration_s='10': expected a finite number above 0",
            "the length of the clip in seconds",
        ),
        (
            HEAD + '[{"time_s": 1}, 2]}',
            ", cue 2: 2 is not an object",
            'expected an object such as {"time_s": 1.25}',
        ),
        (
            HEAD + '[{"time_s": 1, "time_s": 2}]}',
            ", cue 1: key 'time_s' appears more than once",
            "remove all but one",
        ),
        (
            HEAD + '[{"time_s": 1}, {"time": 2}]}',
            ", cue 2: unknown field 'time'",
            f"did you mean 'time_s'? expected {FIELDS}",
        ),
        (
            HEAD + '[{"time_s": null}]}',
            ", cue 1: time_s is missing",
            "give each cue its time in seconds",
        ),
        (HEAD + '[{"time_s": "1"}]}', ", cue 1: time_s='1': expected a number", TIMES),
        (HEAD + '[{"time_s": true}]}', ", cue 1: time_s=True: expected a number", TIMES),
        (HEAD + '[{"time_s": NaN}]}', ", cue 1: time_s=nan: expected a finite number", TIMES),
        (
            HEAD + '[{"time_s": 1, "end_s": 2}]}',
            ", cue 1: end_s=2.0: expected no end, because the cue is a hit",
            "a roll or scrape ends after time_s, in seconds from the start of the clip; "
            "a hit has no end",
        ),
        (
            HEAD + '[{"time_s": 1}, {"time_s": -0.5}]}',
            ", cue 2: time_s=-0.5: expected a time within the clip, 0..10.0 s",
            "times are seconds from the start of the clip",
        ),
        (
            HEAD + '[{"time_s": 2}, {"time_s": 1}, {"time_s": 2}]}',
            ", cue 3: the hit at 2.0 s is closer than 1 ms to the hit of cue 1",
            "remove or move one of them",
        ),
        (
            HEAD + '[{"time_s": 2, "material": "medal"}]}',
            ", cue 1: material='medal': expected one of wood, metal, glass",
            "did you mean 'metal'?",
        ),
        (b'{"format": "\xff"}', ", line 1: byte 0xff is not UTF-8", "save the file in UTF-8"),
    ],
)
def test_bad_json(tmp_path, text, message, hint):
    path = tmp_path / "cues.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    error = refusal(path)
    assert str(error) == f"{path}{message}"
    assert error.hint == hint


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "1" * 10_000 + "}"])
def test_json_that_no_parser_accepts(tmp_path, text):
    (tmp_path / "cues.json").write_text(text)
    assert "cues.json: damaged JSON (" in str(refusal(tmp_path / "cues.json"))


def test_a_file_that_can_not_be_read(tmp_path):
    path = tmp_path / "cues.json"
    assert str(refusal(path)) == f"{path}: can't be read (No such file or directory)"
    path.mkdir()
    assert str(refusal(path)) == f"{path}: can't be read (Is a directory)"


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    path = tmp_path / "cues.xml"
    message = (
        f"{path}: unknown suffix '.xml', expected .json, .csv, .txt, .mid, .reaper.csv, .edl, "
        ".otio, .sheet.csv, .html"
    )
    assert str(refusal(path)) == message
    with pytest.raises(ConfigError) as caught:
        write_cues(path, CueSheet())
    assert str(caught.value) == message and not path.exists()


def test_materials_are_all_refused_where_none_is_known(tmp_path):
    (tmp_path / "cues.csv").write_text("time_s,material\n1,wood\n")
    with pytest.raises(ConfigError, match=r"line 2: material='wood': expected "):
        read_cues(tmp_path / "cues.csv", duration_s=None, materials=())
