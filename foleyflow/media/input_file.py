"""Refuses inputs that are no ordinary file with content, before libav tries to open them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from foleyflow.errors import MediaError

_PIPE_HINT = "use `foleyflow generate - -o NAME`, which reads standard input, or save it to a file"


def check_input_file(path: Path) -> None:
    """Refuse what can't be read as a file.

    A video is opened several times and read from both ends, so that a pipe can't take its place.

    Args:
        path: an input as given; a symbolic link counts as the file that it leads to.

    Raises:
        MediaError: missing, a dangling link, a directory, a pipe, a socket, a device, or empty.
        PermissionError: its folder may not be searched.

    Source: ours.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise _not_found(path, error) from error
    kind = status.st_mode
    if stat.S_ISDIR(kind):
        raise MediaError(f"{path}: is a directory, not a file", hint="name the clip within it")
    if stat.S_ISFIFO(kind):
        raise MediaError(f"{path}: a pipe can't be used as a file", hint=_PIPE_HINT)
    if stat.S_ISSOCK(kind):
        raise MediaError(f"{path}: a socket can't be used as a file", hint=_PIPE_HINT)
    if not stat.S_ISREG(kind):
        raise MediaError(
            f"{path}: a device can't be used as a file", hint="record from it into a file first"
        )
    if status.st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes)", hint="copy or export it again")


def _not_found(path: Path, error: OSError) -> MediaError | OSError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.islink(path):
            return MediaError(
                f"{path}: links to {os.readlink(path)}, which is not there",
                hint="repair the link, or name the video itself",
            )
        return MediaError(f"{path}: no such file", hint="check the name and the folder")
    if error.errno == errno.ELOOP:
        return MediaError(
            f"{path}: a symbolic link that leads back to itself", hint="name the video itself"
        )
    if error.errno == errno.ENAMETOOLONG:
        return MediaError(
            f"{path}: no such file (no name can be that long)", hint="check the name and the folder"
        )
    return error
