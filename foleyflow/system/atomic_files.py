"""Writes files that appear complete or not at all: under a draft's name, then renamed.

The draft of a killed process stays; the next process that writes the same file removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

# Bytes of the file's name that the draft's name keeps. With a dot, a hash, the process number and
# the suffix it stays below 143 bytes, the lowest limit in use (eCryptfs; 255 is usual).
_KEPT_BYTES = 90
_SUFFIX = ".part"


def write_target(path: Path) -> Path:
    """The file that is written for the output `path`: the path itself, or the target of a link.

    As with a shell's `>`, a symbolic link stays and its target is replaced or created.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextlib.contextmanager
def draft_of(path: Path, *, one_writer: bool = False) -> Iterator[Path]:
    """Yields a draft to write; it replaces `path` at the end, or is removed on any exception.

    Args:
        path: the final file; see `write_target` for symbolic links.
        one_writer: use the same draft name in all processes. The folder is then not searched for
            old drafts, and no two processes may write the file at the same time.

    Raises:
        OSError: the draft was not written, or can't be renamed.
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
    """The prefix of the names of all drafts of a file.

    A long name is cut between two characters, and a hash of it is appended.
    """
    kept = path.name
    while len(os.fsencode(kept)) > _KEPT_BYTES:
        kept = kept[:-1]
    if kept != path.name:
        kept += "~" + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
    return f".{kept}"


def _remove_leftovers(path: Path) -> None:
    """Removes drafts of the same file whose process no longer runs."""
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
