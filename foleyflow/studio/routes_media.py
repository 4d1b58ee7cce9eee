"""Requests about sound and pictures."""

from __future__ import annotations

import hashlib
import itertools
import threading
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from foleyflow.errors import ConfigError
from foleyflow.media import measure_report
from foleyflow.studio.pictures import spectrogram_png, thumbnails_jpeg
from foleyflow.studio.problems import NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.routes_projects import project_of, studio_of
from foleyflow.studio.sounds import GENERATED, PeakCache, Sound, encoded, wave_header
from foleyflow.studio.studio import RATE_HZ, Studio
from foleyflow.system.atomic_files import draft_of

MOST_COLUMNS = 8192
MOST_FRAMES = 20_000
LONGEST_SPECTROGRAM_S = 60.0
LARGEST_SAMPLE = 2**40
KEPT_THUMBNAILS = 500

Source = Annotated[str, Query(max_length=20)]
Seconds = Annotated[float, Query(allow_inf_nan=False, ge=0.0, le=1e6)]
Sample = Annotated[int, Query(ge=0, le=LARGEST_SAMPLE)]

media_routes = APIRouter(prefix="/projects/{project_id}")
_frame_lock = threading.Lock()
_pictures = threading.BoundedSemaphore(2)  # decoding takes a core each


@media_routes.get("/sound")
def sound(
    request: Request,
    project_id: str,
    source: Source = GENERATED,
    start_sample: Sample = 0,
    end_sample: Sample | None = None,
    form: Annotated[str, Query(alias="format", pattern="^(f32|i16|wav)$")] = "f32",
) -> Response:
    """Samples of a sound."""
    found = _sound(request, project_id, source)
    stop = found.count if end_sample is None else min(end_sample, found.count)
    start = min(start_sample, stop)
    headers = {
        "X-Sample-Rate": str(RATE_HZ),
        "X-Channels": str(found.channels),
        "X-Start-Sample": str(start),
        "X-Sample-Count": str(stop - start),
    }
    if found.revision is not None:
        headers["X-Revision"] = str(found.revision)
    size = (stop - start) * found.channels * (2 if form == "i16" else 4)
    head = wave_header(stop - start, channels=found.channels) if form == "wav" else b""
    headers["content-length"] = str(len(head) + size)
    kind = "audio/wav" if form == "wav" else "application/octet-stream"

    blocks = found.blocks(start, stop)
    first = next(blocks, None)  # what can't be decoded at all is an error before the headers
    parts = itertools.chain([] if first is None else [first], blocks)
    body = itertools.chain([head], (encoded(block, form) for block in parts))
    return StreamingResponse(body, media_type=kind, headers=headers)


@media_routes.get("/peaks")
def peaks(
    request: Request,
    project_id: str,
    start_s: Seconds,
    end_s: Seconds,
    columns: Annotated[int, Query(ge=1, le=MOST_COLUMNS)],
    source: Source = GENERATED,
) -> Response:
    """Lowest and highest samples for drawing a waveform."""
    _check_range(start_s, end_s)
    cache: PeakCache = request.app.state.peaks
    found = cache.peaks(_sound(request, project_id, source))
    values = found.between(start_s * RATE_HZ, end_s * RATE_HZ, columns)
    return Response(
        values.astype("<i2").tobytes(),
        media_type="application/octet-stream",
        headers={"X-Channels": str(found.channels)},
    )


@media_routes.get("/spectrogram")
def spectrogram(
    request: Request,
    project_id: str,
    start_s: Seconds,
    end_s: Seconds,
    width: Annotated[int, Query(ge=1, le=4096)],
    height: Annotated[int, Query(ge=16, le=1024)],
    source: Source = GENERATED,
) -> Response:
    """The spectrum over time as a grey picture."""
    _check_range(start_s, end_s)
    if end_s - start_s > LONGEST_SPECTROGRAM_S:
        raise ConfigError(
            f"range of {end_s - start_s:g} s: expected at most {LONGEST_SPECTROGRAM_S:g} s",
            hint="draw several pictures",
        )
    found = _sound(request, project_id, source)
    samples = found.samples(round(start_s * RATE_HZ), round(end_s * RATE_HZ))
    wanted = max(round((end_s - start_s) * RATE_HZ), 1)
    samples = np.pad(samples, (0, max(wanted - len(samples), 0)))
    with _pictures:
        picture = spectrogram_png(samples, RATE_HZ, width=width, height=height)
    return Response(picture, media_type="image/png")


@media_routes.get("/loudness")
def loudness(request: Request, project_id: str, source: Source = GENERATED) -> dict[str, Any]:
    """Loudness and true peak of a complete sound."""
    found = _sound(request, project_id, source)
    return dict(measure_report(found.blocks(), RATE_HZ).to_json())


@media_routes.get("/video")
def video(request: Request, project_id: str) -> Response:
    """The video or its copy for browsers, with ranges."""
    project = project_of(request, project_id)
    playback = project.playback
    headers = {"cache-control": "private, no-cache"}
    if playback == "original":
        return FileResponse(project.video, media_type=project.get("mime"), headers=headers)
    if playback == "proxy":
        return FileResponse(project.proxy, media_type="video/mp4", headers=headers)
    if playback == "preparing":
        raise NotNow("a copy for the browser is being made", hint="wait for its job")
    raise NotNow("no copy for the browser can be made", hint="convert the video to h264 first")


@media_routes.get("/frames")
def frames(
    request: Request, project_id: str, start_s: Seconds = 0.0, end_s: Seconds | None = None
) -> dict[str, Any]:
    """Times of the frames within a range."""
    times_s = _frame_times(studio_of(request), project_of(request, project_id))
    first = int(np.searchsorted(times_s, start_s - 1e-6))
    last = len(times_s) if end_s is None else int(np.searchsorted(times_s, end_s))
    inside = times_s[first : min(max(last, first), first + MOST_FRAMES)]
    return {
        "start_index": first,
        "count": len(inside),
        "total": len(times_s),
        "times_s": [round(float(time_s), 6) for time_s in inside],
    }


@media_routes.get("/thumbnails")
def thumbnails(
    request: Request,
    project_id: str,
    start_s: Seconds,
    end_s: Seconds,
    count: Annotated[int, Query(ge=1, le=64)],
    height: Annotated[int, Query(ge=16, le=360)],
) -> Response:
    """Frames from left to right in one picture."""
    _check_range(start_s, end_s)
    project = project_of(request, project_id)
    key = hashlib.sha256(f"{start_s!r} {end_s!r} {count} {height}".encode()).hexdigest()[:24]
    path = project.folder / "cache" / f"thumbnails-{key}.jpg"
    if not path.exists():
        with _pictures:
            picture = thumbnails_jpeg(
                studio_of(request).decoding,
                project.info,
                start_s=start_s,
                end_s=end_s,
                count=count,
                height=height,
            )
        _remove_old(project)
        with draft_of(path) as draft:
            draft.write_bytes(picture)
    headers = {"cache-control": "private, max-age=86400"}
    return Response(path.read_bytes(), media_type="image/jpeg", headers=headers)


def _sound(request: Request, project_id: str, source: str) -> Sound:
    return Sound(studio_of(request), project_of(request, project_id), source)


def _remove_old(project: Project) -> None:
    """Keeps the number of pictures on disk below a limit."""
    known = list((project.folder / "cache").glob("thumbnails-*.jpg"))
    if len(known) >= KEPT_THUMBNAILS:
        by_age = sorted(known, key=lambda path: path.stat().st_mtime)
        for path in by_age[: KEPT_THUMBNAILS // 2]:
            path.unlink(missing_ok=True)


def _frame_times(studio: Studio, project: Project) -> np.ndarray:
    path: Path = project.folder / "cache" / "frames.f64"
    with _frame_lock:  # that of the project would hold up its edits
        if path.exists():
            return np.fromfile(path, "<f8")
        times_s = studio.decoding.frame_times(project.info)
        with draft_of(path) as draft:
            times_s.astype("<f8").tofile(draft)
        return times_s


def _check_range(start_s: float, end_s: float) -> None:
    if not start_s < end_s:
        raise ConfigError(
            f"range {start_s:g} s to {end_s:g} s: expected a start before the end",
            hint="times are seconds from the first frame",
        )
