"""`foleyflow ablate`: train and measure the ablation tables of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors, print_result, print_status, refuse_given
from foleyflow.cli.options import Debug, Device, DryRun, Json, Threads
from foleyflow.cli.train import training_progress

# Deprecated names of tables -> name and stage; to be removed after the next release.
OLD_NAMES = {
    "2": ("table2", "alignment"),
    "3": ("table3", "alignment"),
    "5": ("table5", "alignment"),
    "2-flow": ("table2", "flow"),
    "4": ("table4", "flow"),
    "5-flow": ("table5", "flow"),
}


def ablate(
    table: Annotated[
        str,
        typer.Argument(
            help="table2, table3, table4 or table5 of the paper, or targets: which features of "
            "sound stage one recovers."
        ),
    ],
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="alignment|flow",
            help="Which part of the table. Default: alignment; flow for table4.",
        ),
    ] = None,
    data: Annotated[Path, typer.Option(help="Simulated clips: train, validation, test.")] = Path(
        "data/sim"
    ),
    out: Annotated[
        Path, typer.Option(help="Folder of runs and tables; all tables can share it.")
    ] = Path("runs/tables"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each cell.")] = 3,
    real: Annotated[
        Path | None,
        typer.Option(help="Alignment: folder of real clips with sound, which are only measured."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of all cells; aligner.KEY=VALUE for the aligners of a flow "
            "table.",
        ),
    ] = None,
    probe_clips: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Alignment: maximum number of training clips of the probes. Default: 768.",
        ),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(min=2, help="Flow: maximum number of test clips. Default: 96."),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(help="Flow: model folder of a tagger, which classifies materials."),
    ] = None,
    aligners: Annotated[
        Path | None,
        typer.Option(
            help="Flow: folder of the aligners; missing ones are trained there. Default: --out."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="ALIGNER", help="Flow: leave out its rows: none, cavp or vama."),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Train and measure the cells of one of the paper's tables. Rerun to resume."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.tables.definitions import part_of
        from foleyflow.experiments.tables.runner import PROBE_CLIPS, TableRun, plan_table, run_table

        if table in OLD_NAMES:
            old, (table, stage) = table, OLD_NAMES[table]
            print_status(
                f"foleyflow: table {old!r} is deprecated, use: ablate {table} --stage {stage}"
            )
        if part_of(table, stage)[0] == "flow":
            refuse_given(table, {"--real": real, "--probe-clips": probe_clips})
        else:
            flow_only = {"--clips": clips, "--judge": judge, "--aligners": aligners}
            refuse_given(table, flow_only | {"--without": without})
        run = TableRun(
            name=table,
            stage=stage,
            data=data,
            out=out,
            seeds=seeds,
            settings=tuple(set_ or ()),
            real=real,
            probe_clips=probe_clips or PROBE_CLIPS,
            clips=clips or TableRun.clips,
            judge_folder=judge,
            aligners=aligners,
            without=tuple(without or ()),
            threads=threads,
            device=device,
        )
        if dry_run:
            print_result(plan_table(run), as_json=True, text="")
            return
        result, text = run_table(run, print_status, training_progress)
        print_result(result, as_json=as_json, text=text)
