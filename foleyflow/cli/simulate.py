"""`foleyflow data simulate`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import typer

from foleyflow.cli.outcome import answer
from foleyflow.errors import MissingExtra


def run(
    out: Path,
    *,
    clips: int,
    seed: int,
    split: str,
    duration_s: float,
    workers: int,
    as_json: bool,
) -> None:
    """Simulates with a progress bar and prints what was made."""
    try:
        import mujoco  # noqa: F401  (asked for here, so that its absence is said plainly)
    except ImportError as error:
        raise MissingExtra("mujoco", "physics") from error
    from foleyflow.data.physics.simulate import simulate

    with typer.progressbar(length=clips, label=f"simulating {split}", file=sys.stderr) as bar:
        summary = simulate(
            out,
            clips=clips,
            seed=seed,
            split=split,
            duration_s=duration_s,
            workers=workers or None,
            progress=lambda done, wanted: bar.update(done - bar.pos),
        )
    answer(
        {**dataclasses.asdict(summary), "frames_per_core_s": summary.frames_per_core_s},
        as_json=as_json,
        text=f"{summary.clips} clips made, {summary.skipped} were there; "
        f"{summary.frames_per_core_s:.0f} frames per second and core, {summary.crashes} crashes",
    )
