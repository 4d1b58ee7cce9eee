"""`foleyflow ablate`: train and measure the tables of the paper, and score other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.console import print_status, refuse_given, training_progress
from foleyflow.cli.options import (
    SIMULATED,
    Device,
    DryRun,
    Judges,
    ProbeClips,
    Ray,
    RealClips,
    Threads,
)
from foleyflow.cli.shared_options import Result, printing
from foleyflow.errors import ConfigError
from foleyflow.system.printable import json_text

# Deprecated names of tables -> name and stage; to be removed after the next release.
OLD_NAMES = {
    "2": ("table2", "alignment"),
    "3": ("table3", "alignment"),
    "5": ("table5", "alignment"),
    "2-flow": ("table2", "flow"),
    "4": ("table4", "flow"),
    "5-flow": ("table5", "flow"),
}


@printing
def ablate(
    table: Annotated[
        str,
        Argument(
            metavar="TABLE",
            help="table1, table2, table3, table4 or table5 of the paper; or targets, which "
            "compares the features that stage one recovers.",
        ),
    ],
    stage: Annotated[
        str | None,
        Option(
            metavar="alignment|flow",
            help="Part of the table. Default: flow for table4, else alignment.",
        ),
    ] = None,
    encoders: Annotated[
        str | None,
        Option(
            metavar="own|published",
            help="Encoders of stage one in tables 2, 4 and 5; published ones need their weights. "
            "Default: own.",
        ),
    ] = None,
    data: Annotated[
        Path, Option(help="Data set of simulated clips with all three splits.")
    ] = SIMULATED,
    out: Annotated[Path, Option(help="Folder of runs and tables; all tables can share it.")] = Path(
        "runs/tables"
    ),
    seeds: Annotated[
        int | None, Option(min=1, help="Number of runs of each cell. Default: 3.")
    ] = None,
    real: RealClips = None,
    set_: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of all cells; repeatable. aligner.KEY=VALUE changes the "
            "aligners of a flow table, base_steps=N and further_steps=N the updates of both parts "
            "of each flow, train.steps=N their sum.",
        ),
    ] = None,
    probe_clips: ProbeClips = None,
    clips: Annotated[
        int | None, Option(min=2, help="Maximum number of test clips. Default: 96.")
    ] = None,
    judges: Judges = None,
    aligners: Annotated[
        Path | None,
        Option(help="Folder of aligners; missing ones are trained there. Default: --out."),
    ] = None,
    without: Annotated[
        list[str] | None,
        Option(
            metavar="none|cavp|vama|...", help="Leave out the rows of this aligner; repeatable."
        ),
    ] = None,
    systems: Annotated[
        Path | None,
        Option(help="table1: folder of other systems' outputs, SYSTEM/CASE.wav, .flac or .mp4."),
    ] = None,
    videos: Annotated[
        Path | None, Option(help="table1: folder of videos with true sound, CASE.mp4.")
    ] = None,
    ours: Annotated[
        str | None,
        Option(
            metavar="embedded|MODEL|none",
            help="table1: model whose sound is generated for all videos. Default: embedded.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        Option(min=1, help="table1: number of processes that compute the metrics. Default: none."),
    ] = None,
    ray: Ray = None,
    threads: Threads = 1,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> Result:
    """Train and measure the cells of one of the paper's tables. Rerun to resume.

    table1 trains nothing: it scores folders of other systems' outputs together with our sound, by
    --systems, --videos, --ours and --judges; --workers or --ray distribute the metrics. --real and
    --probe-clips are for alignment tables only. --clips, --judges and --aligners are for flow
    tables only.
    """
    # Table 1, which trains nothing
    training_only = {
        "--stage": stage,
        "--encoders": encoders,
        "--seeds": seeds,
        "--real": real,
        "--set": set_,
        "--probe-clips": probe_clips,
        "--clips": clips,
        "--aligners": aligners,
        "--without": without,
    }
    if table == "table1":
        refuse_given(table, training_only)
        if videos is None:
            raise ConfigError(
                "table1: expected --videos, a folder of videos with true sound",
                hint="foleyflow ablate table1 --systems DIR --videos DIR; see docs/baselines.md",
            )
        from foleyflow.experiments.tables.systems import SystemsRun, plan_systems, run_systems

        systems_run = SystemsRun(
            systems=systems,
            videos=videos,
            ours=None if ours == "none" else ours or SystemsRun.ours,
            out=out,
            judge_folder=judges,
            device=device,
            workers=workers or 0,
            ray=ray,
        )
        if dry_run:
            plan = plan_systems(systems_run)
            return plan, json_text(plan)
        return run_systems(systems_run, print_status)
    from foleyflow.experiments.tables.cell_runs import TableRun
    from foleyflow.experiments.tables.definitions import part_of
    from foleyflow.experiments.tables.runner import plan_table, run_table

    # Names and options of the other tables
    if table in OLD_NAMES:
        old, (table, stage) = table, OLD_NAMES[table]
        print_status(f"foleyflow: table {old!r} is deprecated, use: ablate {table} --stage {stage}")
    refuse_given(table, {"--systems": systems, "--videos": videos, "--ours": ours})
    refuse_given(table, {"--workers": workers, "--ray": ray})
    if part_of(table, stage)[0] == "flow":
        refuse_given(table, {"--real": real, "--probe-clips": probe_clips})
    else:
        flow_only = {"--clips": clips, "--judges": judges, "--aligners": aligners}
        refuse_given(table, flow_only)

    # Plan or run
    run = TableRun(
        name=table,
        stage=stage,
        encoders=encoders or TableRun.encoders,
        data=data,
        out=out,
        seeds=seeds or TableRun.seeds,
        settings=tuple(set_ or ()),
        real=real,
        probe_clips=probe_clips or TableRun.probe_clips,
        clips=clips or TableRun.clips,
        judge_folder=judges,
        aligners=aligners,
        without=tuple(without or ()),
        threads=threads,
        device=device,
    )
    if dry_run:
        plan = plan_table(run)
        return plan, json_text(plan)
    return run_table(run, print_status, training_progress)
