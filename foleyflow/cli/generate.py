"""`foleyflow generate`: generate sound for videos."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from foleyflow.cli.console import (
    handle_errors,
    logged_warnings,
    partial_result,
    print_error,
    print_result,
    print_status,
    progress_on_stderr,
)
from foleyflow.cli.options import EMBEDDED, Debug, Device, DryRun, Json, Model, Ray, Seed
from foleyflow.cli.standard_input import spooled_standard_input
from foleyflow.errors import ConfigError, FoleyflowError, UsageError
from foleyflow.system.printable import printable

if TYPE_CHECKING:
    from foleyflow.inference.request import Request


def generate(
    videos: Annotated[
        # Text, not paths: an empty name would become the current folder.
        list[str],
        Argument(metavar="VIDEO", help="Video files; - reads one from standard input."),
    ],
    output: Annotated[
        # Text, not a path: the slash at the end of a folder would be lost.
        str | None,
        Option(
            "-o",
            "--output",
            metavar="FILE|FOLDER/",
            help="Output file, or folder of the outputs. Default: NAME.foley.mp4 next to each "
            "video.",
        ),
    ] = None,
    model: Model = EMBEDDED,
    seed: Seed = 0,
    steps: Annotated[
        int, Option(min=1, help="Number of function evaluations of the flow per window.")
    ] = 1,
    guidance: Annotated[
        float | None,
        Option(
            min=1.0,
            max=20.0,
            help="Scale of classifier-free guidance; higher values follow the video more closely. "
            "Default: 2.5.",
        ),
    ] = None,
    material: Annotated[
        str,
        Option(
            metavar="auto|NAME",
            help="Material of the struck objects, such as wood; auto chooses it from the video.",
        ),
    ] = "auto",
    loudness: Annotated[
        str,
        Option(
            metavar="LUFS|off",
            help="Target integrated loudness; off keeps the generated level.",
        ),
    ] = "-23",
    audio_only: Annotated[
        bool, Option("--audio-only", help="Write a WAV file instead of a video.")
    ] = False,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace existing outputs.")] = False,
    report: Annotated[
        bool,
        Option(
            "--report", help="Also plot frames, waveform, spectrogram and events to a PNG file."
        ),
    ] = False,
    events: Annotated[
        bool,
        Option("--events", help="Also write the events as CSV, Audacity labels and a MIDI file."),
    ] = False,
    sidecar: Annotated[
        bool,
        Option("--sidecar", help="Also write all settings and hashes of weights as JSON."),
    ] = False,
    device: Device = "auto",
    weights_dir: Annotated[
        Path | None,
        Option(
            help="Folder of published encoders' weights, for models that use one. Default: "
            "~/.cache/foleyflow/encoders."
        ),
    ] = None,
    threads: Annotated[
        int,
        Option(
            min=0,
            help="CPU threads per operation; 0 chooses by the size of the model. The number may "
            "change the last bits of the sound.",
        ),
    ] = 0,
    ray: Ray = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Generate sound for each video and write a copy with the new audio track.

    The video stream is not re-encoded. With several videos, those whose output exists are skipped.
    """
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.inference.request import STANDARD_INPUT, Request

        request = Request(
            output=output,
            model=model,
            seed=seed,
            steps=steps,
            guidance=guidance,
            material=material,
            loudness_lufs=_parse_loudness(loudness),
            audio_only=audio_only,
            overwrite=overwrite,
            report=report,
            events=events,
            sidecar=sidecar,
            device=device,
            weights_dir=None if weights_dir is None else str(weights_dir),
            threads=threads,
        )
        _check_output_option(len(videos), request)
        if STANDARD_INPUT in videos:
            _check_standard_input(videos, request, ray)
        if dry_run:
            status = _print_plan(videos, request, loudness)
        else:
            status = _run(videos, request, ray=ray, as_json=as_json, debug=debug)
    raise typer.Exit(status)


def _parse_loudness(text: str) -> float | None:
    if text == "off":
        return None
    hint = "-23 is the usual level of broadcasts; off keeps the generated level"
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"--loudness {text!r}: expected LUFS, or off", hint=hint) from error
    if not -70 <= value <= 0:
        raise ConfigError(f"--loudness {value:g}: expected -70 to 0 LUFS, or off", hint=hint)
    return value


def _check_output_option(video_count: int, request: Request) -> None:
    if request.output == "":
        raise UsageError(
            "-o '': an empty name, expected a file or a folder",
            hint="check the shell variable that it came from, or leave -o out",
        )
    if video_count > 1 and request.output is not None and request.folder is None:
        raise UsageError(
            f"-o {request.output}: one file for {video_count} videos",
            hint="give a folder, as in -o results/",
        )


def _check_standard_input(videos: list[str], request: Request, ray: str | None) -> None:
    if len(videos) > 1:
        raise UsageError(
            f"- (standard input) and {len(videos) - 1} more: expected standard input alone",
            hint="run `foleyflow generate - -o NAME` for it, and another command for the files",
        )
    if request.output is None or request.folder is not None:
        given = "no -o" if request.output is None else f"-o {request.output}"
        raise UsageError(
            f"- (standard input) with {given}: expected the name of the output file",
            hint="name the output, as in `foleyflow generate - -o NAME.mp4`",
        )
    if ray is not None:
        raise UsageError(
            "- (standard input) with --ray: workers can't read it", hint="save it to a file first"
        )


def _print_plan(videos: list[str], request: Request, loudness: str) -> int:
    from foleyflow.inference.outputs import plan_outputs

    outputs, errors = plan_outputs(videos, request)
    if errors and len(videos) == 1:
        raise errors[videos[0]]
    settings = vars(request) | {"loudness": loudness}
    del settings["loudness_lufs"]
    plan: dict[str, Any] = {
        "plan": [{"video": name, "output": str(output)} for name, output in outputs.items()],
        "settings": settings,
    }
    if errors:
        plan["errors"] = [_describe_failure(name, error) for name, error in errors.items()]
    print_result(plan, as_json=True, text="")
    return max((error.exit_status for error in errors.values()), default=0)


def _run(
    videos: list[str], request: Request, *, ray: str | None, as_json: bool, debug: bool
) -> int:
    """Generates the sound of all videos, prints each outcome, and returns the worst exit status."""
    from foleyflow.inference.batch import Failure, Hooks, run_jobs
    from foleyflow.inference.outputs import check_outputs, created_folder, plan_outputs
    from foleyflow.inference.request import STANDARD_INPUT, Job

    outputs, refused = plan_outputs(videos, request)
    many = len(videos) > 1
    spooled: contextlib.AbstractContextManager[Path | None] = contextlib.nullcontext()
    if STANDARD_INPUT in videos:  # checked before it is read, which may take long
        check_outputs(Path(STANDARD_INPUT), outputs[STANDARD_INPUT], request)
        spooled = spooled_standard_input()
    answer: dict[str, Any] = {"results": [], "errors": [], "skipped": []}
    status = 0
    with partial_result(answer if many else {}), spooled as spool, created_folder(request.folder):
        # Jobs for all videos whose output does not exist yet
        jobs: dict[str, Job] = {}
        for name, output in outputs.items():
            if many and os.path.exists(output) and not request.overwrite:
                print_status(f"{printable(output)}: exists, skipped (--overwrite replaces it)")
                answer["skipped"].append(str(output))
            else:
                video = spool or Path(name)
                jobs[name] = Job(name=name, video=video, output=output, request=request)
        # Outcomes in the order of the videos
        hooks = Hooks(progress=progress_on_stderr, logged_warnings=logged_warnings)
        outcomes = run_jobs(list(jobs.values()), hooks, ray=ray)
        # Closed explicitly: a Ray cluster redirects stdout until it closes.
        with contextlib.closing(outcomes):
            for name in videos:
                if name in refused:
                    outcome: dict[str, Any] | Failure = Failure(error=refused[name])
                elif name in jobs:
                    outcome = next(outcomes)
                else:
                    continue
                if isinstance(outcome, Failure):
                    described = _describe_failure(name, outcome.error, *outcome.warnings)
                    answer["errors"].append(described)
                    for text in outcome.warnings:
                        print_status(f"foleyflow: warning: {printable(text)}")
                    status = max(status, print_error(outcome.error, debug=debug))
                else:
                    answer["results"].append(outcome)
                    if not as_json:
                        print_result(None, as_json=False, text=_result_text(outcome))
    if as_json:
        single = answer["results"] or answer["errors"]
        print_result(answer if many else single[0], as_json=True, text="")
    return status


def _describe_failure(name: str, error: FoleyflowError, *warnings: str) -> dict[str, Any]:
    """The description of a failed video that --json prints."""
    described: dict[str, Any] = {"video": name, "error": str(error), "hint": error.hint or ""}
    return described | ({"warnings": list(warnings)} if warnings else {})


def _result_text(described: dict[str, Any]) -> str:
    lines = [
        f"{printable(described['output'])}  ({described['duration_s']:.2f} s, "
        f"{len(described['events'])} events, {described['timings_s']['total']:.2f} s)"
    ]
    lines += [f"  {printable(described[key])}" for key in ("report", "sidecar") if key in described]
    lines += [f"  {printable(name)}" for name in described.get("event_files", [])]
    lines += [f"  warning: {printable(text)}" for text in described["warnings"]]
    return "\n".join(lines)
