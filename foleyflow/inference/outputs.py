"""Plans where the results of a batch go, and writes the files next to each result."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from foleyflow.delivery import Stem
from foleyflow.errors import MediaError, UsageError
from foleyflow.inference.delivery import start_of_day_s
from foleyflow.inference.event_files import write_event_files
from foleyflow.inference.project import write_project
from foleyflow.inference.request import (
    REPORT_SUFFIX,
    STANDARD_INPUT,
    BatchRequest,
    Job,
    Request,
)
from foleyflow.inference.result import Generated
from foleyflow.inference.sidecar import write_sidecar
from foleyflow.inference.stem_files import check_stem_folder, stem_folder, write_stems
from foleyflow.inference.stems import StemKind
from foleyflow.inference.video_reference import reference_of
from foleyflow.media import check_output, read_waveform


def plan_outputs(
    names: Sequence[str],
    output_of: Callable[[Path], Path],
    companions_of: Callable[[Path], Sequence[Path]] = lambda output: (),
) -> tuple[dict[str, Path], dict[str, MediaError]]:
    """The output of each video, and an error for each name that no video can have.

    Args:
        names: of the videos, as the user gave them.
        output_of: video -> output.
        companions_of: output -> files and folders that are written next to it.

    Raises:
        UsageError: two videos have the same output or the same file next to it, an output is
            another input, or `output_of` refuses it.
    """
    errors = {name: error for name in names if (error := _error_of_name(name)) is not None}
    videos = [Path(name) for name in names if name not in errors]
    outputs = [output_of(video) for video in videos]
    # os.path.realpath, because Path.resolve raises on links that form a circle
    inputs = {os.path.realpath(video) for video in videos} if len(videos) > 1 else set()
    companions = [file for output in outputs for file in companions_of(output)]
    for file, count in Counter([*outputs, *companions]).items():
        if count > 1:
            raise UsageError(
                f"two videos would be written to {file}", hint="run them one by one with -o"
            )
    for output in (*outputs, *companions):
        if os.path.realpath(output) in inputs:
            raise UsageError(
                f"{output} is an input and also the output of another input",
                hint="leave it out, or write to another folder, as in -o results/",
            )
    return dict(zip((n for n in names if n not in errors), outputs, strict=True)), errors


def _error_of_name(name: str) -> MediaError | None:
    if not name:
        return MediaError(
            "'': an empty name, expected a video file",
            hint="check the shell variable or pattern that it came from",
        )
    if Path(name).name in ("", ".."):
        return MediaError(f"{name}: is a directory, not a file", hint="name a video in it")
    return None


def check_outputs(video: Path, output: Path, request: BatchRequest) -> None:
    """Checks that the output and the files next to it can be written.

    Raises:
        MediaError: one of them exists or can't be written.
    """
    check_output(output, overwrite=request.overwrite, source=video)
    for path in request.companions(output):
        check_output(path, overwrite=request.overwrite, source=video)
    for folder in request.folders(output):
        check_stem_folder(folder, overwrite=request.overwrite)


@contextlib.contextmanager
def created_folder(folder: Path | None) -> Iterator[None]:
    """Creates a folder if it is missing, and removes it at the end if nothing was written to it."""
    if folder is None or os.path.lexists(folder):
        yield
        return
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise MediaError(
            f"{folder}: can't be created ({error.strerror})", hint="choose another folder with -o"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


def write_companions(described: dict[str, Any], result: Generated, job: Job[Request]) -> None:
    """Writes the requested files next to the output, and adds their names to `described`."""
    output, request = job.output, job.request
    if request.events:
        described["event_files"] = [str(path) for path in write_event_files(output, result.cues)]
    stems = None
    if request.stems is not None:
        described["stems"] = _write_stems(result, request.stems, job)
        stems = [
            Stem(
                path=Path(stem["file"]),
                name=stem["name"],
                start_s=stem["start_s"],
                duration_s=stem["duration_s"],
            )
            for stem in described["stems"]
        ]
    if request.project is not None:
        paths = write_project(
            output,
            result,
            video=output if job.name == STANDARD_INPUT else job.video,
            reference=reference_of(result.info, job.name),
            original_is_audible=result.info.has_audio and request.delivery.mix != "replace",
            stems=stems,
            overwrite=request.overwrite,
        )
        described["project_files"] = [str(path) for path in paths]
    if request.report:
        path = output.with_name(output.name + REPORT_SUFFIX)
        described["warnings"] += _write_report(path, result, job)
        described["report"] = str(path)
    write_record(described, result, job)


def write_record(described: dict[str, Any], result: Generated, job: Job[Request]) -> None:
    """Writes the sidecar of the output if it is wanted, and adds its name to `described`."""
    if job.request.sidecar:
        path = write_sidecar(
            described,
            result,
            job.output,
            model=job.request.model,
            audio_only=job.request.audio_only,
        )
        described["sidecar"] = str(path)


def _write_stems(result: Generated, by: StemKind, job: Job[Request]) -> list[dict[str, Any]]:
    """Writes the stems next to the output, and describes each."""
    stems = result.stems(by)
    paths = write_stems(
        stem_folder(job.output),
        stems,
        origin_s=start_of_day_s(reference_of(result.info, job.name)),
        overwrite=job.request.overwrite,
    )
    return [
        {
            "name": stem.name,
            "file": str(path),
            "start_s": stem.start_s,
            "duration_s": stem.sample_count / stem.rate_hz,
            "cues": [result.cues.index(cue) for cue in stem.cues],
        }
        for stem, path in zip(stems, paths, strict=True)
    ]


def _write_report(path: Path, result: Generated, job: Job[Request]) -> list[str]:
    """Draws the report, with the sound of the video if it has one; returns warnings."""
    # matplotlib takes most of a second to load
    from foleyflow.inference.report import plot_report, report_pictures

    reference, warnings = None, []
    if result.info.has_audio:
        try:
            reference = read_waveform(job.video)
        except MediaError as error:
            warnings.append(f"the report lacks the original sound: {error}")
    plot_report(
        path,
        pictures=report_pictures(result.info),
        generated=result.as_waveform(),
        cues=result.cues,
        reference=reference,
        title=Path(job.name).name,
    )
    return warnings
