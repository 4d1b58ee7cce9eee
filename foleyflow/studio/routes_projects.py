"""Requests about the server, its projects, jobs and events."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from foleyflow import __version__
from foleyflow.cues.cue import KINDS
from foleyflow.cues.files import FORMATS
from foleyflow.errors import ConfigError
from foleyflow.inference.delivery import SOUND_FORMATS
from foleyflow.studio.analysing import open_again, start_analysis
from foleyflow.studio.project import Project
from foleyflow.studio.project_files import display_name
from foleyflow.studio.references import add_reference
from foleyflow.studio.requests import NewProject, ProjectChange
from foleyflow.studio.studio import RATE_HZ, VIDEO_SUFFIXES, Studio
from foleyflow.studio.uploads import received

LARGEST_VIEW_BYTES = 65536
LEVEL_RANGE_DB = (-60.0, 12.0)
LONGEST_WAIT_S = 60.0
POLL_S = 0.05

UploadName = Annotated[str, Query(min_length=1, max_length=255)]

project_routes = APIRouter()


def studio_of(request: Request) -> Studio:
    """The studio that answers a request."""
    studio: Studio = request.app.state.studio
    return studio


def project_of(request: Request, name: str) -> Project:
    """A project by its id."""
    return studio_of(request).project(name)


@project_routes.get("/status")
def status(request: Request) -> dict[str, Any]:
    """Version, model and limits."""
    studio = studio_of(request)
    settings, model = studio.settings, studio.engine.model
    return {
        "version": __version__,
        "model": model.name,
        "device": str(next(model.flow.parameters()).device),
        "sample_rate_hz": RATE_HZ,
        "materials": list(model.materials),
        "kinds": list(KINDS),
        "level_range_db": list(LEVEL_RANGE_DB),
        "limits": {"upload_bytes": settings.upload_bytes, "duration_s": settings.duration_s},
        "examples": studio.examples(),
        "has_library": settings.library is not None,
        "video_formats": list(VIDEO_SUFFIXES),
        "sound_formats": list(SOUND_FORMATS),
        "cue_formats": [
            {"suffix": suffix, "can_import": form.parse is not None}
            for suffix, form in FORMATS.items()
        ],
    }


@project_routes.get("/videos")
def videos(request: Request) -> dict[str, Any]:
    """The videos to which projects may refer."""
    return {"videos": studio_of(request).videos()}


@project_routes.get("/projects")
def projects(request: Request) -> dict[str, Any]:
    """All projects."""
    studio = studio_of(request)
    return {"projects": [studio.describe(project) for project in studio.projects()]}


@project_routes.post("/projects", status_code=201)
def create(request: Request, body: NewProject) -> dict[str, Any]:
    """Creates a project from an example or from a video that is not copied."""
    studio = studio_of(request)
    if (body.example is None) == (body.video is None):
        raise ConfigError("expected example or video", hint='for instance {"example": "drums"}')
    if body.example is not None:
        project = studio.create_from_example(body.example)
    else:
        project = studio.create_from_video(body.video or "")
    start_analysis(studio, project)
    return studio.describe(project)


@project_routes.post("/uploads", status_code=201)
async def upload(request: Request, name: UploadName) -> dict[str, Any]:
    """Creates a project from a video, the body."""
    studio = studio_of(request)
    async with received(request, studio.settings) as path:
        if path is None:
            return {}
        project = await run_in_threadpool(studio.create_from_upload, path, name)
    start_analysis(studio, project)
    return await run_in_threadpool(studio.describe, project)


@project_routes.post("/projects/{project_id}/references", status_code=201)
async def upload_reference(request: Request, project_id: str, name: UploadName) -> dict[str, Any]:
    """Adds a recording whose timbre the project may follow, the body."""
    studio = studio_of(request)
    project = await run_in_threadpool(project_of, request, project_id)
    async with received(request, studio.settings) as path:
        if path is None:
            return {}
        added = await run_in_threadpool(add_reference, project, path, name)
    await run_in_threadpool(studio.publish, project)
    return added


@project_routes.get("/projects/{project_id}")
def read(request: Request, project_id: str) -> dict[str, Any]:
    """A project; its sound is prepared for edits."""
    studio, project = studio_of(request), project_of(request, project_id)
    open_again(studio, project)
    return studio.describe(project)


@project_routes.patch("/projects/{project_id}")
def change(request: Request, project_id: str, body: ProjectChange) -> dict[str, Any]:
    """Changes the name or the state of the page."""
    studio, project = studio_of(request), project_of(request, project_id)
    values: dict[str, Any] = {}
    if body.name is not None:
        values["name"] = display_name(body.name)
    if body.view is not None:
        if len(json.dumps(body.view)) > LARGEST_VIEW_BYTES:
            raise ConfigError(
                f"view: expected at most {LARGEST_VIEW_BYTES} bytes", hint="keep less in it"
            )
        values["view"] = body.view
    project.update(**values)
    if body.name is not None:
        studio.publish(project)
    return studio.describe(project)


@project_routes.delete("/projects/{project_id}", status_code=204)
def delete(request: Request, project_id: str) -> Response:
    """Deletes a project with its takes and exports."""
    studio_of(request).delete(project_of(request, project_id))
    return Response(status_code=204)


@project_routes.get("/jobs")
def jobs(request: Request, project: str | None = None) -> dict[str, Any]:
    """Unfinished jobs and the last finished ones."""
    known = studio_of(request).jobs
    return {"jobs": [known.to_json(job) for job in known.listed(project)]}


@project_routes.get("/jobs/{job_id}")
async def job(
    request: Request,
    job_id: str,
    wait_s: Annotated[float, Query(ge=0.0, le=LONGEST_WAIT_S, allow_inf_nan=False)] = 0.0,
) -> dict[str, Any]:
    """A job, when it is finished or after some time."""
    known = studio_of(request).jobs
    found = known.get(job_id)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    while not found.finished.is_set() and loop.time() < until_s:
        await asyncio.sleep(POLL_S)
    return known.to_json(found)


@project_routes.delete("/jobs/{job_id}")
def cancel(request: Request, job_id: str) -> dict[str, Any]:
    """Cancels a job."""
    known = studio_of(request).jobs
    found = known.get(job_id)
    known.cancel(found)
    return known.to_json(found)


@project_routes.get("/events")
async def events(request: Request, project: str | None = None) -> Response:
    """Server-sent events of a project, or of all."""
    studio = studio_of(request)
    present = await run_in_threadpool(_present, studio, project)
    return StreamingResponse(studio.events.stream(project, present), media_type="text/event-stream")


def _present(studio: Studio, project: str | None) -> list[tuple[str, str, dict[str, Any]]]:
    """The present state as events."""
    shown = studio.projects() if project is None else [studio.project(project)]
    found = [("project", each.id, studio.describe(each)) for each in shown]
    unfinished = [job for job in studio.jobs.listed(project) if not job.finished.is_set()]
    return found + [("job", job.project, studio.jobs.to_json(job)) for job in unfinished]
