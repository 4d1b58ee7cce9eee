"""Exports of a project: files for delivery, in a folder each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from foleyflow.studio.jobs import Job
from foleyflow.studio.problems import NotFound, NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.project_files import display_name, now
from foleyflow.studio.studio import Studio
from foleyflow.studio.writing import Wanted, write_export

MOST_EXPORTS = 500


def start_export(studio: Studio, project: Project, wanted: Wanted, name: str) -> Job:
    """Writes the present sound with everything that is wanted."""
    if project.state != "ready":
        raise NotNow("the video is still being analysed", hint="wait until it is ready")
    if len(project.get("exports")) >= MOST_EXPORTS:
        raise NotNow(f"a project has at most {MOST_EXPORTS} exports", hint="delete some")
    with project.lock:
        node, revision = project.history.node, project.history.revision
        sheet = project.sheet()

    def work(job: Job) -> dict[str, Any]:
        with project.render_lock:
            result = studio.engine.result_of(
                project.id, project.info, project.history, node, job.report
            )
        with project.lock:
            number = project.get("next_number")
            project.update(next_number=number + 1)
        export: dict[str, Any] = {
            "id": f"e{number}",
            "name": display_name(name),
            "revision": revision,
        }
        folder = export_folder(project, export["id"])
        folder.mkdir()
        try:
            found = write_export(studio, project, result, folder, wanted, job, sheet=sheet)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        first = found.pop("outputs")  # the video and the sound, before the files next to them
        names = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file()]
        files = first + [name for name in names if name not in first]
        export |= {"created_at": now(), "files": files, **found}
        with project.lock:
            project.update(exports=[*project.get("exports"), export])
        return export_to_json(project, export)

    return studio.start(
        project, studio.lane_of(project), "export", work, label=f"Export {display_name(name)}"
    )


def exports_to_json(project: Project) -> list[dict[str, Any]]:
    """The exports as the API shows them, the last one first."""
    return [export_to_json(project, export) for export in reversed(project.get("exports"))]


def export_to_json(project: Project, export: dict[str, Any]) -> dict[str, Any]:
    """An export as the API shows it; files that are gone have null bytes."""
    folder = export_folder(project, export["id"])
    address = f"/api/v1/projects/{project.id}/exports/{export['id']}/files"
    files = [
        {"name": name, "bytes": _size(folder / name), "url": f"{address}/{index}"}
        for index, name in enumerate(export["files"])
    ]
    return {**export, "files": files}


def export_of(project: Project, name: str) -> dict[str, Any]:
    """The record of an export.

    Raises:
        NotFound: there is none with this id.
    """
    for export in project.get("exports"):
        if export["id"] == name:
            return dict(export)
    raise NotFound("there is no such export", hint="list the exports")


def export_folder(project: Project, name: str) -> Path:
    """The folder of an export; `name` is an id that exists."""
    return project.folder / "exports" / name


def delete_export(project: Project, name: str) -> None:
    """Deletes an export with its files."""
    export = export_of(project, name)
    with project.lock:
        project.update(exports=[each for each in project.get("exports") if each["id"] != name])
    shutil.rmtree(export_folder(project, export["id"]), ignore_errors=True)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
