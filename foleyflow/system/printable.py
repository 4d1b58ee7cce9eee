"""Makes file names and other foreign text safe to print: one line, valid Unicode, no control codes.

A file name is a sequence of bytes. Python decodes bytes that are not UTF-8 to surrogates, which
can't be encoded again. A name may also contain line breaks and escape sequences for a terminal.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

# Categories of characters that are escaped: control codes, surrogates, line and paragraph breaks.
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Characters that change the direction of the text after them: a name could disguise its suffix.
_DIRECTION_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NAMED_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, *, keep: str = "") -> str:
    r"""`str(text)` with everything escaped that a terminal or UTF-8 can't represent.

    A byte of a file name that is not UTF-8 becomes `\xNN`, and a control character `\n`, `\x1b` or
    the like. The escapes can't be reversed, because a name may contain a backslash.

    Characters in `keep`, such as line breaks, are not escaped.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(character if character in keep else _escaped(character) for character in text)


def json_text(value: Any) -> str:
    r"""ASCII JSON that every parser accepts; bytes of names that are not UTF-8 become `\xNN`."""
    return json.dumps(valid_unicode(value), indent=1)


def valid_unicode(value: Any) -> Any:
    r"""JSON content in which every string, keys included, is valid Unicode.

    Bytes of names that are not UTF-8 become `\xNN`, because strict parsers refuse lone surrogates
    (RFC 8259, section 8.2). Control characters stay; JSON escapes them itself.
    """
    if isinstance(value, str):
        return "".join(_escaped(c) if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [valid_unicode(inner) for inner in value]
    return value


def _escaped(character: str) -> str:
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    override = character in _DIRECTION_OVERRIDES
    if not override and unicodedata.category(character) not in _ESCAPED_CATEGORIES:
        return character
    code = ord(character)
    # Python decodes byte NN of a name that is not UTF-8 to U+DCNN ("surrogateescape").
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
