"""`foleyflow generate`: generate sound for videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from foleyflow.cli.console import handle_errors
from foleyflow.cli.options import EMBEDDED, Debug, Device, DryRun, Json, Model, Ray, Seed
from foleyflow.cli.video_batch import (
    ModelThreads,
    Overwrite,
    Sensitivity,
    VideoBatch,
    VideoNames,
    WeightsFolder,
    as_argument,
    checked_sensitivity,
    cue_counts,
)
from foleyflow.errors import ConfigError, UsageError
from foleyflow.system.printable import printable


def generate(
    videos: VideoNames,
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
            "Default: that of the model.",
        ),
    ] = None,
    material: Annotated[
        str,
        Option(
            metavar="auto|NAME",
            help="Material of all cues, such as wood; auto keeps those of the cues.",
        ),
    ] = "auto",
    cues: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Generate exactly the cues of this file, as `foleyflow spot` or another program "
            "writes them: .json, .csv, .txt (Audacity), .mid, .reaper.csv, .edl or .otio. Default: "
            "find the cues in the video.",
        ),
    ] = None,
    sensitivity: Sensitivity = None,
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
    overwrite: Overwrite = False,
    report: Annotated[
        bool,
        Option("--report", help="Also plot frames, waveform, spectrogram and cues to a PNG file."),
    ] = False,
    events: Annotated[
        bool,
        Option("--events", help="Also write the cues as JSON, CSV, Audacity labels and MIDI."),
    ] = False,
    sidecar: Annotated[
        bool,
        Option("--sidecar", help="Also write all settings and hashes of weights as JSON."),
    ] = False,
    device: Device = "auto",
    weights_dir: WeightsFolder = None,
    threads: ModelThreads = 0,
    ray: Ray = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Generate sound for each video and write a copy with the new audio track.

    The video stream is not re-encoded. With several videos, those whose output exists are skipped.
    """
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.inference.generation_job import generate_sound, sound_output
        from foleyflow.inference.request import Request

        request = Request(
            output=output,
            model=model,
            seed=seed,
            steps=steps,
            guidance=guidance,
            material=material,
            cues=cues,
            sensitivity=checked_sensitivity(sensitivity),
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
        batch = VideoBatch(
            command="generate",
            videos=videos,
            request=request,
            output_of=sound_output,
            work=generate_sound,
            result_text=_result_text,
        )
        batch.check(ray=ray)
        if cues is not None:
            _check_cues(cues, len(videos), sensitivity)
        if dry_run:
            settings = vars(request) | {"loudness": loudness}
            del settings["loudness_lufs"]
            status = batch.print_plan(settings)
        else:
            status = batch.run(ray=ray, as_json=as_json, debug=debug)
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


def _check_cues(cues: str, video_count: int, sensitivity: float | None) -> None:
    """Refuses options that do not fit --cues, and a file that is no cue sheet of any clip."""
    from foleyflow.cues.files import check_cues

    if video_count > 1:
        raise UsageError(
            f"--cues {cues}: one file for {video_count} videos",
            hint="run the command for each video with its own cues",
        )
    if sensitivity is not None:
        raise UsageError(
            f"--sensitivity {sensitivity:g} with --cues: expected one of them",
            hint="--sensitivity is for finding cues; `foleyflow spot` has it too",
        )
    check_cues(Path(cues))


def _result_text(described: dict[str, Any], is_only: bool) -> str:
    lines = [
        f"{described['output']}  ({described['duration_s']:.2f} s, {cue_counts(described)}, "
        f"{described['timings_s']['total']:.2f} s)"
    ]
    lines += [f"  {described[key]}" for key in ("report", "sidecar") if key in described]
    lines += [f"  {name}" for name in described.get("event_files", [])]
    if is_only and described["video"] != "-":
        lines.append(f"  to change the cues: {_editing_text(described)}")
    return "\n".join(map(printable, lines))


def _editing_text(described: dict[str, Any]) -> str:
    """How to edit the cues of a result and generate its sound again."""
    video = as_argument(described["video"])
    sheet, steps = described["cue_file"] or next(iter(described.get("event_files", [])), None), []
    if sheet is None:
        sheet = str(Path(described["video"]).with_suffix(".cues.json"))
        steps = [f"foleyflow spot {video}"]
    again = f"foleyflow generate {video} --cues {as_argument(sheet)} --overwrite"
    return ", ".join([*steps, f"edit {sheet}", again])
