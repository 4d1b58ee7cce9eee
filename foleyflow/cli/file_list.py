"""Reads the names of videos from a file or from standard input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from foleyflow.errors import MediaError, UsageError

_STANDARD_INPUT = "-"
_HINT = "pipe names into it, as in `find . -name '*.mp4' | foleyflow generate --files-from -`"


def video_names(videos: list[str] | None, files_from: str | None) -> list[str]:
    """The names of a command's videos: its arguments, or those in a list.

    Raises:
        UsageError: there is neither or both, or the list has standard input itself.
        MediaError: the list can't be read.
    """
    if files_from is None:
        if not videos:
            raise UsageError(
                "Missing argument 'VIDEO...'", hint="name video files, or give --files-from FILE"
            )
        return videos
    if videos:
        raise UsageError(
            f"--files-from {files_from} with {len(videos)} more: expected one of them",
            hint="add the names to the list",
        )
    names = _names(_content(files_from))
    if _STANDARD_INPUT in names:
        raise UsageError(
            f"--files-from {files_from}: the list has - (standard input)",
            hint="./- names a file that is called -",
        )
    return names


def _names(content: bytes) -> list[str]:
    """The names in a list; with any NUL, only NULs separate them, so that a name can have a line
    break.
    """
    if b"\0" in content:
        parts = content.split(b"\0")
    else:
        parts = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(part) for part in parts if part]


def _content(files_from: str) -> bytes:
    if files_from != _STANDARD_INPUT:
        try:
            return Path(files_from).read_bytes()
        except OSError as error:
            raise MediaError(
                f"--files-from {files_from}: {error.strerror or error}",
                hint="expected a text file with one name per line",
            ) from error
    stream = sys.stdin
    if stream is None or stream.closed:
        raise MediaError("--files-from -: standard input is closed", hint=_HINT)
    if stream.isatty():
        raise MediaError("--files-from -: standard input is a terminal, expected names", hint=_HINT)
    return stream.buffer.read()
