"""`foleyflow data`: create, check, select and export data sets."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from foleyflow.cli.console import progress_on_stderr
from foleyflow.cli.data_building import audioset, folder, vggsound
from foleyflow.cli.options import ClipSeconds, DataOut, DataSet, Ray, Workers
from foleyflow.cli.prepare import prepare
from foleyflow.cli.shared_options import Result, printing
from foleyflow.errors import ConfigError, MissingExtra

app = typer.Typer(help="Create, check, select and export data sets.", no_args_is_help=True)

EXAMPLES = {"chopping": ("strikes", 3), "drums": ("drums", 5), "falling": ("drops", 11)}


@app.command()
@printing
def simulate(
    clips: Annotated[
        int, Option(min=1, help="Number of clips in the split, including existing ones.")
    ],
    out: DataOut,
    seed: Annotated[int, Option(min=0, help="Random seed of the clips.")] = 0,
    split: Annotated[
        str,
        Option(metavar="train|validation|test", help="Split; splits have no clip in common."),
    ] = "train",
    duration: ClipSeconds = 4.0,
    rate: Annotated[
        float | None,
        Option(
            metavar="HZ",
            help="Frames per second; 1 is enough for judges of sound. Default: random per clip.",
        ),
    ] = None,
    audio_only: Annotated[
        bool,
        Option(
            "--audio-only",
            help="Write sounds and labels without videos; they are those of the clips with videos.",
        ),
    ] = False,
    workers: Annotated[int, Option(min=0, help="Number of processes; 0 uses one per core.")] = 0,
    ray: Ray = None,
) -> Result:
    """Create clips of impacts by physics simulation. Rerun to resume."""
    require_mujoco()
    from foleyflow.simulation.dataset.simulate import simulate as run

    with progress_on_stderr(f"simulating {split}") as show:
        summary = run(
            out,
            clips=clips,
            seed=seed,
            split=split,
            duration_s=duration,
            rate_hz=rate,
            audio_only=audio_only,
            workers=workers or None,
            ray=ray,
            progress=show,
        )
    frames = "" if audio_only else f"{summary.frames_per_core_s:.0f} frames, "
    text = (
        f"{summary.clips} clips created, {summary.skipped} existed; {frames}"
        f"{summary.clips_per_core_s:.1f} clips per second and core, {summary.crashes} crashes"
    )
    rates = {
        "frames_per_core_s": summary.frames_per_core_s,
        "clips_per_core_s": summary.clips_per_core_s,
    }
    return dataclasses.asdict(summary) | rates, text


@app.command()
@printing
def examples(
    out: Annotated[Path, Option(help="Folder of the examples.")] = Path(
        "foleyflow/assets/examples"
    ),
) -> Result:
    """Render the example clips that ship with foleyflow."""
    require_mujoco()
    from foleyflow.simulation.dataset.simulate import write_example

    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (family, seed) in EXAMPLES.items():
        paths.append(str(out / f"{name}.mp4"))
        write_example(Path(paths[-1]), seed=seed, family=family, duration_s=6.0)
    return {"examples": paths}, "\n".join(paths)


@app.command()
@printing
def select(
    data: DataSet,
    out: Annotated[Path, Argument(metavar="OUT", help="New folder of the selected clips.")],
    material: Annotated[
        str | None, Option(metavar="NAME", help="Select clips with this material.")
    ] = None,
    without: Annotated[
        str | None, Option(metavar="NAME", help="Select clips without this material.")
    ] = None,
) -> Result:
    """Create a data set of the clips with, or without, a material.

    Either --material or --without is required.
    """
    given = [name for name in (material, without) if name is not None]
    if len(given) != 1:
        raise ConfigError("expected either --material NAME or --without NAME")
    from foleyflow.simulation.dataset.selection import select_clips

    counts = select_clips(data, out, material=given[0], without=material is None)
    listed = ", ".join(f"{count} clips of {split}" for split, count in counts.items())
    return {"splits": counts}, listed or f"{data}: no clip was selected"


@app.command("list")
@printing
def list_clips(
    clips: Annotated[Path, Argument(metavar="CLIPS", help="Folder of clips with a manifest.csv.")],
    category: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="List clips of this category; repeatable. Default: impacts."),
    ] = None,
    every: Annotated[bool, Option("--all", help="Also list clips without clear onsets.")] = False,
) -> Result:
    """List the clips of some categories, one path per line."""
    from foleyflow.data.build.listing import IMPACTS, clips_of_categories

    found = clips_of_categories(clips, category or IMPACTS, clear_onsets_only=not every)
    paths = [str(path) for path in found]
    return {"clips": paths}, "\n".join(paths)


app.command()(prepare)


@app.command()
@printing
def export(
    data: DataSet,
    out: Annotated[Path, Option(help="Folder of the files to write.")],
    split: Annotated[
        str, Option(metavar="train|validation|test", help="Split to export.")
    ] = "test",
    with_sound: Annotated[
        bool, Option("--with-sound", help="Also write the videos with their true sound.")
    ] = False,
    workers: Workers = 0,
    ray: Ray = None,
) -> Result:
    """Write the videos and true sounds of a split as files. Rerun to resume.

    The videos without sound are for `foleyflow generate` and other systems, the folder reference is
    for `foleyflow evaluate`. The exit status is 1 if a clip could not be exported.
    """
    from foleyflow.data.export import REFERENCE, VIDEOS, export_split
    from foleyflow.parallel.ray_cluster import optional_parallel_map

    with (
        optional_parallel_map(ray) as parallel_map,
        progress_on_stderr(f"exporting {split}") as show,
    ):
        summary = export_split(
            data,
            split,
            out,
            with_sound=with_sound,
            workers=workers or None,
            parallel_map=parallel_map,
            progress=show,
        )
    lines = [
        f"{out}: {summary.clips} clips of {split} ({summary.existed} existed), "
        f"{summary.not_in_data} listed clips are not in the data set"
    ]
    lines += [f"         {key}: {problem}" for key, problem in summary.problems.items()]
    if (out / VIDEOS).is_dir():
        lines.append(f"generate: foleyflow generate {out / VIDEOS}/*.mp4 -o results/")
    lines.append(f"evaluate: foleyflow evaluate results/ {out / REFERENCE}")
    return dataclasses.asdict(summary), "\n".join(lines), int(bool(summary.problems))


for _command in (vggsound, audioset, folder):
    app.command()(_command)


@app.command()
@printing
def doctor(
    root: DataSet,
    decode: Annotated[int, Option(min=1, help="Number of clips of each split to decode.")] = 32,
) -> Result:
    """Check that a data set is complete and can be decoded.

    Splits must not share videos. The exit status is 1 if there is a problem.
    """
    from foleyflow.data.build.check import check_data

    checks = check_data(root, decode=decode)
    lines = []
    for check in checks:
        lines.append(
            f"{'broken' if check.problems else 'ok':8s} {check.split}: {check.clips} clips, "
            f"{check.labels} labels, {check.decoded} decoded"
        )
        lines += [f"         {problem}" for problem in check.problems]
    value = {"splits": [dataclasses.asdict(check) for check in checks]}
    has_problem = not checks or any(check.problems for check in checks)
    return value, "\n".join(lines) or f"{root}: no clip", int(has_problem)


def require_mujoco() -> None:
    """Raise MissingExtra if the simulator is not installed."""
    if importlib.util.find_spec("mujoco") is None:
        raise MissingExtra("mujoco", "physics")
