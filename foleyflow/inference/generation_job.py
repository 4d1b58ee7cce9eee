"""Generates the sound of one video of a batch, and writes the result with all its files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foleyflow.cues.fields import fields_of
from foleyflow.cues.files import read_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError, MediaError, UsageError
from foleyflow.inference.batch import Hooks, merge_warnings, model_of, progress_of
from foleyflow.inference.candidates import Candidate
from foleyflow.inference.cue_checks import check_stereo
from foleyflow.inference.delivery import check_delivery
from foleyflow.inference.outputs import check_outputs, write_companions, write_record
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.ranges import check_limits
from foleyflow.inference.request import STANDARD_INPUT, Job, Request
from foleyflow.inference.result import Generated
from foleyflow.inference.revision import revise
from foleyflow.inference.sidecar import edits_to_json
from foleyflow.inference.video_reference import reference_of
from foleyflow.media import MediaInfo, default_suffix, probe, sound_suffix
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
    if request.revision is not None:
        request.revision.sidecar.check_weights(request.model)
        if request.revision.range_s is not None:
            check_limits(*request.revision.range_s, duration_s=info.duration_s)
    model, cues = model_of(request), None
    if request.cues is not None:
        cues = read_cues(
            Path(request.cues),
            duration_s=info.duration_s,
            materials=model.materials or None,  # without any, the model refuses the cues
            video=reference_of(info, job.name),
        )
    if request.stems is not None and not model.materials:
        raise ConfigError(
            f"--stems {request.stems}: this model generates from the video alone, without cues",
            hint="leave --stems out, or use a model whose flow has cue tracks",
        )
    if request.stereo:
        check_stereo(model.flow.config)
    # Sound
    start_s = time.perf_counter()
    with hooks.progress(Path(job.name).name) as show:
        takes = _takes(model, info, cues, request, progress_of(show, info.duration_s))
    result = takes[0].result
    # Files; the best take comes last, because its output marks a finished video
    delivery = request.delivery
    if job.name == STANDARD_INPUT:  # the name of its temporary file differs in every run
        delivery = dataclasses.replace(delivery, description="")
    outputs = request.take_outputs(job.output)
    for take, output in reversed(list(zip(takes, outputs, strict=True))):
        take.result.save(output, overwrite=request.overwrite, delivery=delivery)
    for other in takes[1:]:
        for part, seconds in other.result.timings_s.items():
            result.timings_s[part] = result.timings_s.get(part, 0.0) + seconds
    result.timings_s["total"] = time.perf_counter() - start_s
    described = describe(result, job)
    described["warnings"] = merge_warnings(described["warnings"], logged, job)
    ranking = _describe_takes(takes, outputs)
    described |= {"takes": ranking} if len(takes) > 1 else {}
    try:
        for take, output in zip(takes[1:], outputs[1:], strict=True):
            other_job = dataclasses.replace(job, output=output)
            described_take = describe(take.result, other_job) | {"takes": ranking}
            write_record(described_take, take.result, other_job)
        write_companions(described, result, job)
    except OSError as error:
        raise MediaError(
            f"{job.output}: was written, but a file next to it can't be ({error.strerror})",
            hint="free some space, or write fewer of the files next to it",
        ) from error
    return described


def _takes(
    model: FoleyFlow,
    info: MediaInfo,
    cues: CueSheet | None,
    request: Request,
    progress: Callable[[float], None] | None,
) -> list[Candidate]:
    """The takes of a request, the best one first."""
    if request.revision is not None:
        result = revise(model, info, request.revision, cues=cues, progress=progress)
        return [Candidate.unscored(result)]
    settings: dict[str, Any] = {
        "seed": request.seed,
        "steps": request.steps,
        "guidance": request.guidance,
        "cues": cues,
        "material": None if request.material == "auto" else request.material,
        "sensitivity": request.sensitivity,
        "loudness_lufs": request.loudness_lufs,
        "library": request.library,
        "library_variation": request.library_variation,
        "reference": request.reference,
        "stereo": request.stereo,
        "progress": progress,
    }
    if request.candidates > 1:
        return model.candidates(info, count=request.candidates, **settings)
    return [Candidate.unscored(model.generate(info, **settings))]


def _describe_takes(takes: Sequence[Candidate], outputs: Sequence[Path]) -> list[dict[str, Any]]:
    """The takes of a video by rank; the keys are part of the interface."""
    return [
        {
            "rank": rank,
            "output": str(output),
            "seed": take.seed,
            "score": take.scores.total,
            "scores": vars(take.scores),
        }
        for rank, (take, output) in enumerate(zip(takes, outputs, strict=True), start=1)
    ]


def _origin_of_cues(request: Request) -> dict[str, Any]:
    """Where the cues come from: a file, or the video with a sensitivity."""
    if request.cues is None and request.revision is not None:
        record = request.revision.sidecar.record
        return {key: record.get(key) for key in ("sensitivity", "cue_file")}
    sensitivity = None if request.cues else request.sensitivity
    return {"sensitivity": sensitivity, "cue_file": request.cues}


def describe(result: Generated, job: Job[Request]) -> dict[str, Any]:
    """The description that --json and the sidecar contain; its keys are part of the interface."""
    return {
        "video": job.name,
        "output": str(job.output),
        "duration_s": result.sample_count / result.sample_rate_hz,
        "sample_rate_hz": result.sample_rate_hz,
        **result.settings,
        **_origin_of_cues(job.request),
        **job.request.delivery.to_json(),
        "project": job.request.project,
        **(result.delivered.to_json() if result.delivered else {}),
        "loudness": result.delivered.loudness.to_json() if result.delivered else None,
        "cues": [fields_of(cue) for cue in result.cues],
        "edits": edits_to_json(result),
        "library_sounds": [vars(placement) for placement in result.placements],
        "timings_s": {key: round(value, 4) for key, value in result.timings_s.items()},
        "peak_rss_mb": round(peak_memory_mb(), 1),
        "warnings": list(result.warnings),
    }
