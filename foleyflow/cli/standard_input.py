"""Reads a video from standard input into a temporary file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foleyflow.errors import MediaError

_BLOCK_BYTES = 2**20


@contextmanager
def spooled_standard_input() -> Iterator[Path]:
    """Standard input as a file, which is removed at the end and on any exception.

    A video is read several times and from its end, which a pipe does not allow.

    Raises:
        MediaError: standard input is a terminal, closed or empty, or does not fit on the disk.
    """
    stream = sys.stdin
    if stream is None or stream.closed:
        raise MediaError("-: standard input is closed", hint="pipe a video into it, or name a file")
    if stream.isatty():
        raise MediaError(
            "-: standard input is a terminal, expected a video",
            hint="pipe a video into it, as in `cat clip.mp4 | foleyflow generate - -o NAME`",
        )
    with tempfile.TemporaryDirectory(prefix="foleyflow-") as folder:
        path = Path(folder) / "standard-input"
        try:
            with open(path, "wb") as file:
                shutil.copyfileobj(stream.buffer, file, _BLOCK_BYTES)
        except OSError as error:
            raise MediaError(
                f"-: standard input can't be stored in {folder} ({error.strerror or error})",
                hint="set TMPDIR to a folder with more space",
            ) from error
        if path.stat().st_size == 0:
            raise MediaError(
                "-: standard input is empty (0 bytes)", hint="check the program that writes it"
            )
        yield path
