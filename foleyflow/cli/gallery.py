"""`foleyflow gallery`: draw reports of simulated clips before and after correcting their cues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from foleyflow.cli.console import progress_on_stderr
from foleyflow.cli.data import require_mujoco
from foleyflow.cli.measure.cues import FlowSteps, ModelGuidance
from foleyflow.cli.measure.material_judge import load_material_judge
from foleyflow.cli.options import EMBEDDED, JudgeFolder, Model, Seed
from foleyflow.cli.shared_options import Result, printing


@printing
def gallery(
    out: Annotated[
        Path, Option(metavar="FOLDER", help="Folder of the gallery; an earlier one is replaced.")
    ],
    model: Model = EMBEDDED,
    judge: JudgeFolder = None,
    clip: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Only this clip, such as hammer; repeatable. Default: all."),
    ] = None,
    height: Annotated[
        int, Option(min=64, max=1080, help="Height of the clips in pixels, an even number.")
    ] = 240,
    media: Annotated[
        bool, Option("--media", help="Also write the videos with their sounds, and the cue sheets.")
    ] = False,
    steps: FlowSteps = 1,
    guidance: ModelGuidance = None,
    seed: Seed = 0,
) -> Result:
    """Draw reports of simulated clips before and after correcting their cues.

    The folder gets two pictures of each clip, and README.md, which shows them with the onset F1
    and the material that the judge recognises before and after.
    """
    require_mujoco()
    from foleyflow.experiments.gallery import GallerySettings, make_gallery
    from foleyflow.experiments.gallery_clips import gallery_clips
    from foleyflow.judges.weights import SHIPPED

    chosen = gallery_clips(clip or [])
    with progress_on_stderr("clips") as show:
        report = make_gallery(
            out,
            chosen,
            model=model,
            judge=load_material_judge(judge or SHIPPED),
            settings=GallerySettings(steps=steps, guidance=guidance, seed=seed),
            height=height,
            media=media,
            progress=show,
        )
    lines = [f"{out / 'README.md'}: {len(chosen)} clips"]
    for stage, figures in report["mean"].items():
        lines.append(
            f"cues {stage}: onset F1 {figures['onset_f1']:.2f}, material recognised in "
            f"{figures['recognised']:.0%}"
        )
    return report, "\n".join(lines)
