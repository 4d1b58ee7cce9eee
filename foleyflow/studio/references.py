"""Recordings whose timbre a project may follow; of each, its first hit is kept as a wave file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foleyflow.studio import probe_worker
from foleyflow.studio.problems import NotFound, NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.project_files import display_name

MOST_REFERENCES = 100


def references_to_json(project: Project) -> list[dict[str, Any]]:
    """The recordings of a project as the API shows them, the last one first."""
    return [dict(each) for each in reversed(project.get("references") or [])]


def reference_of(project: Project, name: str) -> dict[str, Any]:
    """The record of a recording.

    Raises:
        NotFound: there is none with this id.
    """
    for each in project.get("references") or []:
        if each["id"] == name:
            return dict(each)
    raise NotFound("there is no such recording", hint="read the project again")


def add_reference(project: Project, file: Path, name: str) -> dict[str, Any]:
    """Keeps the first hit of an uploaded sound file, which is not changed.

    It stays with the project, because undo may need it.

    Raises:
        MediaError: it can't be used.
        NotNow: the project has too many recordings.
    """
    with project.lock:
        number, known = project.get("next_number"), project.get("references") or []
        if len(known) >= MOST_REFERENCES:
            raise NotNow(
                f"a project has at most {MOST_REFERENCES} recordings", hint="use one of them again"
            )
        project.update(next_number=number + 1)
    added = {"id": f"r{number}", "name": display_name(name)}
    path = project.folder / "references" / f"{added['id']}.wav"
    probe_worker.cut_hit(file, path, suffix=Path(added["name"]).suffix.lower())
    with project.lock:
        project.update(references=[*(project.get("references") or []), added])
    return added
