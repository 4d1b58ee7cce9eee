"""`foleyflow generate`: files in, files with sound out, and what goes beside them.

A bad video does not stop the others; a setting that no video could be made with does. How sound
is made is the pipeline's matter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import resource
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow import __version__
from foleyflow.cli.console import (
    json_text,
    logged_warnings,
    partial_answer,
    print_error,
    print_result,
    print_status,
    progress_on_stderr,
)
from foleyflow.cli.memory import memory_error_of
from foleyflow.cli.standard_input import STANDARD_INPUT, spooled_standard_input
from foleyflow.errors import ConfigError, FoleyflowError, MediaError, UsageError
from foleyflow.inference.event_files import EVENT_SUFFIXES, write_events
from foleyflow.inference.pipeline import DEFAULT_GUIDANCE, FoleyFlow, Generated
from foleyflow.media import (
    MediaInfo,
    check_copy,
    check_output,
    default_suffix,
    probe,
    read_pictures,
    read_waveform,
)
from foleyflow.media.formats import format_of
from foleyflow.parallel.ray_cluster import RayCluster
from foleyflow.pretrained import model_folder
from foleyflow.system.printable import printable
from foleyflow.weights import read_record, write_atomically

PROGRESS_FROM_S = 20.0
PICTURES = 10
REPORT_SUFFIX = ".report.png"
SIDECAR_SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The flags of `generate`, as given."""

    output: str | None
    model: str
    seed: int
    steps: int
    guidance: float | None
    material: str
    loudness: str
    audio_only: bool
    overwrite: bool
    report: bool
    events: bool
    sidecar: bool
    device: str
    weights_dir: str | None
    threads: int

    @property
    def loudness_lufs(self) -> float | None:
        """The wanted loudness, None for off."""
        if self.loudness == "off":
            return None
        hint = "--loudness -23 is the usual level of broadcasts; off leaves the sound as it is"
        try:
            value = float(self.loudness)
        except ValueError as error:
            raise ConfigError(
                f"--loudness {self.loudness!r}: expected LUFS, or off", hint=hint
            ) from error
        if not -70 <= value <= 0:
            raise ConfigError(f"--loudness {value:g}: expected -70 to 0 LUFS, or off", hint=hint)
        return value

    @property
    def folder(self) -> Path | None:
        """The folder that all outputs go to, None where each has its own place."""
        if self.output and (self.output.endswith("/") or os.path.isdir(self.output)):
            return Path(self.output)
        return None

    @property
    def companion_suffixes(self) -> list[str]:
        """Added to an output's name: the files that are wanted beside it."""
        wanted = list(EVENT_SUFFIXES) if self.events else []
        wanted += [REPORT_SUFFIX] if self.report else []
        return wanted + ([SIDECAR_SUFFIX] if self.sidecar else [])


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One video and where its result goes; `name` is the video as the user named it."""

    name: str
    video: Path
    output: Path
    request: Request


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """Why a job has no result, and what was logged before."""

    error: FoleyflowError
    warnings: tuple[str, ...] = ()


def run(
    videos: list[str],
    request: Request,
    *,
    ray: str | None,
    as_json: bool,
    dry_run: bool,
    debug: bool,
) -> int:
    """Generates all, one after the other or on Ray; a bad input does not stop the others.

    Returns:
        The exit status: the worst of all inputs.
    """
    _ = request.loudness_lufs  # refused at once, before anything is loaded
    _check_output_given(len(videos), request)
    if STANDARD_INPUT in videos:
        _check_standard_input(videos, request, ray)
    refused = {name: error for name in videos if (error := _refusal_of_name(name)) is not None}
    usable = [name for name in videos if name not in refused]
    outputs = dict(zip(usable, plan_outputs([Path(name) for name in usable], request), strict=True))
    many = len(videos) > 1
    if dry_run:
        if refused and not many:
            raise refused[videos[0]]
        plan = [{"video": name, "output": str(output)} for name, output in outputs.items()]
        left_out = [_described_failure(name, _Failure(error=e)) for name, e in refused.items()]
        print_result(
            {"plan": plan, "settings": vars(request), **({"errors": left_out} if refused else {})},
            as_json=True,
            text="",
        )
        return max((error.exit_status for error in refused.values()), default=0)
    if STANDARD_INPUT in videos:  # before it is read, which may take long
        _check_outputs(Path(STANDARD_INPUT), outputs[STANDARD_INPUT], request)
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    skipped: list[str] = []
    whole: dict[str, Any] = {"results": results, "errors": errors, "skipped": skipped}
    status = 0
    work: list[tuple[str, _Job | None]] = []
    _model.cache_clear()  # what lies in a folder may have changed
    with (
        partial_answer(whole if many else {}),
        spooled_standard_input() if STANDARD_INPUT in videos else _no_spool() as spool,
        _folder_for(request.folder),
    ):
        for name in videos:
            if name in refused:
                work.append((name, None))
            elif many and os.path.exists(outputs[name]) and not request.overwrite:
                shown = printable(outputs[name])
                print_status(f"{shown}: is there already, skipped (--overwrite makes it again)")
                skipped.append(str(outputs[name]))
            else:
                video = Path(name) if spool is None else spool
                work.append(
                    (name, _Job(name=name, video=video, output=outputs[name], request=request))
                )
        jobs = [job for _, job in work if job is not None]
        outcomes = _attempted_here(jobs) if ray is None else _attempted_on_ray(jobs, ray)
        # Closed here and not when memory is collected: a cluster gives stdout back as it closes.
        with contextlib.closing(outcomes):
            for name, job in work:
                outcome = _Failure(error=refused[name]) if job is None else next(outcomes)
                if isinstance(outcome, _Failure):
                    errors.append(_described_failure(name, outcome))
                    for text in outcome.warnings:
                        print_status(f"foleyflow: warning: {printable(text)}")
                    try:
                        raise outcome.error  # so that --debug has a traceback to show
                    except FoleyflowError as error:
                        status = max(status, print_error(error, debug=debug))
                    continue
                results.append(outcome)
                if not as_json:
                    print_result(None, as_json=False, text=_line(outcome))
    if as_json:
        print_result(whole if many else (results or errors)[0], as_json=True, text="")
    return status


def _check_output_given(video_count: int, request: Request) -> None:
    """Refuses an -o that so many videos can't be written to.

    Raises:
        UsageError: several videos and one output file, or an empty name.
    """
    if request.output == "":
        raise UsageError(
            "-o '': an empty name, expected a file or a folder",
            hint="check the variable it came from, or leave -o out",
        )
    if video_count > 1 and request.output is not None and request.folder is None:
        raise UsageError(
            f"-o {request.output}: one file for {video_count} videos",
            hint="give a folder, as in -o results/",
        )


def _check_standard_input(videos: list[str], request: Request, ray: str | None) -> None:
    """Refuses what can't go with a video from standard input, before it is read.

    Raises:
        UsageError: other videos besides, no output file, or Ray.
    """
    if len(videos) > 1:
        raise UsageError(
            f"- (standard input) and {len(videos) - 1} more: expected standard input alone",
            hint="run `foleyflow generate - -o NAME` on its own",
        )
    if request.output is None or request.folder is not None:
        given = "no -o" if request.output is None else f"-o {request.output}"
        raise UsageError(
            f"- (standard input) with {given}: expected the name of the output file",
            hint="standard input has no name to derive it from: generate - -o NAME.mp4",
        )
    if ray is not None:
        raise UsageError(
            "- (standard input) with --ray: workers can't read it", hint="save it to a file first"
        )


def _refusal_of_name(name: str) -> MediaError | None:
    """Why a name can't be that of a video, whatever lies there."""
    if not name:
        return MediaError(
            "'': an empty name, expected a video file",
            hint="check the variable or the pattern that it came from",
        )
    if Path(name).name in ("", ".."):
        return MediaError(f"{name}: is a directory, not a file", hint="name the clip within it")
    return None


@contextlib.contextmanager
def _no_spool() -> Iterator[None]:
    """Where no video comes from standard input."""
    yield None


def _described_failure(name: str, failure: _Failure) -> dict[str, Any]:
    """What --json prints of a video that has no result."""
    described: dict[str, Any] = {
        "video": name,
        "error": str(failure.error),
        "hint": failure.error.hint or "",
    }
    return described | ({"warnings": list(failure.warnings)} if failure.warnings else {})


def _attempted_here(jobs: list[_Job]) -> Generator[dict[str, Any] | _Failure, None, None]:
    """What became of each job, one after the other in this process."""
    yield from map(_attempted, jobs)


def _attempted(job: _Job) -> dict[str, Any] | _Failure:
    """What became of one job: a description, or what is wrong with its files or its size."""
    with logged_warnings() as logged:
        try:
            info = _check(job.video, job.output, job.request)
            request = job.request
            model = _model(request.model, request.device, request.weights_dir, request.threads)
            described = _one(model, info, job, logged)
        except Exception as problem:
            error = memory_error_of(problem)
            if error is None and isinstance(problem, MediaError):
                error = MediaError(_named(str(problem), job), hint=problem.hint)
            if error is None:
                raise
            error.__cause__ = problem if isinstance(problem, MediaError) else None
            return _Failure(error=error, warnings=tuple(_named(text, job) for text in logged))
    described["warnings"] = _merged(described["warnings"], logged, job)
    return described


def _named(text: str, job: _Job) -> str:
    """A message in which the temporary file of standard input goes by the user's name for it."""
    return text.replace(str(job.video), job.name) if job.name == STANDARD_INPUT else text


def _merged(listed: list[str], logged: list[str], job: _Job) -> list[str]:
    """The warnings of a result and what was logged meanwhile, each once.

    A logged line names the file that it is about; the answer says that anyway.
    """
    merged = [_named(text, job) for text in listed]
    for line in logged:
        text = line.removeprefix("file:")
        for name in (job.video, job.output):
            text = text.removeprefix(f"{name}: ")
        if text not in merged:
            merged.append(_named(text, job))
    return merged


@functools.lru_cache(maxsize=1)
def _model(source: str, device: str, weights_dir: str | None, threads: int) -> FoleyFlow:
    """The model, loaded once in each process."""
    return FoleyFlow.from_pretrained(
        source, device=device, weights_dir=weights_dir, threads=threads
    )


def _attempted_on_ray(
    jobs: list[_Job], address: str
) -> Generator[dict[str, Any] | _Failure, None, None]:
    """The same on many machines.

    Whether outputs may be written is found out before; a worker may then replace what another one
    left that died between a result and its report.
    """
    refused: dict[int, _Failure] = {}
    for number, job in enumerate(jobs):
        try:
            _check_outputs(job.video, job.output, job.request)
        except MediaError as error:
            refused[number] = _Failure(error=error)
    sent = [
        dataclasses.replace(job, request=dataclasses.replace(job.request, overwrite=True))
        for number, job in enumerate(jobs)
        if number not in refused
    ]
    on_gpu = bool(jobs) and jobs[0].request.device.startswith("cuda")
    with RayCluster(address) as cluster:
        done = cluster.parallel_map(_attempted, sent, gpus=float(on_gpu))
        for number in range(len(jobs)):
            yield refused[number] if number in refused else next(done)


def plan_outputs(videos: list[Path], request: Request) -> list[Path]:
    """Where each video's result goes; nothing is made.

    Raises:
        UsageError: two videos of one name, an output that is another input, or a suffix that does
            not fit --audio-only.
        MediaError: no video format has that suffix.
    """
    given, folder = request.output, request.folder
    outputs = []
    for video in videos:
        suffix = ".wav" if request.audio_only else default_suffix(video)
        name = f"{video.stem}.foley{suffix}"
        if folder is not None:
            outputs.append(folder / name)
        elif given is not None:
            outputs.append(_fitting(Path(given), audio_only=request.audio_only))
        else:
            outputs.append(video.with_name(name))
    # Not Path.resolve: it raises where links lead in a circle.
    inputs = {os.path.realpath(video) for video in videos} if len(videos) > 1 else set()
    for output in outputs:
        if outputs.count(output) > 1:
            raise UsageError(
                f"two videos would be written to {output}", hint="run them one by one with -o"
            )
        if os.path.realpath(output) in inputs:
            raise UsageError(
                f"{output} is an input, and what another input would be written to",
                hint="leave it out, or write to another folder, as in -o results/",
            )
    return outputs


def _fitting(output: Path, *, audio_only: bool) -> Path:
    """The output as given, where its suffix fits."""
    if audio_only != (output.suffix.lower() == ".wav"):
        wanted = ".wav" if audio_only else "a video suffix such as .mp4"
        raise UsageError(
            f"-o {output}: expected a name ending in {wanted}",
            hint="--audio-only writes .wav, without it a video is written",
        )
    if not audio_only:
        format_of(output)
    return output


@contextlib.contextmanager
def _folder_for(folder: Path | None) -> Iterator[None]:
    """Makes the output folder; where nothing came into it, it is taken away again."""
    made = folder is not None and not os.path.lexists(folder)
    if folder is None or not made:
        yield
        return
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise MediaError(
            f"{folder}: can't be made ({error.strerror})", hint="choose another folder with -o"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it has files in it
            folder.rmdir()


def _check(video: Path, output: Path, request: Request) -> MediaInfo:
    """Refuses what can be refused before any work; what the video is."""
    info = probe(video)
    _check_outputs(video, output, request)
    if not request.audio_only:
        check_copy(info, output)
    return info


def _check_outputs(video: Path, output: Path, request: Request) -> None:
    check_output(output, overwrite=request.overwrite, source=video)
    for suffix in request.companion_suffixes:
        check_output(output.with_name(output.name + suffix), overwrite=request.overwrite)


def _one(model: FoleyFlow, info: MediaInfo, job: _Job, logged: list[str]) -> dict[str, Any]:
    began_s = time.perf_counter()
    output, request, duration_s = job.output, job.request, info.duration_s
    with progress_on_stderr(Path(job.name).name) as show:

        def told(done_s: float) -> None:
            if duration_s >= PROGRESS_FROM_S:
                show(round(done_s), round(duration_s))

        result = model.generate(
            info,
            seed=request.seed,
            steps=request.steps,
            guidance=DEFAULT_GUIDANCE if request.guidance is None else request.guidance,
            material=None if request.material == "auto" else request.material,
            loudness_lufs=request.loudness_lufs,
            progress=told,
        )
    result.save(output, overwrite=request.overwrite)
    result.timings_s["total"] = time.perf_counter() - began_s
    described = _described(result, job)
    described["warnings"] = _merged(described["warnings"], logged, job)  # for the sidecar too
    try:
        _write_companions(described, result, job)
    except OSError as error:
        raise MediaError(
            f"{output}: is made, but a file beside it can't be written ({error.strerror})",
            hint="free some space, or leave --events, --report and --sidecar out",
        ) from error
    return described


def _write_companions(described: dict[str, Any], result: Generated, job: _Job) -> None:
    """The files beside the output, noted in `described`."""
    output, request = job.output, job.request
    if request.events:
        described["event_files"] = [str(p) for p in write_events(output, result.events)]
    if request.report:
        path = output.with_name(output.name + REPORT_SUFFIX)
        described["warnings"] += _draw(path, result, job)
        described["report"] = str(path)
    if request.sidecar:
        path = output.with_name(output.name + SIDECAR_SUFFIX)
        folder = model_folder(request.model)
        hashes = {name: read_record(folder, name).sha256 for name in ("codec", "align", "flow")}
        content = {
            "foleyflow": __version__,
            "weights_sha256": hashes,
            "audio_only": request.audio_only,
            **described,
        }
        write_atomically(path, json_text(content) + "\n")
        described["sidecar"] = str(path)


def _described(result: Generated, job: _Job) -> dict[str, Any]:
    """What --json prints (the product's contract)."""
    guess = result.material_guess
    return {
        "video": job.name,
        "output": str(job.output),
        "duration_s": result.sample_count / result.sample_rate_hz,
        "sample_rate_hz": result.sample_rate_hz,
        **result.settings,
        "material_guess": guess and {"name": guess[0], "probability": round(guess[1], 4)},
        "events": [dataclasses.asdict(event) for event in result.events],
        "timings_s": {key: round(value, 4) for key, value in result.timings_s.items()},
        "peak_rss_mb": round(_peak_memory_mb(), 1),
        "warnings": list(result.warnings),
    }


def _draw(path: Path, result: Generated, job: _Job) -> list[str]:
    """Draws the report, with the true sound where the clip has one; gives warnings."""
    from foleyflow.inference.report import draw_report  # matplotlib takes most of a second to load

    duration_s = result.info.duration_s
    times_s = [duration_s * (k + 0.5) / PICTURES for k in range(PICTURES)]
    pictures = read_pictures(job.video, times_s, height=160, info=result.info)
    reference, warnings = None, []
    if result.info.has_audio:
        try:
            reference = read_waveform(job.video)
        except MediaError as error:
            warnings.append(f"the report lacks the true sound: {error}")
    draw_report(
        path,
        pictures=list(zip(times_s, pictures, strict=True)),
        generated=result.as_waveform(),
        events=result.events,
        reference=reference,
        title=Path(job.name).name,
    )
    return warnings


def _line(described: dict[str, Any]) -> str:
    lines = [
        f"{printable(described['output'])}  ({described['duration_s']:.2f} s, "
        f"{len(described['events'])} events, {described['timings_s']['total']:.2f} s)"
    ]
    lines += [f"  {printable(described[key])}" for key in ("report", "sidecar") if key in described]
    lines += [f"  {printable(name)}" for name in described.get("event_files", [])]
    lines += [f"  warning: {printable(text)}" for text in described["warnings"]]
    return "\n".join(lines)


def _peak_memory_mb() -> float:
    """The largest resident size of this process, in MiB."""
    # Linux hands getrusage's figure on from the process that started this one; VmHWM it does not.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)
