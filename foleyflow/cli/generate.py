"""`foleyflow generate`: files in, files with sound out, and what goes beside them.

A bad video does not stop the others; a setting that no video could be made with does. How sound
is made is the pipeline's matter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from foleyflow import __version__
from foleyflow.cli.outcome import answer, complain, progress_on_stderr, say
from foleyflow.cluster import RayCluster
from foleyflow.errors import ConfigError, MediaError, UsageError
from foleyflow.events import EVENT_SUFFIXES, write_events
from foleyflow.media import MediaInfo, check_output, probe, read_pictures, read_waveform
from foleyflow.media.formats import FORMATS, format_of
from foleyflow.pipeline import DEFAULT_GUIDANCE, FoleyFlow, Generated
from foleyflow.pretrained import model_folder
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
        if self.output and (self.output.endswith("/") or Path(self.output).is_dir()):
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
    """One video and where its result goes."""

    video: Path
    output: Path
    request: Request


def run(
    videos: list[Path],
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
    outputs = plan_outputs(videos, request)
    if dry_run:
        plan = [{"video": str(v), "output": str(o)} for v, o in zip(videos, outputs, strict=True)]
        answer({"plan": plan, "settings": vars(request)}, as_json=True, text="")
        return 0
    many = len(videos) > 1
    results: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    skipped: list[str] = []
    status = 0
    jobs: list[_Job] = []
    _model.cache_clear()  # what lies in a folder may have changed
    with _folder_for(request.folder):
        for video, output in zip(videos, outputs, strict=True):
            if many and output.exists() and not request.overwrite:
                say(f"{output}: is there already, skipped (--overwrite makes it again)")
                skipped.append(str(output))
            else:
                jobs.append(_Job(video=video, output=output, request=request))
        outcomes = map(_attempted, jobs) if ray is None else _attempted_on_ray(jobs, ray)
        for job, outcome in zip(jobs, outcomes, strict=True):
            try:
                if isinstance(outcome, MediaError):
                    raise outcome
            except MediaError as error:
                errors.append(
                    {"video": str(job.video), "error": str(error), "hint": error.hint or ""}
                )
                status = max(status, complain(error, debug=debug))
                continue
            results.append(outcome)
            if not as_json:
                typer.echo(_line(outcome))
    if as_json:
        whole: dict[str, Any] = {"results": results, "errors": errors, "skipped": skipped}
        typer.echo(json.dumps(whole if many else (results or errors)[0], indent=1))
    return status


def _attempted(job: _Job) -> dict[str, Any] | MediaError:
    """What became of one job: a description, or what is wrong with its files."""
    try:
        info = _check(job.video, job.output, job.request)
        request = job.request
        model = _model(request.model, request.device, request.weights_dir, request.threads)
        return _one(model, info, job.output, job.request)
    except MediaError as error:
        return error


@functools.lru_cache(maxsize=1)
def _model(source: str, device: str, weights_dir: str | None, threads: int) -> FoleyFlow:
    """The model, loaded once in each process."""
    return FoleyFlow.from_pretrained(
        source, device=device, weights_dir=weights_dir, threads=threads
    )


def _attempted_on_ray(jobs: list[_Job], address: str) -> Iterator[dict[str, Any] | MediaError]:
    """The same on many machines.

    Whether outputs may be written is found out before; a worker may then replace what another one
    left that died between a result and its report.
    """
    refused: dict[int, MediaError] = {}
    for number, job in enumerate(jobs):
        try:
            _check_outputs(job.video, job.output, job.request)
        except MediaError as error:
            refused[number] = error
    sent = [
        dataclasses.replace(job, request=dataclasses.replace(job.request, overwrite=True))
        for number, job in enumerate(jobs)
        if number not in refused
    ]
    on_gpu = bool(jobs) and jobs[0].request.device.startswith("cuda")
    with RayCluster(address) as cluster:
        done = cluster.spread(_attempted, sent, gpus=float(on_gpu))
        for number in range(len(jobs)):
            yield refused[number] if number in refused else next(done)


def plan_outputs(videos: list[Path], request: Request) -> list[Path]:
    """Where each video's result goes; nothing is made.

    Raises:
        UsageError: several videos and one output file, two videos of one name, an output that is
            another input, or a suffix that does not fit --audio-only.
        MediaError: no video format has that suffix.
    """
    given, folder = request.output, request.folder
    if len(videos) > 1 and given is not None and folder is None:
        raise UsageError(
            f"-o {given}: one file for {len(videos)} videos",
            hint="give a folder, as in -o results/",
        )
    outputs = []
    for video in videos:
        suffix = video.suffix if video.suffix.lower() in FORMATS else ".mkv"
        name = f"{video.stem}.foley{'.wav' if request.audio_only else suffix}"
        if folder is not None:
            outputs.append(folder / name)
        elif given is not None:
            outputs.append(_fitting(Path(given), audio_only=request.audio_only))
        else:
            outputs.append(video.with_name(name))
    inputs = {video.resolve() for video in videos} if len(videos) > 1 else set()
    for output in outputs:
        if outputs.count(output) > 1:
            raise UsageError(
                f"two videos would be written to {output}", hint="run them one by one with -o"
            )
        if output.resolve() in inputs:
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
    made = folder is not None and not folder.exists()
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
    return info


def _check_outputs(video: Path, output: Path, request: Request) -> None:
    check_output(output, overwrite=request.overwrite, source=video)
    for suffix in request.companion_suffixes:
        check_output(output.with_name(output.name + suffix), overwrite=request.overwrite)


def _one(model: FoleyFlow, info: MediaInfo, output: Path, request: Request) -> dict[str, Any]:
    began_s = time.perf_counter()
    video, duration_s = info.path, info.duration_s
    with progress_on_stderr(video.name) as show:

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
    described = _described(result, video, output)
    try:
        _write_companions(described, result, video, output, request)
    except OSError as error:
        raise MediaError(
            f"{output}: is made, but a file beside it can't be written ({error.strerror})",
            hint="free some space, or leave --events, --report and --sidecar out",
        ) from error
    return described


def _write_companions(
    described: dict[str, Any], result: Generated, video: Path, output: Path, request: Request
) -> None:
    """The files beside the output, noted in `described`."""
    if request.events:
        described["event_files"] = [str(p) for p in write_events(output, result.events)]
    if request.report:
        path = output.with_name(output.name + REPORT_SUFFIX)
        described["warnings"] += _draw(path, result, video)
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
        write_atomically(path, json.dumps(content, indent=1) + "\n")
        described["sidecar"] = str(path)


def _described(result: Generated, video: Path, output: Path) -> dict[str, Any]:
    """What --json prints (the product's contract)."""
    guess = result.material_guess
    return {
        "video": str(video),
        "output": str(output),
        "duration_s": result.sample_count / result.sample_rate_hz,
        "sample_rate_hz": result.sample_rate_hz,
        **result.settings,
        "material_guess": guess and {"name": guess[0], "probability": round(guess[1], 4)},
        "events": [dataclasses.asdict(event) for event in result.events],
        "timings_s": {key: round(value, 4) for key, value in result.timings_s.items()},
        "peak_rss_mb": round(_peak_memory_mb(), 1),
        "warnings": list(result.warnings),
    }


def _draw(path: Path, result: Generated, video: Path) -> list[str]:
    """Draws the report, with the true sound where the clip has one; gives warnings."""
    from foleyflow.report import draw_report  # matplotlib takes most of a second to load

    duration_s = result.info.duration_s
    times_s = [duration_s * (k + 0.5) / PICTURES for k in range(PICTURES)]
    pictures = read_pictures(video, times_s, height=160, info=result.info)
    reference, warnings = None, []
    if result.info.has_audio:
        try:
            reference = read_waveform(video)
        except MediaError as error:
            warnings.append(f"the report lacks the true sound: {error}")
    draw_report(
        path,
        pictures=list(zip(times_s, pictures, strict=True)),
        generated=result.as_waveform(),
        events=result.events,
        reference=reference,
        title=video.name,
    )
    return warnings


def _line(described: dict[str, Any]) -> str:
    lines = [
        f"{described['output']}  ({described['duration_s']:.2f} s, "
        f"{len(described['events'])} events, {described['timings_s']['total']:.2f} s)"
    ]
    lines += [f"  {described[key]}" for key in ("report", "sidecar") if key in described]
    lines += [f"  {name}" for name in described.get("event_files", [])]
    lines += [f"  warning: {text}" for text in described["warnings"]]
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
