"""`foleyflow data simulate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from foleyflow.cli.console import print_result, progress_on_stderr
from foleyflow.errors import MissingExtra


def run(
    out: Path,
    *,
    clips: int,
    seed: int,
    split: str,
    duration_s: float,
    rate_hz: float | None,
    workers: int,
    ray: str | None,
    as_json: bool,
) -> None:
    """Simulates with a progress bar and prints what was made."""
    try:
        import mujoco  # noqa: F401  (asked for here, so that its absence is said plainly)
    except ImportError as error:
        raise MissingExtra("mujoco", "physics") from error
    from foleyflow.simulation.dataset.simulate import simulate

    with progress_on_stderr(f"simulating {split}") as show:
        summary = simulate(
            out,
            clips=clips,
            seed=seed,
            split=split,
            duration_s=duration_s,
            rate_hz=rate_hz,
            workers=workers or None,
            ray=ray,
            progress=show,
        )
    print_result(
        {**dataclasses.asdict(summary), "frames_per_core_s": summary.frames_per_core_s},
        as_json=as_json,
        text=f"{summary.clips} clips made, {summary.skipped} were there; "
        f"{summary.frames_per_core_s:.0f} frames per second and core, {summary.crashes} crashes",
    )
