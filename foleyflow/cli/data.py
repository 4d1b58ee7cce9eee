"""`foleyflow data`: create, check and select data sets."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from foleyflow.cli.console import progress_on_stderr
from foleyflow.cli.options import SIMULATED, Ray, Recipe, Settings
from foleyflow.cli.shared_options import REQUIRED, Result, printing
from foleyflow.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foleyflow.judges.adapters import AudioJudge

app = typer.Typer(help="Create, check and select data sets.", no_args_is_help=True)

EXAMPLES = {"chopping": ("strikes", 3), "drums": ("drums", 5), "falling": ("drops", 11)}

DataSet = Annotated[Path, Argument(metavar="DATA", help="Folder of the data set.")]
DataOut = Annotated[Path, Option(help="Folder of the data set to write.")]
Listing = Annotated[Path, Argument(metavar="CSV", help="List of the training segments.")]
Downloads = Annotated[Path, Argument(metavar="VIDEOS", help="Folder of the downloaded videos.")]
ClipSeconds = Annotated[float, Option(metavar="SECONDS", help="Length of each clip.")]
Cuts = Annotated[
    str,
    Option(metavar="avoid|keep", help="Whether clips with a cut are rejected or allowed."),
]
Validation = Annotated[
    float,
    Option(metavar="FRACTION", help="Fraction of the training videos for the validation split."),
]
Tagger = Annotated[
    str, Option(metavar="panns", help="Reject clips in which this tagger finds only music.")
]
Judges = Annotated[
    Path | None,
    Option(help="Folder of the tagger's weights. Default: ~/.cache/foleyflow/judges."),
]
Workers = Annotated[int, Option(min=0, help="Number of threads; 0 uses one per core.")]


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
    _require_mujoco()
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
    _require_mujoco()
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


@app.command()
@printing
def prepare(
    task: Annotated[str, Argument(metavar="TASK", help="align, flow or codec.")],
    recipe: Recipe = "tiny",
    data: Annotated[Path, Option(help="Folder of the data set.")] = SIMULATED,
    set_: Settings = None,
    ray: Ray = None,
) -> Result:
    """Compute the cached features that a training needs."""
    from foleyflow.parallel.ray_cluster import ParallelMap, RayCluster
    from foleyflow.recipes import recipe_named
    from foleyflow.recipes.overrides import override
    from foleyflow.training.run import prepare as prepare_features

    settings = override(recipe_named(task, recipe), set_ or [])
    with RayCluster(ray) if ray is not None else nullcontext() as cluster:
        parallel_map: ParallelMap | None = None
        if cluster is not None:
            on_gpus = settings.prepares_on_gpu and cluster.has_gpus
            parallel_map = functools.partial(cluster.parallel_map, gpus=float(on_gpus))
        windows = prepare_features(settings, data, parallel_map)
    listed = ", ".join(f"{count} windows of {split}" for split, count in windows.items())
    return {"windows": windows}, f"{data}: {listed} are ready"


Rows = Sequence[Any]  # of `ListedClip`; heavy modules are imported only when a command runs
RowReader = Callable[..., Rows]
BUILD_OPTIONS = {
    "out": (DataOut, REQUIRED),
    "duration": (ClipSeconds, 8.0),
    "cuts": (Cuts, "avoid"),
    "validation": (Validation, 0.01),
    "tagger": (Tagger, ""),
    "judges": (Judges, None),
    "workers": (Workers, 0),
    "ray": (Ray, None),
}


def _build_command(*, validation: float = 0.01) -> Callable[[RowReader], RowReader]:
    """Registers a command that builds a data set of shards from the rows that a function reads.

    The function has its own options, and `duration` and `validation` as keyword-only parameters.
    """

    def register(read_rows: RowReader) -> RowReader:
        @functools.wraps(read_rows)
        def build(**options: Any) -> Result:
            shared = {name: options.pop(name) for name in BUILD_OPTIONS}
            return _build(functools.partial(read_rows, **options), options["clips"], **shared)

        app.command()(printing(build, BUILD_OPTIONS | {"validation": (Validation, validation)}))
        return read_rows

    return register


@_build_command()
def vggsound(
    listing: Listing,
    clips: Downloads,
    segment: Annotated[
        float, Option(metavar="SECONDS", help="Length of the listed segments.")
    ] = 10.0,
    *,
    duration: float,
    validation: float,
) -> Rows:
    """Check the videos of VGGSound and pack clips into shards. Rerun to resume."""
    from foleyflow.data.build.listing import read_vggsound

    return read_vggsound(listing, validation=validation, segment_s=segment)


@_build_command()
def audioset(
    listing: Listing,
    clips: Downloads,
    test: Annotated[
        Path | None, Option(metavar="CSV", help="List of the evaluation segments.")
    ] = None,
    *,
    duration: float,
    validation: float,
) -> Rows:
    """Check the videos of AudioSet and pack clips into shards. Rerun to resume."""
    from foleyflow.data.build.listing import read_audioset

    rows = read_audioset(listing, validation=validation)
    return rows if test is None else rows + read_audioset(test, split="test")


@_build_command(validation=0.05)
def folder(
    clips: Annotated[
        Path,
        Argument(metavar="VIDEOS", help="Folder of videos; names of subfolders are labels."),
    ],
    *,
    duration: float,
    validation: float,
) -> Rows:
    """Check a folder of videos and pack clips into shards. Rerun to resume."""
    from foleyflow.data.build.listing import read_folder

    return read_folder(clips, duration_s=duration, validation=validation)


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


def _require_mujoco() -> None:
    if importlib.util.find_spec("mujoco") is None:
        raise MissingExtra("mujoco", "physics")


def _build(
    read_rows: RowReader,
    clips: Path,
    *,
    out: Path,
    duration: float,
    cuts: str,
    validation: float,
    tagger: str,
    judges: Path | None,
    workers: int,
    ray: str | None,
) -> Result:
    """Builds a data set of shards; returns a summary."""
    if cuts not in ("avoid", "keep"):
        raise ConfigError(f"--cuts {cuts}: expected avoid or keep")
    if not (duration > 0 and 0 <= validation < 1):
        raise ConfigError(
            f"--duration {duration}, --validation {validation}: expected more than 0 s and a "
            "fraction of 0..1"
        )
    if tagger not in ("", "panns"):
        raise ConfigError(f"--tagger {tagger}: expected panns")
    from foleyflow.data.build.builder import BuildSettings, build
    from foleyflow.data.build.examination import ExamineSettings
    from foleyflow.parallel.ray_cluster import RayCluster

    rows = read_rows(duration=duration, validation=validation)
    music = None
    if tagger:
        from foleyflow.judges.weights import default_folder

        judges = judges or default_folder()
        music = functools.partial(_music_probability, judges)
        _panns(judges)  # reports a problem with its file before the work
    settings = BuildSettings(
        examine=ExamineSettings(duration_s=duration, avoid_cuts=cuts == "avoid"), tagger=tagger
    )
    with (
        RayCluster(ray) if ray is not None else nullcontext() as cluster,
        progress_on_stderr("examining") as examining,
        progress_on_stderr("packing") as packing,
    ):
        summary = build(
            rows,
            clips,
            out,
            settings,
            music=music,
            workers=workers or None,
            parallel_map=cluster.parallel_map if cluster else None,
            examining=examining,
            packing=packing,
        )
    kept = ", ".join(f"{count} {split}" for split, count in summary.splits.items())
    lines = [f"{out}: {kept} in {summary.shards} shards; reasons in manifest.csv"]
    lines += [f"{count:8d} rejected: {reason}" for reason, count in summary.rejected.items()]
    return dataclasses.asdict(summary), "\n".join(lines)


@functools.lru_cache(maxsize=1)
def _panns(folder: Path) -> AudioJudge:
    """The tagger, loaded once in each process."""
    from foleyflow.judges.adapters import load_judge

    return cast("AudioJudge", load_judge("panns", folder))


def _music_probability(folder: Path, sound: NDArray[np.float32]) -> float:
    """A `MusicTagger` that can be imported in any process."""
    import numpy as np

    from foleyflow.data.build.examination import music_alone

    return music_alone(1 / (1 + np.exp(-_panns(folder).logits(sound))))
