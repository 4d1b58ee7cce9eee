"""Pictures of an aligner's training: what a clip's sound was recovered to, and the monitors.

They draw what they are given: spectrograms of one held-out clip (masked, recovered, true) and the
journal's figures over the steps. No global state of matplotlib is touched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

RECOVERED_NAME, MONITORS_NAME = "recovered.png", "monitors.png"
PREFIX = "validation/"
LINES = {  # title -> (figure, label)
    "R² with everything hidden": (("r2", "latents"), ("r2_mel", "mel"), ("r2_energy", "energy")),
    "what the true video adds": (
        ("r2_gain", "latents"),
        ("r2_gain_masked", "latents, some visible"),
        ("r2_gain_energy", "energy"),
    ),
    "deviation of features": (("video_deviation", "F^v"), ("state_deviation", "G")),
    "onset F1": (("onset_f1", "own head"),),
}


def draw_run(
    folder: Path, journal: Sequence[Mapping[str, Any]], example: Mapping[str, NDArray[np.float32]]
) -> None:
    """Draws `recovered.png` and `monitors.png` into a run's folder.

    Args:
        folder: of the run.
        journal: its entries.
        example: "masked", "recovered" and "true", (frames, bands) log-mel each, NaN where hidden;
            "onsets" (L,) and "rises" (L,), 0..1; "duration_s" ().

    Source: ours.
    """
    draw_recovery(folder / RECOVERED_NAME, example)
    measured = [entry for entry in journal if any(key.startswith(PREFIX) for key in entry)]
    if measured:
        draw_monitors(folder / MONITORS_NAME, measured)


def draw_recovery(path: Path, example: Mapping[str, NDArray[np.float32]]) -> None:
    """One clip's masked, recovered and true spectrogram above each other, and its moments."""
    figure = Figure(figsize=(12, 9), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 3, 1.5))
    duration_s = float(example["duration_s"])
    low, high = float(example["true"].min()), float(example["true"].max())
    for axes, name in zip(panels, ("masked", "recovered", "true"), strict=False):
        axes.set_facecolor("#d7dae0")
        axes.imshow(
            example[name].T,
            origin="lower",
            aspect="auto",
            extent=(0.0, duration_s, 0, example[name].shape[1]),
            vmin=low,
            vmax=high,
            cmap="magma",
            interpolation="nearest",
        )
        axes.set_ylabel(f"{name}\nmel band")
    centres_s = (np.arange(len(example["onsets"])) + 0.5) * duration_s / len(example["onsets"])
    panels[3].plot(centres_s, example["rises"], color="#2f6f8f", label="rises of the true sound")
    panels[3].plot(centres_s, example["onsets"], color="#e4572e", label="said of the video alone")
    panels[3].set(xlabel="seconds", ylim=(0, 1.05), xlim=(0, duration_s))
    panels[3].legend(loc="upper right")
    _save(figure, path)


def draw_monitors(path: Path, measured: Sequence[Mapping[str, Any]]) -> None:
    """The monitors over the steps, and the newest by distance and by shift of the video."""
    figure = Figure(figsize=(14, 8), layout="constrained")
    panels = figure.subplots(2, 3).flat
    steps = [entry["step"] for entry in measured]
    for axes, (title, lines) in zip(panels, LINES.items(), strict=False):
        for name, label in lines:
            axes.plot(steps, [e.get(PREFIX + name, np.nan) for e in measured], "o-", label=label)
        axes.set(title=title, xlabel="step")
        axes.legend()
    newest = measured[-1]
    shifts = _family(newest, "r2_shift_", "ms")
    panels[4].plot(list(shifts), list(shifts.values()), "o-")
    panels[4].axvline(0, color="#8b93a5", linewidth=0.8)
    panels[4].set(title="R² with the video moved in time", xlabel="ms (positive: shown too late)")
    distances = _family(newest, "r2_distance_", "")
    panels[5].bar(list(distances), list(distances.values()))
    panels[5].set(title="R² by distance to what is visible", xlabel="segments")
    _save(figure, path)


def _family(entry: Mapping[str, Any], prefix: str, suffix: str) -> dict[int, float]:
    """Figures whose names hold a number, in its order."""
    start = PREFIX + prefix
    found = {
        int(key.removeprefix(start).removesuffix(suffix)): float(value)
        for key, value in entry.items()
        if key.startswith(start)
    }
    return dict(sorted(found.items()))


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    temporary = path.with_suffix(".part.png")
    figure.savefig(temporary, dpi=100)
    os.replace(temporary, path)
