"""Commands that measure cues: how they are found, and the sounds that are generated from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from foleyflow.cli.console import check_writable, print_status, progress_on_stderr
from foleyflow.cli.measure.material_judge import load_material_judge
from foleyflow.cli.measure.report import Report
from foleyflow.cli.options import (
    EMBEDDED,
    ClipCount,
    JudgeFolder,
    Model,
    Out,
    Recordings,
    Seed,
    SimulatedData,
    Videos,
)

FlowSteps = Annotated[int, Option(min=1, help="Evaluations of the flow per window.")]
ModelGuidance = Annotated[
    float | None, Option(min=1.0, max=20.0, help="Guidance. Default: that of the model.")
]


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


def calibration(
    data: SimulatedData,
    model: Model = EMBEDDED,
    split: Annotated[
        str,
        Option(metavar="train|validation|test", help="Split that the calibration is fitted to."),
    ] = "validation",
    test_split: Annotated[
        str, Option(metavar="train|validation|test", help="Split that it is also measured on.")
    ] = "test",
    clips: Annotated[int, Option(min=1, help="Maximum number of clips of each split.")] = 10_000,
    write: Annotated[
        bool, Option("--write", help="Write calibration.json into the model folder.")
    ] = False,
    plot: Annotated[
        Path | None,
        Option(help="Also plot confidence against the fraction of impacts to this PNG file."),
    ] = None,
    out: Out = None,
) -> Report:
    """Calibrate the confidence of cues that an aligner finds, and measure it on other clips."""
    from foleyflow.experiments.measure_calibration import measure_calibration
    from foleyflow.pretrained import model_folder

    check_writable(plot)
    with progress_on_stderr("clips") as show:
        report = measure_calibration(
            model_folder(model),
            data,
            split=split,
            test_split=test_split,
            clips=clips,
            write=write,
            progress=show,
        )
    if plot is not None:
        from foleyflow.experiments.calibration_plots import plot_reliability

        plot_reliability(plot, report)
    return report


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
        judge=load_material_judge(judge or SHIPPED),
        steps=steps,
        guidance=guidance,
    )


def places(
    data: SimulatedData,
    split: Annotated[
        str, Option(metavar="train|validation|test", help="Split of the data set.")
    ] = "test",
    clips: ClipCount = 96,
) -> Report:
    """Compare the places of motion in the picture with those of the true contacts."""
    from foleyflow.experiments.measure_places import measure_places

    return measure_places(data, split=split, clips=clips)


def reference(
    data: SimulatedData,
    model: Model = EMBEDDED,
    judge: JudgeFolder = None,
    split: Annotated[
        str, Option(metavar="validation|test", help="Split of the data set.")
    ] = "test",
    clips: Annotated[int, Option(min=2, help="Maximum number of clips.")] = 96,
    steps: FlowSteps = 1,
    guidance: ModelGuidance = None,
    seed: Seed = 0,
    out: Out = None,
) -> Report:
    """Measure whether generated hits follow a recorded one (generate --reference)."""
    from foleyflow.experiments.measure_reference import measure_reference
    from foleyflow.judges.weights import SHIPPED

    with progress_on_stderr("ways to generate") as show:
        return measure_reference(
            model,
            data,
            split=split,
            clips=clips,
            judge=load_material_judge(judge or SHIPPED),
            steps=steps,
            guidance=guidance,
            seed=seed,
            progress=show,
        )


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
        judge=load_material_judge(judge or SHIPPED),
        steps=steps,
        guidance=guidance,
        seed=seed,
        on_picture=lambda path: print_status(str(path)),
    )
    return {name: value for name, value in report.items() if name != "clips"}


def real_cues(
    recordings: Recordings,
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
