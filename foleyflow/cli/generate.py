"""`foleyflow generate`: files in, files with sound out, and what goes beside them."""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from foleyflow import __version__
from foleyflow.cli.outcome import answer, complain, say
from foleyflow.errors import ConfigError, FoleyflowError, MediaError, UsageError
from foleyflow.events import write_events
from foleyflow.media import check_output, probe, read_pictures, read_waveform
from foleyflow.pipeline import FoleyFlow, Generated
from foleyflow.report import draw_report
from foleyflow.weights import write_atomically

PROGRESS_FROM_S = 20.0
PICTURES = 10


@dataclass(frozen=True, kw_only=True)
class Request:
    """The flags of `generate`, as given."""

    output: Path | None
    model: str
    seed: int
    steps: int
    guidance: float
    material: str
    loudness: str
    audio_only: bool
    overwrite: bool
    report: bool
    events: bool
    sidecar: bool
    device: str

    @property
    def loudness_lufs(self) -> float | None:
        """The wanted loudness, None for off."""
        if self.loudness == "off":
            return None
        try:
            value = float(self.loudness)
        except ValueError as error:
            raise ConfigError(f"--loudness {self.loudness!r}: expected LUFS, or off") from error
        if not -70 <= value <= 0:
            raise ConfigError(f"--loudness {value:g}: expected -70 to 0 LUFS, or off")
        return value


def run(
    videos: list[Path], request: Request, *, as_json: bool, dry_run: bool, debug: bool
) -> int:
    """Generates all, one after the other; a bad input does not stop the others.

    Returns:
        The exit status: the worst of all inputs.
    """
    _ = request.loudness_lufs  # refused at once, before anything is loaded
    outputs = plan_outputs(videos, request)
    if dry_run:
        plan = [{"video": str(v), "output": str(o)} for v, o in zip(videos, outputs, strict=True)]
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(request).items()}
        answer({"plan": plan, "settings": settings}, as_json=True, text="")
        return 0
    many = len(videos) > 1
    model: FoleyFlow | None = None
    results: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    status = 0
    for video, output in zip(videos, outputs, strict=True):
        if many and output.exists() and not request.overwrite:
            say(f"{output}: is there already, skipped (--overwrite makes it again)")
            continue
        try:
            probe(video)
            check_output(output, overwrite=request.overwrite, source=video)
            model = model or FoleyFlow.from_pretrained(
                None if request.model == "embedded" else request.model, device=request.device
            )
            results.append(_one(model, video, output, request))
        except FoleyflowError as error:
            errors.append({"video": str(video), "error": str(error), "hint": error.hint or ""})
            status = max(status, complain(error, debug=debug))
            continue
        if not as_json:
            typer.echo(_line(results[-1]))
    if as_json:
        whole = {"results": results, "errors": errors} if many else {**(results or errors)[0]}
        typer.echo(json.dumps(whole, indent=1))
    return status


def plan_outputs(videos: list[Path], request: Request) -> list[Path]:
    """Where each video's result goes.

    Raises:
        UsageError: several videos and one output file, two videos of one name, or a suffix that
            does not fit --audio-only.
    """
    given = request.output
    folder = given is not None and (given.is_dir() or str(given).endswith("/"))
    if len(videos) > 1 and given is not None and not folder:
        raise UsageError(
            f"-o {given}: one file for {len(videos)} videos", hint="give a folder, as in -o results/"
        )
    outputs = []
    for video in videos:
        suffix = ".wav" if request.audio_only else (video.suffix or ".mp4")
        name = f"{video.stem}.foley{suffix}"
        if given is None:
            outputs.append(video.with_name(name))
        elif folder:
            outputs.append(given / name)
        else:
            if request.audio_only != (given.suffix.lower() == ".wav"):
                raise UsageError(
                    f"-o {given}: expected a name ending in {'.wav' if request.audio_only else 'a video suffix such as .mp4'}",
                    hint="--audio-only writes .wav, without it a video is written",
                )
            outputs.append(given)
    twice = {str(o) for o in outputs if outputs.count(o) > 1}
    if twice:
        raise UsageError(
            f"two videos would be written to {sorted(twice)[0]}", hint="run them one by one with -o"
        )
    if folder and given is not None:
        try:
            given.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"{given}: can't be made ({error.strerror})") from error
    return outputs


def _one(model: FoleyFlow, video: Path, output: Path, request: Request) -> dict[str, Any]:
    began_s = time.perf_counter()
    duration_s = probe(video).duration_s
    with typer.progressbar(
        length=100,
        label=video.name,
        file=sys.stderr if duration_s >= PROGRESS_FROM_S else _Nowhere(),
    ) as bar:
        result = model.generate(
            video,
            seed=request.seed,
            steps=request.steps,
            guidance=request.guidance,
            material=None if request.material == "auto" else request.material,
            loudness_lufs=request.loudness_lufs,
            progress=lambda done_s: bar.update(int(100 * done_s / duration_s) - bar.pos),
        )
    result.save(output, overwrite=request.overwrite)
    result.timings_s["total"] = time.perf_counter() - began_s
    described = _described(result, video, output)
    if request.events:
        described["event_files"] = [str(p) for p in write_events(output, result.events)]
    if request.report:
        described["report"] = str(_report(result, video, output))
    if request.sidecar:
        path = output.with_name(output.name + ".json")
        write_atomically(path, json.dumps({"foleyflow": __version__, **described}, indent=1) + "\n")
        described["sidecar"] = str(path)
    return described


def _described(result: Generated, video: Path, output: Path) -> dict[str, Any]:
    """What --json prints (the product's contract)."""
    name, probability = result.material_guess
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "video": str(video),
        "output": str(output),
        "duration_s": result.sample_count / result.sample_rate_hz,
        "sample_rate_hz": result.sample_rate_hz,
        **result.settings,
        "material_guess": {"name": name, "probability": round(probability, 4)},
        "events": [dataclasses.asdict(event) for event in result.events],
        "timings_s": {key: round(value, 4) for key, value in result.timings_s.items()},
        "peak_rss_mb": round(peak_kib / (2**20 if sys.platform == "darwin" else 1024), 1),
        "warnings": list(result.warnings),
    }


def _report(result: Generated, video: Path, output: Path) -> Path:
    """Draws OUTPUT.report.png, with the true sound where the clip has one."""
    path = output.with_name(output.name + ".report.png")
    duration_s = result.info.duration_s
    times_s = [duration_s * (k + 0.5) / PICTURES for k in range(PICTURES)]
    pictures = read_pictures(video, times_s, height=160, info=result.info)
    draw_report(
        path,
        pictures=list(zip(times_s, pictures, strict=True)),
        generated=result.as_waveform(),
        events=result.events,
        reference=read_waveform(video) if result.info.has_audio else None,
        title=video.name,
    )
    return path


def _line(described: dict[str, Any]) -> str:
    lines = [
        f"{described['output']}  ({described['duration_s']:.2f} s, "
        f"{len(described['events'])} events, {described['timings_s']['total']:.2f} s)"
    ]
    lines += [f"  {described[key]}" for key in ("report", "sidecar") if key in described]
    lines += [f"  {name}" for name in described.get("event_files", [])]
    lines += [f"  warning: {text}" for text in described["warnings"]]
    return "\n".join(lines)


class _Nowhere:
    """A stream for progress that nobody needs to see."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return None
