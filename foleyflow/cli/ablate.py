"""`foleyflow ablate`: the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from foleyflow.cli.console import handle_errors, refuse_given
from foleyflow.cli.options import Debug, Device, DryRun, Json, Threads


def ablate(
    table: Annotated[
        str,
        typer.Argument(
            help="Which of the paper's tables: 2, 5 and targets for stage one, 2-flow, 4 and "
            "5-flow for the flow."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Simulated clips: train, validation, test.")] = Path(
        "data/sim"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder. Default: runs/table-TABLE; runs/tables-flow for all of the flow's, "
            "which share cells."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row.")] = 3,
    real: Annotated[
        Path | None,
        typer.Option(help="Stage one: folder of real clips with sound, only measured."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of all rows; aligner.KEY=VALUE for the aligners of the flow's "
            "tables.",
        ),
    ] = None,
    probe_clips: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Stage one: training clips that the probes are fitted to, at most. Default: 768.",
        ),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(min=2, help="Flow: test clips that are sounded, at most. Default: 96."),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(help="Flow: model folder of a tagger, which hears materials."),
    ] = None,
    aligners: Annotated[
        Path | None,
        typer.Option(
            help="Flow: where table-2 and table-5 lie; aligners that are missing there are "
            "trained. Default: runs."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="ALIGNER", help="Flow: leave out its rows, as none, cavp or vama."),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Train and measure the rows of one of the paper's tables; again resumes."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments import ablate_alignment as stage_one
        from foleyflow.experiments import ablate_flow as stage_two

        common: dict[str, Any] = {
            "data": data,
            "seeds": seeds,
            "assignments": set_ or [],
            "threads": threads,
            "device": device,
            "as_json": as_json,
            "dry_run": dry_run,
        }
        if table in stage_two.FLOW_TABLES:
            refuse_given(table, {"--real": real, "--probe-clips": probe_clips})
            stage_two.run(
                table,
                out=out or Path("runs/tables-flow"),
                clips=clips or 96,
                judge_folder=judge,
                aligners=aligners or Path("runs"),
                without=without or (),
                **common,
            )
        else:
            flow_alone = {"--clips": clips, "--judge": judge, "--aligners": aligners}
            refuse_given(table, flow_alone | {"--without": without})
            stage_one.run(
                table,
                out=out or Path("runs") / f"table-{table}",
                real=real,
                probe_clips=probe_clips or 768,
                **common,
            )
