"""Files that appear complete or not at all: written under another name, then moved.

The draft of a killed process stays; the next process that writes the same file removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

# Bytes of a file's name that its draft's name keeps. With a dot, a mark, the number of a process
# and a suffix it stays below 143 bytes, the lowest limit in use (eCryptfs; 255 is usual).
_KEPT_BYTES = 90
_SUFFIX = ".part"


def write_target(path: Path) -> Path:
    """The file that is written when `path` is named as the output.

    A symbolic link is written through, as by a shell's `>`: the file that it leads to is replaced
    or made, and the link stays a link. Programs that look at that file then see the new content.

    Args:
        path: an output as given.

    Returns:
        The path itself, or where the link leads to.

    Source: ours.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextlib.contextmanager
def draft_of(path: Path, *, one_writer: bool = False) -> Iterator[Path]:
    """A file to write that takes the place of `path` at the end, or vanishes on any exception.

    Args:
        path: the file that is going to be there; see `write_target` for symbolic links.
        one_writer: the draft's name is the same in all processes. It needs no look through the
            folder for drafts that were left, and no two processes may write the file at once.

    Returns:
        A context manager that gives the draft's path, in the same folder.

    Raises:
        OSError: the draft was not written, or can't be moved.

    Source: ours.
    """
    target = write_target(path)
    name = draft_prefix(target) + ("" if one_writer else f".{os.getpid()}") + _SUFFIX
    draft = target.with_name(name)
    if not one_writer:
        _remove_leftovers(target)
    try:
        yield draft
        os.replace(draft, target)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def draft_prefix(path: Path) -> str:
    """How the names of all drafts of a file begin.

    A name that is too long is cut at a character, not within one, and a hash of the whole name
    tells it from others that begin the same.

    Args:
        path: the file.

    Source: ours.
    """
    kept = path.name
    while len(os.fsencode(kept)) > _KEPT_BYTES:
        kept = kept[:-1]
    if kept != path.name:
        kept += "~" + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
    return f".{kept}"


def _remove_leftovers(path: Path) -> None:
    """Remove drafts of the same file whose process no longer runs."""
    prefix = draft_prefix(path) + "."
    with contextlib.suppress(OSError):
        for other in path.parent.iterdir():
            process = other.name.removeprefix(prefix).removesuffix(_SUFFIX)
            if other.name == f"{prefix}{process}{_SUFFIX}" and process.isdecimal():
                if not _is_running(int(process)):
                    other.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
