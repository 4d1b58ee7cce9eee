"""Requests about cues, takes and the settings of the sound."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from foleyflow.cues.files import FORMATS, format_of, read_cues
from foleyflow.errors import ConfigError
from foleyflow.inference.video_reference import reference_of
from foleyflow.studio.analysing import start_render, start_spotting
from foleyflow.studio.editing import edit_cues, regenerate, step_back
from foleyflow.studio.identified_cues import changed_by, in_order, replaced_by, with_ids
from foleyflow.studio.problems import NotFound, NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.requests import (
    AllCues,
    CueChanges,
    NewName,
    NewTakes,
    RenderSettings,
    SpotSettings,
    Stretch,
)
from foleyflow.studio.routes_projects import project_of, studio_of
from foleyflow.studio.studio import Studio
from foleyflow.studio.takes import delete_take, rename_take, start_keeping, start_takes, use_take

CueFormat = Annotated[str, Query(max_length=16)]
_TEXT = "text/plain; charset=utf-8"
_TYPES = {".json": "application/json", ".otio": "application/json", ".mid": "audio/midi"}

cue_routes = APIRouter(prefix="/projects/{project_id}")


@cue_routes.get("/cues")
def read(request: Request, project_id: str) -> dict[str, Any]:
    """The present cues."""
    project = project_of(request, project_id)
    with project.lock:
        history = project.history
        return {
            "revision": history.revision,
            "duration_s": project.duration_s,
            "cues": in_order(history.cues, history.cues),
        }


@cue_routes.get("/cues/{cue_id}/place")
def place(request: Request, project_id: str, cue_id: str) -> dict[str, Any]:
    """Where the picture moves at a cue: its pan if it has none of its own."""
    studio, project = studio_of(request), project_of(request, project_id)
    cue = project.history.cues.get(cue_id)
    if cue is None:
        raise NotFound("there is no such cue", hint="read the cues again")
    result = studio.engine.kept(project.id, project.live.node)
    if result is None:
        raise NotNow("the project is being opened", hint="try again in a few seconds")
    return {"pan": result.place(cue.time_s, cue.end_s)}


@cue_routes.patch("/cues")
def change(request: Request, project_id: str, body: CueChanges) -> dict[str, Any]:
    """Changes, adds and removes cues."""
    studio = studio_of(request)
    materials = studio.engine.model.materials
    return edit_cues(
        studio,
        project_of(request, project_id),
        lambda cues, number: changed_by(cues, body.changes, number=number, materials=materials),
        label=body.label,
        base_revision=body.base_revision,
    )


@cue_routes.put("/cues")
def replace(request: Request, project_id: str, body: AllCues) -> dict[str, Any]:
    """Replaces all cues."""
    studio = studio_of(request)
    materials = studio.engine.model.materials
    return edit_cues(
        studio,
        project_of(request, project_id),
        lambda cues, number: replaced_by(cues, body.cues, number=number, materials=materials),
        label=body.label or "Replace all cues",
        base_revision=body.base_revision,
    )


@cue_routes.post("/cues/import")
def import_cues(
    request: Request,
    project_id: str,
    form: Annotated[str, Query(alias="format", max_length=16)],
    content: Annotated[bytes, Body(media_type="application/octet-stream")],
) -> dict[str, Any]:
    """Replaces all cues by those of a file, the body."""
    studio, project = studio_of(request), project_of(request, project_id)
    sheet = _read(studio, project, form, content)
    return edit_cues(
        studio,
        project,
        lambda cues, number: with_ids(list(sheet), cues, number=number),
        label="Import cues",
    )


@cue_routes.get("/cues/export")
def export_cues(
    request: Request, project_id: str, form: Annotated[str, Query(alias="format", max_length=16)]
) -> Response:
    """The cues as a file."""
    project = project_of(request, project_id)
    suffix = _suffix(form)
    content = format_of(Path(suffix)).make_bytes(project.sheet(), _reference(project))
    return Response(
        content,
        media_type=_TYPES.get(suffix, _TEXT),
        headers={"content-disposition": f'attachment; filename="cues{suffix}"'},
    )


@cue_routes.post("/undo")
def undo(request: Request, project_id: str) -> dict[str, Any]:
    """Takes back the last change."""
    return step_back(studio_of(request), project_of(request, project_id), redo=False)


@cue_routes.post("/redo")
def redo(request: Request, project_id: str) -> dict[str, Any]:
    """Does the change again that was taken back last."""
    return step_back(studio_of(request), project_of(request, project_id), redo=True)


@cue_routes.post("/regenerate")
def regenerate_stretch(request: Request, project_id: str, body: Stretch) -> dict[str, Any]:
    """Another sound of a stretch."""
    return regenerate(
        studio_of(request), project_of(request, project_id), body.start_s, body.end_s, body.seed
    )


@cue_routes.post("/render", status_code=202)
def render(request: Request, project_id: str, body: RenderSettings) -> dict[str, Any]:
    """Generates the complete sound with other settings."""
    studio = studio_of(request)
    job = start_render(studio, project_of(request, project_id), body.changes())
    return studio.jobs.to_json(job)


@cue_routes.post("/spot", status_code=202)
def spot(request: Request, project_id: str, body: SpotSettings) -> dict[str, Any]:
    """Finds the cues again."""
    studio = studio_of(request)
    job = start_spotting(studio, project_of(request, project_id), body.sensitivity)
    return studio.jobs.to_json(job)


@cue_routes.post("/takes", status_code=202)
def new_takes(request: Request, project_id: str, body: NewTakes) -> dict[str, Any]:
    """Keeps the present sound, or generates takes."""
    studio, project = studio_of(request), project_of(request, project_id)
    if (body.name is None) == (body.count is None):
        raise ConfigError("expected name or count", hint='for instance {"count": 4}')
    if body.count is not None:
        job = start_takes(studio, project, body.count)
    else:
        job = start_keeping(studio, project, body.name or "")
    return studio.jobs.to_json(job)


@cue_routes.post("/takes/{take_id}/use")
def use(request: Request, project_id: str, take_id: str) -> dict[str, Any]:
    """Makes a take the present sound."""
    return use_take(studio_of(request), project_of(request, project_id), take_id)


@cue_routes.patch("/takes/{take_id}")
def rename(request: Request, project_id: str, take_id: str, body: NewName) -> dict[str, Any]:
    """Gives a take another name."""
    return rename_take(studio_of(request), project_of(request, project_id), take_id, body.name)


@cue_routes.delete("/takes/{take_id}", status_code=204)
def delete(request: Request, project_id: str, take_id: str) -> Response:
    """Deletes a take."""
    delete_take(studio_of(request), project_of(request, project_id), take_id)
    return Response(status_code=204)


def _suffix(form: str) -> str:
    suffix = form if form.startswith(".") else f".{form}"
    if suffix not in FORMATS:
        raise ConfigError(
            "format: there is no such format of cue sheets",
            hint=f"expected one of {', '.join(FORMATS)}",
        )
    return suffix


def _reference(project: Project) -> Any:
    return reference_of(project.info, project.get("video")["name"])


def _read(studio: Studio, project: Project, form: str, content: bytes) -> Any:
    """The sheet in the bytes of a file; errors name the file `cues` and its suffix."""
    suffix = _suffix(form)
    with tempfile.TemporaryDirectory(prefix="foleyflow-cues-") as folder:
        path = Path(folder) / f"cues{suffix}"
        path.write_bytes(content)
        try:
            return read_cues(
                path,
                duration_s=project.duration_s,
                materials=studio.engine.model.materials or None,
                video=_reference(project),
            )
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{folder}/", ""), hint=error.hint) from error
