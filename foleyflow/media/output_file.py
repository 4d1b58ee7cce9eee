"""Check where an output goes, and write it so that it appears complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import av

from foleyflow.errors import MediaError
from foleyflow.media.resource_errors import raise_if_out_of_resources
from foleyflow.system.atomic_files import draft_of, write_target


def check_output(
    path: str | Path, *, overwrite: bool = False, source: str | Path | None = None
) -> None:
    """Refuse an output that can't be written, or that is the input `source`.

    A symbolic link is followed; its target need not exist. See `atomic_files.write_target`.

    Raises:
        MediaError: the file exists, is the input, or has a name that is too long; or its folder is
            missing or not writable.
    """
    path = Path(path)
    if not path.name:
        raise MediaError(f"{path}: not the name of a file", hint="give a file name with -o")
    try:
        target = write_target(path)
        folder = target.parent
        status = None
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.stat(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{path}: is a directory", hint="give the name of a file in it")
        if not folder.is_dir():
            raise _folder_error(path, target)
        if status is not None:
            if not stat.S_ISREG(status.st_mode):
                raise MediaError(
                    f"{path}: is a pipe or a device, not a file", hint="choose another name with -o"
                )
            if source is not None and Path(source).exists() and os.path.samefile(path, source):
                raise MediaError(
                    f"{path}: the output is the input itself", hint="choose another name with -o"
                )
            if not overwrite:
                raise MediaError(f"{path}: already exists", hint="use --overwrite to replace it")
    except OSError as error:
        raise _write_error(path, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MediaError(f"{folder}: not allowed to write there", hint="choose another folder")


def _folder_error(path: Path, target: Path) -> MediaError:
    """The error for an output whose folder does not exist."""
    folder = target.parent
    if os.path.lexists(folder) and not folder.is_symlink():
        return MediaError(f"{folder}: is a file, not a folder", hint="choose another folder")
    if target != path:
        return MediaError(
            f"{path}: a symbolic link to {target}, whose folder does not exist",
            hint=f"mkdir -p {folder}, or choose another name with -o",
        )
    return MediaError(f"{folder}: no such folder", hint=f"mkdir -p {folder}")


@contextlib.contextmanager
def written_atomically(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A draft that takes the place of `path` at the end, or is removed on an error.

    Errors of the system and of libav become a MediaError.
    """
    try:
        with draft_of(path) as draft:
            yield draft
            with open(draft, "rb+") as file:
                os.fsync(file.fileno())
            check_output(path, overwrite=overwrite)  # it may exist by now
    except (av.FFmpegError, OSError) as error:
        raise_if_out_of_resources(error)
        raise _write_error(path, error) from error


def _write_error(path: Path, error: Exception) -> MediaError:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return MediaError(
            f"{path}: no space left on the disk of {path.parent}",
            hint="free some space or choose another folder with -o",
        )
    if getattr(error, "errno", None) == errno.ENAMETOOLONG:
        return MediaError(
            f"{path}: the file name is too long ({len(os.fsencode(path.name))} bytes;"
            " most disks allow 255)",
            hint="choose a shorter name with -o",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError(
        f"{path}: can't be written ({reason})", hint="choose another folder or format with -o"
    )
