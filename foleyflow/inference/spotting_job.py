"""Finds the cues of one video of a batch, and writes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from foleyflow.cues.fields import fields_of
from foleyflow.cues.files import format_of, write_cues
from foleyflow.errors import UsageError
from foleyflow.inference.batch import Hooks, model_of, progress_of
from foleyflow.inference.outputs import check_outputs
from foleyflow.inference.request import Job, SpotRequest
from foleyflow.inference.video_reference import reference_of
from foleyflow.media import probe
from foleyflow.system.memory import peak_memory_mb

SHEET_SUFFIX = ".cues.json"


def sheet_output(video: Path, request: SpotRequest) -> Path:
    """The cue sheet of a video.

    Raises:
        UsageError: the output is standard output.
        ConfigError: no format of cue sheets has the suffix of the output.
        MissingExtra: the package that the format needs is not installed.
    """
    name = f"{video.stem}{SHEET_SUFFIX}"
    if request.folder is not None:
        return request.folder / name
    if request.output is None:
        return video.with_name(name)
    if request.output == "-":
        raise UsageError(
            "-o -: expected a file or a folder", hint="--json prints the cues on standard output"
        )
    format_of(Path(request.output))
    return Path(request.output)


def spot_video(job: Job[SpotRequest], hooks: Hooks, logged: list[str]) -> dict[str, Any]:
    """Writes the cue sheet of a job; returns the description that --json prints.

    Raises:
        MediaError: the video can't be used, or the sheet can't be written.
        ConfigError: a setting is not valid.
    """
    request = job.request
    info = probe(job.video)
    check_outputs(job.video, job.output, request)
    model = model_of(request)
    start_s = time.perf_counter()
    with hooks.progress(Path(job.name).name) as show:
        cues = model.spot(
            info,
            sensitivity=request.sensitivity,
            progress=progress_of(show, info.duration_s),
        )
    write_cues(job.output, cues, video=reference_of(info, job.name))
    return {
        "video": job.name,
        "output": str(job.output),
        "duration_s": info.duration_s,
        "model": request.model,
        "sensitivity": request.sensitivity,
        "cues": [fields_of(cue) for cue in cues],
        "timings_s": {"total": round(time.perf_counter() - start_s, 4)},
        "peak_rss_mb": round(peak_memory_mb(), 1),
        "warnings": [],  # the model logs them
    }
