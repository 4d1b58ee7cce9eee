"""Simulated clips that are mixed into every adaptation, so that nothing is forgotten."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from foleyflow.errors import MissingExtra
from foleyflow.simulation.dataset.clip_files import GENERATOR_VERSION

CLIPS = {"train": 320, "validation": 48}


def simulated_clips(folder: Path | None, progress: Callable[[str, int, int], None]) -> Path:
    """The folder of simulated clips; None for those in the user's cache, which are created once.

    Raises:
        MissingExtra: mujoco is not installed, which creates them.
        DataError: the cache holds other clips.
    """
    if folder is not None:
        return folder
    if importlib.util.find_spec("mujoco") is None:
        raise MissingExtra("mujoco", "physics")
    from foleyflow.simulation.dataset.simulate import simulate

    cache = default_folder()
    for split, count in CLIPS.items():
        simulate(
            cache,
            clips=count,
            seed=0,
            split=split,
            progress=lambda done, total: progress("simulating clips", done, total),
        )
    return cache


def default_folder() -> Path:
    """The folder of simulated clips of the present generator, about 2 GB with decoded frames."""
    return Path.home() / ".cache" / "foleyflow" / f"simulated-{GENERATOR_VERSION}"
