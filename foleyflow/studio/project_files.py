"""The folder of a project: its record, its video and names of files.

drums-1f0c9a/
  project.json    name, video, settings, takes, exports
  history.jsonl   all changes of the cues; cues.json has the present ones
  video.mp4       unless the project refers to a video elsewhere
  takes/  exports/  references/
  cache/          everything in it can be made again
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from foleyflow.errors import DataError
from foleyflow.studio.problems import NotFound
from foleyflow.system.printable import json_text, printable
from foleyflow.weights import write_atomically

RECORD = "project.json"
RECORD_VERSION = 1
LONGEST_NAME = 80
PROJECT_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
FOLDERS = ("takes", "exports", "references", "cache")


def new_id(name: str) -> str:
    """An id for a project, which is also the name of its folder."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", ascii_name.lower())
    return "-".join([*words, secrets.token_hex(4)])[-60:].strip("-")


def display_name(text: str) -> str:
    """A name for people: one line, not too long, without the folder and without control codes."""
    name = printable(re.split(r"[/\\]", text)[-1]).strip()
    return name[:LONGEST_NAME].strip() or "untitled"


def file_name(text: str) -> str:
    """A name for files that every system accepts, from a name for people."""
    kept = re.sub(r"[^\w .()+-]", "_", unicodedata.normalize("NFC", display_name(text)))
    return kept.strip(" .") or "untitled"


def now() -> str:
    """The present time, UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_text(seconds: float) -> str:
    """A time in seconds since 1970 in the form of `now`."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def project_folder(root: Path, name: str) -> Path:
    """The folder of a project.

    Raises:
        NotFound: there is none; links are not followed.
    """
    folder = root / name
    if not PROJECT_ID.fullmatch(name) or folder.is_symlink() or not (folder / RECORD).is_file():
        raise NotFound("there is no such project", hint="list the projects")
    return folder


def project_ids(root: Path) -> list[str]:
    """The ids of all projects of a folder."""
    names = [each.parent.name for each in root.glob(f"*/{RECORD}")]
    return [
        name
        for name in sorted(names)
        if PROJECT_ID.fullmatch(name) and not (root / name).is_symlink()
    ]


def confined(folder: Path, relative: str) -> Path:
    """A file below a folder, after all links are followed.

    Raises:
        NotFound: there is no such file, or it is outside the folder.
    """
    missing = NotFound("there is no such file", hint="list the files")
    if not relative or "\0" in relative or Path(relative).is_absolute():
        raise missing
    try:
        path, root = (folder / relative).resolve(), folder.resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise missing
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, or too long a name
        raise missing from error
    return path


def reference_file(folder: Path, name: str) -> Path:
    """The sound file of a recording in the folder of a project; `name` is its id.

    Raises:
        DataError: it is missing.
    """
    for path in folder.glob(f"references/{name}.*"):
        return path
    raise DataError(
        f"the recording {name} of the project is missing",
        hint="restore its folder references from a backup, or remove the recording",
    )


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes the record of a project."""
    write_atomically(folder / RECORD, json_text(record) + "\n")


def read_record_of(folder: Path) -> dict[str, Any]:
    """The record of a project.

    Raises:
        DataError: it is damaged, or of another version.
    """
    hint = "restore the file from a backup, or remove the folder"
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder.name}/{RECORD}: can't be read ({error})", hint=hint) from error
    if not isinstance(record, dict) or record.get("version") != RECORD_VERSION:
        raise DataError(
            f"{folder.name}/{RECORD}: expected a record of version {RECORD_VERSION}",
            hint="use the version of foleyflow that wrote it",
        )
    return record
