"""Commands that measure the parts of a model: encoders, aligner, codec and flow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.console import check_writable, print_status
from foleyflow.cli.measure.material_judge import load_material_judge
from foleyflow.cli.measure.report import Report
from foleyflow.cli.options import (
    EMBEDDED,
    SIMULATED,
    ClipCount,
    Device,
    Guidance,
    JudgeFolder,
    Judges,
    Model,
    Out,
    ProbeClips,
    RealClips,
    Seed,
    Settings,
    SimulatedData,
    Threads,
)


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


def codec(
    data: SimulatedData,
    model: Model = EMBEDDED,
    clips: ClipCount = 320,
    judge: JudgeFolder = None,
) -> Report:
    """Measure a codec on test sounds: onsets, spectra and tones."""
    from foleyflow.experiments.measure_codec import measure_codec
    from foleyflow.pretrained import model_folder

    return measure_codec(
        model_folder(model),
        data,
        clips=clips,
        judge=None if judge is None else load_material_judge(judge),
    )


def ceiling(
    data: Annotated[Path, Argument(metavar="DATA", help="Data set of simulated or real clips.")],
    model: Model = EMBEDDED,
    split: Annotated[str, Option(help="Split of the data set.")] = "test",
    clips: ClipCount = 320,
    judges: Judges = None,
    baseline: Annotated[
        Path | None,
        Option(help="Model folder of another codec, which is compared clip by clip."),
    ] = None,
    device: Device = "auto",
    threads: Threads = 0,
    out: Out = None,
) -> Report:
    """Measure the reconstruction ceiling of a codec: the truth of a split, decoded."""
    import torch

    from foleyflow.experiments.judged_sounds import load_column_judges
    from foleyflow.experiments.measure_ceiling import measure_ceiling
    from foleyflow.parallel.threads import torch_threads
    from foleyflow.pretrained import model_folder
    from foleyflow.system.device import pick_device

    with torch_threads(threads or torch.get_num_threads()):
        return measure_ceiling(
            model_folder(model),
            data,
            split=split,
            clips=clips,
            judges=load_column_judges(judges),
            device=pick_device(device),
            baseline=baseline,
            progress=_print_every_20th,
        )


def _print_every_20th(done: int, total: int) -> None:
    if done % 20 == 0 or done == total:
        print_status(f"{done} of {total} clips")


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
