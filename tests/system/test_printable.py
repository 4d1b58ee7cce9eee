"""Names that a terminal or a JSON parser can't process are escaped."""

import json
import os

import pytest

from foleyflow.system.printable import printable, valid_unicode


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("clip.mp4", "clip.mp4"),
        ("日本\u3000🎬\u200d🔥 é.mp4", "日本\u3000🎬\u200d🔥 é.mp4"),
        (os.fsdecode(b"caf\xe9.mp4"), r"caf\xe9.mp4"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\rc\td\x7f\x9b", r"a\nb\rc\td\x7f\x9b"),
        ("line\u2028break", r"line\u2028break"),
        ("film\u202e4pm.exe", r"film\u202e4pm.exe"),
        ("half of a pair \ud83d", r"half of a pair \ud83d"),
    ],
)
def test_foreign_text_is_escaped(text, escaped):
    assert printable(text) == escaped
    printable(text).encode()


def test_kept_characters_are_not_escaped():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_json_is_valid_for_strict_parsers():
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x92\x80")
    content = {name: [name, ("a\x1b", 1, None)], "n": 0.5}
    text = json.dumps(valid_unicode(content), ensure_ascii=False)
    escaped = "caf\\xe9 💀"
    assert json.loads(text.encode()) == {escaped: [escaped, ["a\x1b", 1, None]], "n": 0.5}
