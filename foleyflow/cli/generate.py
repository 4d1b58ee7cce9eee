"""`foleyflow generate`: the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors
from foleyflow.cli.options import Debug, Device, DryRun, Json, Overwrite, Ray


def generate(
    videos: Annotated[
        # Text, not paths: an empty name would become the current folder.
        list[str],
        typer.Argument(help="Video files; - reads one from standard input.", metavar="VIDEO..."),
    ],
    output: Annotated[
        # Text, not a path: a slash at the end, which says "folder", would be lost.
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE|FOLDER/",
            help="Where to write. Default: CLIP.foley.mp4 beside the video.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Model folder, or embedded.")] = "embedded",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same sound.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Evaluations of the flow per window.")] = 1,
    guidance: Annotated[
        float | None,
        typer.Option(min=1.0, max=20.0, help="How strongly the video rules; 1 to about 4."),
    ] = None,
    material: Annotated[
        str, typer.Option(help="auto, or what the struck things are made of: wood, metal, ...")
    ] = "auto",
    loudness: Annotated[str, typer.Option(help="Integrated loudness in LUFS, or off.")] = "-23",
    audio_only: Annotated[bool, typer.Option("--audio-only", help="Write a wav file.")] = False,
    overwrite: Overwrite = False,
    report: Annotated[
        bool, typer.Option("--report", help="Draw a picture beside the output.")
    ] = False,
    events: Annotated[
        bool, typer.Option("--events", help="Write found events: CSV, Audacity labels, MIDI.")
    ] = False,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="Write a JSON of all that is needed to repeat this.")
    ] = False,
    device: Device = "auto",
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the published encoder's weights, for a model trained over one. "
            "Default: ~/.cache/foleyflow/encoders."
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processor threads of one operation; 0 decides by the model's size: 1 for the "
            "embedded one. Another number may round otherwise.",
        ),
    ] = 0,
    ray: Ray = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Make the sound of videos and write them with it; pictures are copied untouched."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.inference.batch import Request, run

        status = run(
            videos,
            Request(
                output=output,
                model=model,
                seed=seed,
                steps=steps,
                guidance=guidance,
                material=material,
                loudness=loudness,
                audio_only=audio_only,
                overwrite=overwrite,
                report=report,
                events=events,
                sidecar=sidecar,
                device=device,
                weights_dir=None if weights_dir is None else str(weights_dir),
                threads=threads,
            ),
            ray=ray,
            as_json=as_json,
            dry_run=dry_run,
            debug=debug,
        )
    raise typer.Exit(status)
