"""`foleyflow measure`: commands that measure parts of foleyflow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from foleyflow.cli.console import (
    check_writable,
    handle_errors,
    print_result,
    print_status,
    progress_on_stderr,
)
from foleyflow.cli.options import Debug, Json
from foleyflow.cli.shared_options import with_options

if TYPE_CHECKING:
    from foleyflow.judges.interface import MaterialJudge

app = typer.Typer(help="Measure parts of foleyflow.", no_args_is_help=True)

EMBEDDED = "embedded"
Data = Annotated[Path, typer.Argument(help="Simulated clips.")]
Clips = Annotated[list[Path], typer.Argument(help="Video files.")]
Model = Annotated[str, typer.Option(help="Model folder, or embedded.")]
ClipCount = Annotated[int, typer.Option(min=1, help="Maximum number of clips.")]
JudgeFolder = Annotated[
    Path | None, typer.Option(help="Model folder of a tagger, which classifies materials.")
]
Out = Annotated[Path | None, typer.Option(help="Also write the report as JSON here.")]
# 0 keeps torch's default, unlike in the commands that train.
Threads = Annotated[int, typer.Option(min=0, help="Processor threads; 0 for torch's default.")]
Guidance = Annotated[float, typer.Option(min=1.0, max=20.0, help="Guidance scale.")]
Report = Mapping[str, Any]


def _measurement(
    name: str | None = None,
) -> Callable[[Callable[..., Report]], Callable[..., Report]]:
    """Register a command that prints the report that a function returns."""

    def register(function: Callable[..., Report]) -> Callable[..., Report]:
        def command(*, as_json: bool, debug: bool, **options: Any) -> None:
            with handle_errors(debug=debug, as_json=as_json):
                out = options.get("out")
                check_writable(out)
                report = function(**options)
                if out is not None:
                    from foleyflow.weights import write_atomically

                    write_atomically(out, json.dumps(report, indent=1) + "\n")
                print_result(report, as_json=as_json, text="\n".join(_lines(report)))

        shared = {"as_json": (Json, False), "debug": (Debug, False)}
        app.command(name)(with_options(command, function, shared))
        return function

    return register


@_measurement()
def aligner(
    model: Annotated[Path, typer.Argument(help="Model folder with an aligner.")],
    data: Data,
    recipe: Annotated[str, typer.Option(help="Recipe of its training.")] = "vama",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the recipe."),
    ] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of real clips with sound.")] = None,
    probe_clips: Annotated[
        int | None,
        typer.Option(min=2, help="Maximum number of training clips of the probes. Default: 768."),
    ] = None,
) -> Report:
    """Measure an aligner: recovery of hidden segments, and probes of events and materials."""
    from foleyflow.experiments.measure_aligner import PROBE_CLIPS, measure_model

    return measure_model(
        model,
        data,
        recipe_name=recipe,
        assignments=set_ or [],
        real=real,
        probe_clips=probe_clips or PROBE_CLIPS,
    )


@_measurement()
def codec(
    data: Data,
    model: Model = EMBEDDED,
    clips: ClipCount = 320,
    judge: JudgeFolder = None,
) -> Report:
    """Measure a codec on test sounds: onsets, spectral distance, tones, and a baseline."""
    from foleyflow.experiments.measure_codec import measure_codec
    from foleyflow.pretrained import model_folder

    return measure_codec(model_folder(model), data, clips=clips, judge=_tagger(judge))


@_measurement()
def encoders(
    names: Annotated[
        list[str] | None, typer.Argument(help="Published encoders. Default: all.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames for video encoders.")] = 8,
    out: Out = None,
) -> Report:
    """Measure seconds and memory of published encoders at full size, with random weights."""
    from foleyflow.experiments.measure_encoders import measure_encoders

    results = measure_encoders(
        names or [],
        frames=frames,
        on_result=lambda result: print_status(
            f"{result['encoder']}: {result['forward_s']} s, {result['peak_gb']} GB"
        ),
    )
    return {"encoders": results}


@_measurement()
def evaluation(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of sounds of ten seconds.")] = 1000,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of the pairs. Default: a folder in the temporary directory."),
    ] = None,
) -> Report:
    """Measure how long `foleyflow evaluate` takes for each group of metrics."""
    from foleyflow.experiments.measure_evaluation import measure_evaluation

    folder = folder or Path(tempfile.gettempdir()) / "foleyflow-pairs"
    return measure_evaluation(folder, pairs=pairs)


@_measurement()
def events(
    data: Data,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    model: Model = EMBEDDED,
    clips: ClipCount = 10_000,
) -> Report:
    """Measure the events that an aligner finds in simulated clips, by threshold and kind."""
    from foleyflow.experiments.measure_events import measure_events
    from foleyflow.pretrained import model_folder

    return measure_events(model_folder(model), data, split=split, clips=clips)


@_measurement("real-events")
def real_events(
    clips: Clips,
    model: Model = EMBEDDED,
    threshold: Annotated[
        float | None, typer.Option(help="Of the event probability. Default: that of generate.")
    ] = None,
) -> Report:
    """Compare the events that an aligner finds in recordings with the onsets of their sound."""
    from foleyflow.experiments.measure_events import measure_real_events
    from foleyflow.pretrained import model_folder

    return measure_real_events(model_folder(model), clips, threshold=threshold)


@_measurement()
def flow(
    model: Annotated[
        str, typer.Argument(help="Model folder, folder of a flow alone, or embedded.")
    ] = EMBEDDED,
    data: Data = Path("data/sim"),
    out: Out = None,
    picture: Annotated[
        Path | None, typer.Option(help="Plot the curves over step counts into this PNG file.")
    ] = None,
    judge: JudgeFolder = None,
    clips: ClipCount = 96,
    density_clips: Annotated[
        int, typer.Option(min=0, help="Maximum number of clips of the likelihood.")
    ] = 32,
    latent_noise: Annotated[
        float | None,
        typer.Option(help="Noise on the true latents. Default: that of the training."),
    ] = None,
    guidance: Guidance = 1.0,
    segments: Annotated[
        int | None, typer.Option(min=1, help="Length of a window. Default: as trained.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all noise.")] = 0,
    threads: Threads = 0,
) -> Report:
    """Measure a flow at 1, 2, 4, 8 and 25 evaluations on simulated test clips."""
    import torch

    from foleyflow.experiments.flow_plots import plot_curves
    from foleyflow.experiments.measure_flow import measure_model
    from foleyflow.parallel.threads import torch_threads

    check_writable(picture)
    with torch_threads(threads or torch.get_num_threads()):
        report = measure_model(
            model,
            data,
            judge=_tagger(judge),
            clips=clips,
            density_clips=density_clips,
            latent_noise=latent_noise,
            guidance=guidance,
            segments=segments,
            seed=seed,
        )
    if picture is not None:
        plot_curves(picture, report)
    return report


@_measurement()
def judges(
    folder: Annotated[Path, typer.Argument(help="Model folder of `foleyflow train judge`.")],
    data: Data,
    names: Annotated[
        str, typer.Option("--judges", metavar="A,B", help="tagger, sync or both.")
    ] = "tagger,sync",
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    batches: Annotated[int, typer.Option(min=1, help="Of 16 windows, for sync.")] = 40,
) -> Report:
    """Measure the accuracy of the judges that foleyflow trains, on simulated clips."""
    from foleyflow.experiments.measure_judges import measure_judges

    return measure_judges(folder, data, names=names.split(","), split=split, batches=batches)


@_measurement()
def materials(
    clips: Clips,
    model: Model = EMBEDDED,
    guidance: Guidance = 1.0,
    judge: JudgeFolder = None,
) -> Report:
    """Measure decay time and brightness of generated sound for each material label."""
    from foleyflow.experiments.measure_materials import measure_materials

    return measure_materials(model, clips, guidance=guidance, judge=_tagger(judge))


@_measurement()
def scales(
    task: Annotated[
        list[str] | None, typer.Option(help="align or flow; repeatable. Default: both.")
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="A size of the networks; repeatable. Default: tiny, base and large."),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of a training step.")] = 1,
    threads: Threads = 0,
) -> Report:
    """Measure operations, seconds and memory of a training step at each size."""
    from foleyflow.experiments.measure_training import RECIPES, TASKS, measure_scales

    results = measure_scales(
        task or TASKS,
        recipe or RECIPES,
        clips=clips,
        threads=threads,
        on_result=lambda result: print_status(
            f"{result['recipe']} {result['stage']}: {result['step_s']} s"
        ),
    )
    return {"scales": results}


@_measurement()
def training(
    data: Data,
    task: Annotated[str, typer.Option(help="codec, align, flow or judge.")] = "align",
    recipe: Annotated[str, typer.Option(help="Name of a recipe of this task.")] = "tiny",
    threads: Threads = 0,
) -> Report:
    """Profile training steps: time of each operation, and fraction of the matrix rate."""
    from foleyflow.experiments.measure_training import measure_training

    return measure_training(data, task_name=task, recipe_name=recipe, threads=threads)


@app.command()
def robustness(
    cases: Annotated[
        int | None,
        typer.Option(min=1, help="Number of files, from each container in turn. Default: 1000."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the damage.")] = 0,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; results do not depend on their number.")
    ] = 2,
    containers: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Containers to test, such as mp4,mkv. Default: all."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="CONTAINER:NUMBER", help="Run this case only; repeatable."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for the files of failed cases."),
    ] = None,
    out: Out = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run generate on damaged and unusual files and count the results; exit 1 on a failure."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.robustness import report as measurement
        from foleyflow.weights import write_atomically

        check_writable(out)
        selected = measurement.select_cases(case or [], count=cases, containers=containers)
        with progress_on_stderr("cases") as show:
            report = measurement.measure(
                selected, seed=seed, workers=workers, keep=keep, on_progress=show
            )
        if out is not None:
            write_atomically(out, json.dumps(report, indent=1) + "\n")
        print_result(report, as_json=as_json, text=measurement.report_text(report))
    raise typer.Exit(1 if report["failures"] else 0)


def _tagger(folder: Path | None) -> MaterialJudge | None:
    from foleyflow.judges.adapters import load_judge

    return None if folder is None else cast("MaterialJudge", load_judge("tagger-sim", folder))


def _lines(report: Report, indent: str = "") -> Iterator[str]:
    """Nested figures as indented lines; intervals and short lists in one line."""
    for name, value in report.items():
        if isinstance(value, Mapping) and {"mean", "low", "high"} <= value.keys():
            text = f"{value['mean']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
            yield f"{indent}{name}: {text}"
        elif isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{name}:"
            for item in value:
                yield from _lines(item, indent + "  ")
                yield ""
        elif isinstance(value, list):
            yield f"{indent}{name}: {', '.join(map(str, value))}"
        else:
            number = f"{value:.6g}" if isinstance(value, float) else value
            yield f"{indent}{name}: {'-' if value is None else number}"
