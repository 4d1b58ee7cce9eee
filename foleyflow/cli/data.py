"""`foleyflow data`: the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors, print_result
from foleyflow.cli.options import Debug, Json, Ray

DataOut = Annotated[Path, typer.Option(help="Folder of the data set.")]
ClipSeconds = Annotated[float, typer.Option(help="Seconds of each clip.")]
Cuts = Annotated[
    str, typer.Option(help="avoid (a clip lies within one scene) or keep (cuts don't matter).")
]
Validation = Annotated[
    float, typer.Option(help="Share of the training videos that become the validation split.")
]
Tagger = Annotated[str, typer.Option(help="panns: leave out clips with music alone.")]
Judges = Annotated[
    Path | None,
    typer.Option(help="Folder of the tagger's weights. Default: ~/.cache/foleyflow/judges."),
]
Workers = Annotated[int, typer.Option(min=0, help="Threads; 0 takes one per core.")]


def simulate(
    clips: Annotated[int, typer.Option(min=1, help="Clips wanted in the split, in all.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other clips.")] = 0,
    split: Annotated[
        str, typer.Option(help="train, validation or test: no clip in common.")
    ] = "train",
    duration: Annotated[float, typer.Option(help="Seconds of each clip.")] = 4.0,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Frames per second of all clips; varied if not given. 1: for judges of sound."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes one per core.")] = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make clips of impacts by physics simulation; what is there already is kept."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.simulation.dataset.run import run

        run(
            out,
            clips=clips,
            seed=seed,
            split=split,
            duration_s=duration,
            rate_hz=rate,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )


def prepare(
    task: Annotated[str, typer.Argument(help="align or flow.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of this task.")] = "tiny",
    data: Annotated[Path, typer.Option(help="Data set.")] = Path("data/sim"),
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, as for train."),
    ] = None,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Decode clips, and compute the latents and features that a training needs, beforehand."""
    with handle_errors(debug=debug, as_json=as_json):
        import contextlib
        import functools

        from foleyflow.parallel.ray_cluster import ParallelMap, RayCluster
        from foleyflow.recipes import recipe_named
        from foleyflow.recipes.overrides import override
        from foleyflow.training.prepare import prepare as prepare_features

        settings = override(recipe_named(task, recipe), set_ or [])
        with RayCluster(ray) if ray is not None else contextlib.nullcontext() as cluster:
            parallel_map: ParallelMap | None = None
            if cluster is not None:
                on_gpus = settings.prepares_on_gpu and cluster.has_gpus
                parallel_map = functools.partial(cluster.parallel_map, gpus=float(on_gpus))
            windows = prepare_features(settings, data, parallel_map)
        listed = ", ".join(f"{count} windows of {split}" for split, count in windows.items())
        print_result({"windows": windows}, as_json=as_json, text=f"{data}: {listed} are ready")


def vggsound(
    listing: Annotated[Path, typer.Argument(metavar="CSV", help="vggsound.csv.")],
    clips: Annotated[Path, typer.Argument(help="Folder of the downloaded videos.")],
    out: DataOut,
    duration: ClipSeconds = 8.0,
    segment: Annotated[float, typer.Option(help="Seconds of the list's segments.")] = 10.0,
    cuts: Cuts = "avoid",
    validation: Validation = 0.01,
    tagger: Tagger = "",
    judges: Judges = None,
    workers: Workers = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check VGGSound's clips and pack them into shards; again goes on where it stopped."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.data.build import run as dataset

        request = dataset.DataRequest(
            out=out,
            duration_s=duration,
            cuts=cuts,
            validation=validation,
            tagger=tagger,
            judges=judges,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )
        dataset.vggsound(listing, clips, request, segment_s=segment)


def audioset(
    listing: Annotated[
        Path, typer.Argument(metavar="CSV", help="AudioSet's csv of training segments.")
    ],
    clips: Annotated[Path, typer.Argument(help="Folder of the downloaded videos.")],
    out: DataOut,
    test: Annotated[
        Path | None, typer.Option(metavar="CSV", help="AudioSet's csv of evaluation segments.")
    ] = None,
    duration: ClipSeconds = 8.0,
    cuts: Cuts = "avoid",
    validation: Validation = 0.01,
    tagger: Tagger = "",
    judges: Judges = None,
    workers: Workers = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check AudioSet's clips and pack them into shards; again goes on where it stopped."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.data.build import run as dataset

        request = dataset.DataRequest(
            out=out,
            duration_s=duration,
            cuts=cuts,
            validation=validation,
            tagger=tagger,
            judges=judges,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )
        dataset.audioset(listing, clips, request, test=test)


def data_folder(
    clips: Annotated[Path, typer.Argument(help="Folder of videos; subfolders are labels.")],
    out: DataOut,
    duration: ClipSeconds = 8.0,
    cuts: Cuts = "avoid",
    validation: Validation = 0.05,
    tagger: Tagger = "",
    judges: Judges = None,
    workers: Workers = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check one's own videos and pack them into shards; again goes on where it stopped."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.data.build import run as dataset

        request = dataset.DataRequest(
            out=out,
            duration_s=duration,
            cuts=cuts,
            validation=validation,
            tagger=tagger,
            judges=judges,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )
        dataset.folder(clips, request)


def data_doctor(
    root: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of a data set.")],
    decode: Annotated[int, typer.Option(min=1, help="Clips of each split to decode.")] = 32,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say whether a data set is whole and decodes, and whether its splits share videos."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.data.build import run as dataset

        status = dataset.doctor(root, decode=decode, as_json=as_json)
    raise typer.Exit(status)
