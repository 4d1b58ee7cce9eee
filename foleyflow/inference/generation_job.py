"""Generates the sound of one video of a batch, and writes the result with all its files."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from foleyflow.cues.fields import fields_of
from foleyflow.cues.files import read_cues
from foleyflow.errors import MediaError, UsageError
from foleyflow.inference.batch import Hooks, merge_warnings, model_of, progress_of
from foleyflow.inference.delivery import check_delivery
from foleyflow.inference.outputs import check_outputs, write_companions
from foleyflow.inference.request import STANDARD_INPUT, Job, Request
from foleyflow.inference.result import Generated
from foleyflow.inference.video_reference import reference_of
from foleyflow.media import default_suffix, probe, sound_suffix
from foleyflow.media.formats import format_of
from foleyflow.system.memory import peak_memory_mb


def sound_output(video: Path, request: Request) -> Path:
    """The output of a video.

    Raises:
        UsageError: the suffix of the output does not fit `audio_only`.
        MediaError: no video format has that suffix, or the format of a sound file does not fit it.
    """
    audio_only = request.audio_only
    if audio_only:
        suffix = sound_suffix(request.delivery.sound_format or "wav24")
    else:
        suffix = default_suffix(video)
    name = f"{video.stem}.foley{suffix}"
    if request.folder is not None:
        return request.folder / name
    if request.output is None:
        return video.with_name(name)
    output = Path(request.output)
    if audio_only != (request.delivery.format_of(output) is not None):
        expected = ".wav or .flac" if audio_only else "a video suffix such as .mp4"
        raise UsageError(
            f"-o {output}: expected a name ending in {expected}",
            hint="--audio-only writes a sound file; without it, a video is written",
        )
    if not audio_only:
        format_of(output)
    return output


def generate_sound(job: Job[Request], hooks: Hooks, logged: list[str]) -> dict[str, Any]:
    """Generates and writes the result of a job; returns the description that --json prints.

    Args:
        logged: warnings logged so far, for the sidecar.

    Raises:
        MediaError: the video can't be used, or a file can't be written.
        ConfigError: a setting or a cue is not valid.
    """
    request = job.request
    # Everything that can be refused before any work
    info = probe(job.video)
    check_outputs(job.video, job.output, request)
    check_delivery(info, job.output, request.delivery)
    model, cues = model_of(request), None
    if request.cues is not None:
        cues = read_cues(
            Path(request.cues),
            duration_s=info.duration_s,
            materials=model.materials or None,  # without any, the model refuses the cues
            video=reference_of(info, job.name),
        )
    # Sound
    start_s = time.perf_counter()
    with hooks.progress(Path(job.name).name) as show:
        result = model.generate(
            info,
            seed=request.seed,
            steps=request.steps,
            guidance=request.guidance,
            cues=cues,
            material=None if request.material == "auto" else request.material,
            sensitivity=request.sensitivity,
            loudness_lufs=request.loudness_lufs,
            library=request.library,
            library_variation=request.library_variation,
            progress=progress_of(show, info.duration_s),
        )
    # Files
    delivery = request.delivery
    if job.name == STANDARD_INPUT:  # the name of its temporary file differs in every run
        delivery = dataclasses.replace(delivery, description="")
    result.save(job.output, overwrite=request.overwrite, delivery=delivery)
    result.timings_s["total"] = time.perf_counter() - start_s
    described = _describe(result, job)
    described["warnings"] = merge_warnings(described["warnings"], logged, job)
    try:
        write_companions(described, result, job)
    except OSError as error:
        raise MediaError(
            f"{job.output}: was written, but a file next to it can't be ({error.strerror})",
            hint="free some space, or leave --events, --report, --project and --sidecar out",
        ) from error
    return described


def _describe(result: Generated, job: Job[Request]) -> dict[str, Any]:
    """The description that --json and the sidecar contain; its keys are part of the interface."""
    return {
        "video": job.name,
        "output": str(job.output),
        "duration_s": result.sample_count / result.sample_rate_hz,
        "sample_rate_hz": result.sample_rate_hz,
        **result.settings,
        "sensitivity": None if job.request.cues else job.request.sensitivity,
        "cue_file": job.request.cues,
        **job.request.delivery.to_json(),
        "project": job.request.project,
        **(result.delivered.to_json() if result.delivered else {}),
        "loudness": result.delivered.loudness.to_json() if result.delivered else None,
        "cues": [fields_of(cue) for cue in result.cues],
        "library_sounds": [vars(placement) for placement in result.placements],
        "timings_s": {key: round(value, 4) for key, value in result.timings_s.items()},
        "peak_rss_mb": round(peak_memory_mb(), 1),
        "warnings": list(result.warnings),
    }
