"""Requests about exports."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from foleyflow.cues.files import FORMATS
from foleyflow.errors import ConfigError
from foleyflow.inference.delivery import Delivery
from foleyflow.studio.exports import (
    delete_export,
    export_folder,
    export_of,
    exports_to_json,
    start_export,
)
from foleyflow.studio.problems import NotFound
from foleyflow.studio.project_files import confined, file_name
from foleyflow.studio.requests import NewExport
from foleyflow.studio.routes_projects import project_of, studio_of
from foleyflow.studio.studio import VIDEO_SUFFIXES
from foleyflow.studio.writing import Wanted

BLOCK_BYTES = 1 << 18
# Of downloads; everything else is saved as bytes
_TYPES = {
    ".mp4": "video/mp4",
    ".wav": "audio/wav",
    ".png": "image/png",
    ".json": "application/json",
}

export_routes = APIRouter(prefix="/projects/{project_id}/exports")


@export_routes.post("", status_code=202)
def export(request: Request, project_id: str, body: NewExport) -> dict[str, Any]:
    """Writes files for delivery."""
    studio, project = studio_of(request), project_of(request, project_id)
    name = body.name or project.get("name")
    wanted = Wanted(
        stem=file_name(name),
        video=_video_suffix(body.video),
        sound=body.sound,
        delivery=Delivery(
            mix=body.mix,
            mix_level_lu=body.mix_level_lu,
            duck_depth_db=body.duck_depth_db,
            keep_original=body.keep_original,
        ),
        stems=body.stems,
        cues=_cue_suffixes(body.cues),
        project=body.project,
        report=body.report,
        sidecar=body.sidecar,
    )
    return studio.jobs.to_json(start_export(studio, project, wanted, name))


@export_routes.get("")
def exports(request: Request, project_id: str) -> dict[str, Any]:
    """All exports."""
    return {"exports": exports_to_json(project_of(request, project_id))}


@export_routes.get("/{export_id}/files/{index}")
def download(request: Request, project_id: str, export_id: str, index: int) -> Response:
    """One file of an export."""
    project = project_of(request, project_id)
    files = export_of(project, export_id)["files"]
    if not 0 <= index < len(files):
        raise NotFound("there is no such file", hint="list the exports")
    path = confined(export_folder(project, export_id), files[index])
    kind = _TYPES.get(path.suffix.lower(), "application/octet-stream")
    return FileResponse(path, media_type=kind, filename=path.name)


@export_routes.get("/{export_id}/zip")
def archive(request: Request, project_id: str, export_id: str) -> Response:
    """All files of an export in one archive."""
    project = project_of(request, project_id)
    found = export_of(project, export_id)
    folder = export_folder(project, export_id)
    files = [(name, confined(folder, name)) for name in found["files"]]
    ascii_name = re.sub(r"[^A-Za-z0-9 ._-]", "_", file_name(found["name"]))
    headers = {"content-disposition": f'attachment; filename="{ascii_name}.zip"'}
    return StreamingResponse(_zipped(files), media_type="application/zip", headers=headers)


@export_routes.delete("/{export_id}", status_code=204)
def delete(request: Request, project_id: str, export_id: str) -> Response:
    """Deletes an export."""
    delete_export(project_of(request, project_id), export_id)
    return Response(status_code=204)


def _video_suffix(video: bool | str) -> str | None:
    if isinstance(video, bool):
        return "" if video else None
    if video.lower() not in VIDEO_SUFFIXES:
        raise ConfigError(
            "video: there is no such format", hint=f"expected {', '.join(VIDEO_SUFFIXES)}"
        )
    return video.lower()


def _cue_suffixes(suffixes: list[str]) -> list[str]:
    for suffix in suffixes:
        if suffix not in FORMATS:
            raise ConfigError(
                "cues: there is no such format of cue sheets",
                hint=f"expected some of {', '.join(FORMATS)}",
            )
    return list(dict.fromkeys(suffixes))


class _Outgoing:
    """A file that is only written; its bytes are taken out in pieces."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self._position = 0

    def write(self, data: bytes, /) -> int:
        """Appends bytes."""
        self.waiting.append(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        """The number of bytes so far."""
        return self._position

    def flush(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""

    def taken(self) -> bytes:
        """The bytes since the last call."""
        data, self.waiting = b"".join(self.waiting), []
        return data


def _zipped(files: list[tuple[str, Path]]) -> Iterator[bytes]:
    """An archive without compression, in pieces."""
    outgoing = _Outgoing()
    with zipfile.ZipFile(outgoing, "x", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            with open(path, "rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while data := source.read(BLOCK_BYTES):
                    target.write(data)
                    yield outgoing.taken()
    yield outgoing.taken()
