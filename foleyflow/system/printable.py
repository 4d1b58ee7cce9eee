"""File names and other foreign text, made safe to print: one line, valid Unicode, no control codes.

A file name is bytes. Python decodes those that are not UTF-8 to surrogates, which no encoding can
write; and a name may hold line breaks and escape sequences, which a terminal would obey.
"""

from __future__ import annotations

import unicodedata
from typing import Any

# Categories of characters that are escaped: control codes, surrogates, line and paragraph breaks.
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Characters that change the direction of the text after them: a name could disguise its suffix.
_DIRECTION_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NAMED_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, *, keep: str = "") -> str:
    r"""Text that can be printed on a terminal and encoded as UTF-8.

    A byte of a file name that is not UTF-8 becomes `\xNN`, a control character `\n`, `\x1b` or the
    like. The escape is for reading; it can't be turned back, as a name may hold a backslash.

    Args:
        text: a name or a message; `str` is taken of anything else, a `Path` for instance.
        keep: characters that stay although they would be escaped, such as line breaks.

    Returns:
        The text, the same object where nothing had to be escaped.

    Source: ours.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(character if character in keep else _escaped(character) for character in text)


def valid_unicode(value: Any) -> Any:
    r"""JSON-able content in which every string, keys included, is valid Unicode.

    Bytes of names that are not UTF-8 become `\xNN`, as in `printable`: strict parsers of JSON
    refuse lone surrogates. Control characters stay; JSON escapes them itself.

    Args:
        value: dictionaries, lists and tuples of plain values.

    Source: RFC 8259, section 8.2.
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
    overrides = character in _DIRECTION_OVERRIDES
    if not overrides and unicodedata.category(character) not in _ESCAPED_CATEGORIES:
        return character
    code = ord(character)
    # Python decodes byte NN of a name that is not UTF-8 to U+DCNN ("surrogateescape").
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
