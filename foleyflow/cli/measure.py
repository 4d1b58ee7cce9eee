"""`foleyflow measure`: measure parts of foleyflow."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from foleyflow.cli.calibration import calibration
from foleyflow.cli.console import (
    check_writable,
    print_status,
    progress_on_stderr,
    write_report,
)
from foleyflow.cli.options import (
    EMBEDDED,
    SIMULATED,
    Guidance,
    JudgeFolder,
    Judges,
    Model,
    Out,
    ProbeClips,
    RealClips,
    Recipe,
    Seed,
    Settings,
    SimulatedData,
    Threads,
    Videos,
)
from foleyflow.cli.shared_options import Result, printing

if TYPE_CHECKING:
    from foleyflow.judges.interface import MaterialJudge

app = typer.Typer(
    help="Measure the parts of a model, its training and the evaluation.", no_args_is_help=True
)

ClipCount = Annotated[int, Option(min=1, help="Maximum number of clips.")]
FlowSteps = Annotated[int, Option(min=1, help="Evaluations of the flow per window.")]
ModelGuidance = Annotated[
    float | None, Option(min=1.0, max=20.0, help="Guidance. Default: that of the model.")
]
Report = Mapping[str, Any]


def _measurement(function: Callable[..., Report]) -> Callable[..., Report]:
    """Registers a command that prints the report that a function returns."""

    @functools.wraps(function)
    def measure(**options: Any) -> Result:
        out = options.get("out")
        check_writable(out)
        report = function(**options)
        write_report(out, report)
        return report, "\n".join(_lines(report))

    app.command()(printing(measure))
    return function


@_measurement
def aligner(
    model: Annotated[Path, Argument(metavar="MODEL", help="Model folder with an aligner.")],
    data: SimulatedData,
    recipe: Annotated[
        str, Option(metavar="NAME", help="Recipe that trained the aligner.")
    ] = "vama",
    set_: Settings = None,
    real: RealClips = None,
    probe_clips: ProbeClips = None,
) -> Report:
    """Measure an aligner: hidden audio, events and materials."""
    from foleyflow.experiments.measure_aligner import PROBE_CLIPS, measure_model

    return measure_model(
        model,
        data,
        recipe_name=recipe,
        assignments=set_ or [],
        real=real,
        probe_clips=probe_clips or PROBE_CLIPS,
    )


@_measurement
def codec(
    data: SimulatedData,
    model: Model = EMBEDDED,
    clips: ClipCount = 320,
    judge: JudgeFolder = None,
) -> Report:
    """Measure a codec on test sounds: onsets, spectra and tones."""
    from foleyflow.experiments.measure_codec import measure_codec
    from foleyflow.pretrained import model_folder

    return measure_codec(model_folder(model), data, clips=clips, judge=_tagger(judge))


@_measurement
def encoders(
    names: Annotated[
        list[str] | None,
        Argument(metavar="ENCODER", help="Published encoders. Default: all."),
    ] = None,
    frames: Annotated[int, Option(min=1, help="Number of frames that video encoders encode.")] = 8,
    out: Out = None,
) -> Report:
    """Measure time and memory of published encoders. The weights are random."""
    from foleyflow.experiments.measure_encoders import measure_encoders

    results = measure_encoders(
        names or [],
        frames=frames,
        on_result=lambda result: print_status(
            f"{result['encoder']}: {result['forward_s']} s, {result['peak_gb']} GB"
        ),
    )
    return {"encoders": results}


@_measurement
def evaluation(
    pairs: Annotated[
        int, Option(min=1, help="Number of pairs of sounds, each of ten seconds.")
    ] = 1000,
    folder: Annotated[
        Path | None,
        Option(help="Folder of the pairs. Default: foleyflow-pairs in the temporary folder."),
    ] = None,
) -> Report:
    """Measure the time that each group of metrics takes."""
    from foleyflow.experiments.measure_evaluation import measure_evaluation

    folder = folder or Path(tempfile.gettempdir()) / "foleyflow-pairs"
    return measure_evaluation(folder, pairs=pairs)


@_measurement
def events(
    data: SimulatedData,
    split: Annotated[
        str, Option(metavar="train|validation|test", help="Split of the data set.")
    ] = "validation",
    model: Model = EMBEDDED,
    clips: ClipCount = 10_000,
) -> Report:
    """Score the events that an aligner finds in simulated clips."""
    from foleyflow.experiments.measure_events import measure_events
    from foleyflow.pretrained import model_folder

    return measure_events(model_folder(model), data, split=split, clips=clips)


@_measurement
def real_events(
    clips: Videos,
    model: Model = EMBEDDED,
    threshold: Annotated[
        float | None,
        Option(help="Threshold of the onset probability. Default: the one of generate."),
    ] = None,
) -> Report:
    """Compare an aligner's events with the onsets of recordings."""
    from foleyflow.experiments.measure_events import measure_real_events
    from foleyflow.pretrained import model_folder

    return measure_real_events(model_folder(model), clips, threshold=threshold)


@_measurement
def flow(
    model: Annotated[
        str,
        Argument(metavar="MODEL", help="Model folder, also with a flow alone; or embedded."),
    ] = EMBEDDED,
    data: SimulatedData = SIMULATED,
    out: Out = None,
    picture: Annotated[
        Path | None,
        Option(help="Also plot the figures over the number of steps to this PNG file."),
    ] = None,
    judges: Judges = None,
    clips: ClipCount = 96,
    density_clips: Annotated[
        int, Option(min=0, help="Maximum number of clips whose likelihood is measured.")
    ] = 32,
    latent_noise: Annotated[
        float | None,
        Option(
            help="Standard deviation of the noise on the true latents. Default: as in training."
        ),
    ] = None,
    guidance: Guidance = 1.0,
    segments: Annotated[
        int | None,
        Option(min=1, help="Length of a window in segments. Default: as in training."),
    ] = None,
    seed: Seed = 0,
    threads: Threads = 0,
) -> Report:
    """Measure a flow with 1, 2, 4, 8 and 25 function evaluations."""
    import torch

    from foleyflow.experiments.flow_plots import plot_curves
    from foleyflow.experiments.measure_flow import measure_model
    from foleyflow.parallel.threads import torch_threads

    check_writable(picture)
    with torch_threads(threads or torch.get_num_threads()):
        report = measure_model(
            model,
            data,
            judge_folder=judges,
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


@_measurement
def mixture(
    flow_matching: Annotated[int, Option(min=1, help="Steps of flow matching.")] = 1500,
    one_step: Annotated[int, Option(min=0, help="Steps of the one-step loss.")] = 800,
    distillation: Annotated[int, Option(min=0, help="Steps of progressive distillation.")] = 400,
    batch: Annotated[int, Option(min=1, help="Clips per step.")] = 256,
    out: Out = None,
    seed: Seed = 0,
    threads: Threads = 0,
) -> Report:
    """Train a small flow on a known mixture of quiet and loud latents, and measure its samples."""
    import torch

    from foleyflow.experiments.measure_mixture import MixtureSteps, measure_mixture
    from foleyflow.parallel.threads import torch_threads

    steps = MixtureSteps(flow_matching=flow_matching, one_step=one_step, distillation=distillation)
    with (
        tempfile.TemporaryDirectory() as folder,
        torch_threads(threads or torch.get_num_threads()),
    ):
        return measure_mixture(Path(folder), steps=steps, batch_clips=batch, seed=seed)


@_measurement
def judges(
    folder: Annotated[
        Path, Argument(metavar="JUDGES", help="Model folder of `foleyflow train judge`.")
    ],
    data: SimulatedData,
    names: Annotated[
        str, Option("--judges", metavar="A,B", help="tagger, sync or both.")
    ] = "tagger,sync",
    split: Annotated[
        str, Option(metavar="validation|test", help="Split of the data set.")
    ] = "test",
    batches: Annotated[int, Option(min=1, help="Number of batches of 16 windows for sync.")] = 40,
) -> Report:
    """Measure the accuracy of the judges that foleyflow trains."""
    from foleyflow.experiments.measure_judges import measure_judges

    return measure_judges(folder, data, names=names.split(","), split=split, batches=batches)


@_measurement
def cues(
    data: SimulatedData,
    model: Model = EMBEDDED,
    judge: JudgeFolder = None,
    split: Annotated[
        str, Option(metavar="validation|test", help="Split of the data set.")
    ] = "test",
    clips: Annotated[int, Option(min=2, help="Maximum number of clips.")] = 96,
    steps: FlowSteps = 1,
    guidance: ModelGuidance = None,
) -> Report:
    """Measure the sound of exact cues and of found cues, and the found cues themselves."""
    from foleyflow.experiments.measure_cues import measure_cues
    from foleyflow.judges.weights import SHIPPED

    return measure_cues(
        model,
        data,
        split=split,
        clips=clips,
        judge=_load_tagger(judge or SHIPPED),
        steps=steps,
        guidance=guidance,
    )


_measurement(calibration)


@_measurement
def spectrograms(
    data: SimulatedData,
    output: Annotated[
        Path, Option("--output", "-o", metavar="FOLDER", help="Folder of the pictures.")
    ],
    model: Model = EMBEDDED,
    judge: JudgeFolder = None,
    split: Annotated[
        str, Option(metavar="train|validation|test", help="Split of the data set.")
    ] = "test",
    material: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Draw only this material; repeatable. Default: all."),
    ] = None,
    per_material: Annotated[int, Option(min=1, help="Number of clips per picture.")] = 2,
    steps: FlowSteps = 1,
    guidance: ModelGuidance = None,
    seed: Seed = 0,
) -> Report:
    """Draw true and generated spectrograms of each material.

    There is one PNG per material; the generated sounds are those of the exact cues. In both
    spectrograms of a clip, 0 dB is the loudest point of the true sound, and black is 80 dB below.
    The folder also gets spectrograms.json with levels and with the materials that the judge
    recognises.
    """
    from foleyflow.experiments.cue_pictures import measure_spectrograms
    from foleyflow.judges.weights import SHIPPED

    report = measure_spectrograms(
        model,
        data,
        output,
        split=split,
        materials=material or (),
        per_material=per_material,
        judge=_load_tagger(judge or SHIPPED),
        steps=steps,
        guidance=guidance,
        seed=seed,
        on_picture=lambda path: print_status(str(path)),
    )
    return {name: value for name, value in report.items() if name != "clips"}


@_measurement
def real_cues(
    recordings: Annotated[
        list[Path],
        Argument(
            metavar="CLIPS",
            help="Videos with their own sound, or folders of them. Of a folder with a "
            "manifest.csv, the videos that `foleyflow data list` lists.",
        ),
    ],
    model: Model = EMBEDDED,
    clips: Annotated[
        int | None, Option(min=1, help="Maximum number of clips. Default: all.")
    ] = None,
    levels: Annotated[
        bool,
        Option("--levels", help="Give each cue the level of the recording at its time."),
    ] = False,
    steps: FlowSteps = 1,
    guidance: ModelGuidance = None,
    seed: Seed = 0,
    out: Out = None,
) -> Report:
    """Score the timing of sounds generated for recordings.

    Each recording gets two sounds: one whose cues are the onsets of its own sound, and one whose
    cues are found in the video. Both are compared with its own sound.
    """
    from foleyflow.experiments.measure_real_cues import measure_real_cues, recordings_of

    return measure_real_cues(
        model,
        recordings_of(recordings)[:clips],
        with_levels=levels,
        steps=steps,
        guidance=guidance,
        seed=seed,
    )


@_measurement
def materials(
    clips: Videos,
    model: Model = EMBEDDED,
    guidance: Guidance = 1.0,
    judge: JudgeFolder = None,
) -> Report:
    """Measure decay time and brightness of each generated material."""
    from foleyflow.experiments.measure_materials import measure_materials

    return measure_materials(model, clips, guidance=guidance, judge=_tagger(judge))


@_measurement
def scales(
    task: Annotated[
        list[str] | None,
        Option(metavar="align|flow", help="Trained part; repeatable. Default: both."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        Option(metavar="tiny|base|large", help="Size of the network; repeatable. Default: all."),
    ] = None,
    clips: Annotated[int, Option(min=1, help="Number of clips per training step.")] = 1,
    threads: Threads = 0,
) -> Report:
    """Measure operations, time and memory of a training step."""
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


@_measurement
def training(
    data: SimulatedData,
    task: Annotated[str, Option(metavar="codec|align|flow|judge", help="Trained part.")] = "align",
    recipe: Recipe = "tiny",
    threads: Threads = 0,
) -> Report:
    """Profile training steps: time per operation, and matrix rate."""
    from foleyflow.experiments.measure_training import measure_training

    return measure_training(data, task_name=task, recipe_name=recipe, threads=threads)


@app.command()
@printing
def robustness(
    cases: Annotated[
        int | None,
        Option(min=1, help="Number of files, over all containers. Default: 1000."),
    ] = None,
    seed: Seed = 0,
    workers: Annotated[
        int, Option(min=1, help="Number of processes. Results do not depend on it.")
    ] = 2,
    containers: Annotated[
        str | None,
        Option(metavar="NAME,...", help="Containers to test, such as mp4,mkv. Default: all."),
    ] = None,
    case: Annotated[
        list[str] | None,
        Option(metavar="CONTAINER:NUMBER", help="Run only this case; repeatable."),
    ] = None,
    keep: Annotated[
        Path | None, Option(help="Folder to which the files of failed cases are copied.")
    ] = None,
    out: Out = None,
) -> Result:
    """Run generate on damaged and unusual files.

    The exit status is 1 if any case failed.
    """
    from foleyflow.experiments.robustness import report as measurement

    check_writable(out)
    selected = measurement.select_cases(case or [], count=cases, containers=containers)
    with progress_on_stderr("cases") as show:
        report = measurement.measure(
            selected, seed=seed, workers=workers, keep=keep, on_progress=show
        )
    write_report(out, report)
    return report, measurement.report_text(report), int(bool(report["failures"]))


def _tagger(folder: Path | None) -> MaterialJudge | None:
    return None if folder is None else _load_tagger(folder)


def _load_tagger(folder: Path) -> MaterialJudge:
    from foleyflow.judges.adapters import load_judge

    return cast("MaterialJudge", load_judge("tagger-sim", folder))


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
