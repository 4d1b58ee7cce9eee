"""`foleyflow spot`: find the cues of videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from foleyflow.cli.console import handle_errors
from foleyflow.cli.file_list import video_names
from foleyflow.cli.options import EMBEDDED, Debug, Device, DryRun, Json, Model
from foleyflow.cli.video_batch import (
    FilesFrom,
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
from foleyflow.system.printable import printable


def spot(
    videos: VideoNames = None,
    files_from: FilesFrom = None,
    output: Annotated[
        # Text, not a path: the slash at the end of a folder would be lost.
        str | None,
        Option(
            "-o",
            "--output",
            metavar="FILE|FOLDER/",
            help="Output file, folder of the outputs, or a template such as {stem}.foley{suffix} "
            "(fields: stem, suffix, name, folder, number). The suffix chooses the format: .json, "
            ".csv, .txt (Audacity), .mid, .reaper.csv, .edl, .otio, or .sheet.csv and .html to "
            "read. Default: NAME.cues.json next to each video.",
        ),
    ] = None,
    model: Model = EMBEDDED,
    sensitivity: Sensitivity = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    weights_dir: WeightsFolder = None,
    threads: ModelThreads = 0,
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Find what sounds in each video and write it as a cue sheet, which you can edit.

    `foleyflow generate VIDEO --cues FILE` generates the sound of the edited cues. Uncertain cues
    are disabled: set "enabled" to true to use one. With several videos, those whose output exists
    are skipped.
    """
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.inference.request import SpotRequest
        from foleyflow.inference.spotting_job import sheet_output, spot_video

        names = video_names(videos, files_from)
        request = SpotRequest(
            output=output,
            model=model,
            sensitivity=checked_sensitivity(sensitivity),
            overwrite=overwrite,
            device=device,
            weights_dir=None if weights_dir is None else str(weights_dir),
            threads=threads,
        )
        batch = VideoBatch(
            command="spot",
            videos=names,
            request=request,
            output_of=sheet_output,
            work=spot_video,
            result_text=_result_text,
            is_list=files_from is not None,
        )
        batch.check()
        if dry_run:
            status = batch.print_plan(dict(vars(request)))
        else:
            status = batch.run(as_json=as_json, debug=debug)
    raise typer.Exit(status)


def _result_text(described: dict[str, Any], is_only: bool) -> str:
    from foleyflow.cues.files import format_of

    output, video = described["output"], described["video"]
    lines = [
        f"{output}  ({described['duration_s']:.2f} s, {cue_counts(described)}, "
        f"{described['timings_s']['total']:.2f} s)"
    ]
    if video != "-" and format_of(Path(output)).parse is not None:
        again = f"foleyflow generate {as_argument(video)} --cues {as_argument(output)}"
        lines.append(f"  edit it, then: {again}")
    return "\n".join(map(printable, lines))
