"""Plots the recovery of a held-out clip and the monitors of an aligner's training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from foleyflow.system.atomic_files import draft_of

RECOVERED_NAME, MONITORS_NAME = "recovered.png", "monitors.png"
PREFIX = "validation/"
PANELS = {  # title -> (figure, label)
    "R² with all audio hidden": (("r2", "latents"), ("r2_mel", "mel"), ("r2_energy", "energy")),
    "gain of the true video": (
        ("r2_gain", "latents"),
        ("r2_gain_masked", "latents, some visible"),
        ("r2_gain_energy", "energy"),
    ),
    "deviation of features": (("video_deviation", "F^v"), ("state_deviation", "G")),
    "onset F1": (("onset_f1", "own head"),),
}


def plot_run(
    folder: Path, journal: Sequence[Mapping[str, Any]], example: Mapping[str, NDArray[np.float32]]
) -> None:
    """Plots `recovered.png` and, if the run was validated, `monitors.png` into a run's folder.

    `example` is the result of `AlignTask.example`.
    """
    plot_recovery(folder / RECOVERED_NAME, example)
    validated = [entry for entry in journal if any(key.startswith(PREFIX) for key in entry)]
    if validated:
        plot_monitors(folder / MONITORS_NAME, validated)


def plot_recovery(path: Path, example: Mapping[str, NDArray[np.float32]]) -> None:
    """Plots a clip's masked, recovered and true spectrogram, and its onsets."""
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
    panels[3].plot(centres_s, example["rises"], color="#2f6f8f", label="onsets in the true sound")
    panels[3].plot(centres_s, example["onsets"], color="#e4572e", label="predicted from video")
    panels[3].set(xlabel="seconds", ylim=(0, 1.05), xlim=(0, duration_s))
    panels[3].legend(loc="upper right")
    _save(figure, path)


def plot_monitors(path: Path, validated: Sequence[Mapping[str, Any]]) -> None:
    """Plots the monitors over the steps, and the last ones by distance and by video shift."""
    figure = Figure(figsize=(14, 8), layout="constrained")
    panels = figure.subplots(2, 3).flat
    steps = [entry["step"] for entry in validated]
    for axes, (title, lines) in zip(panels, PANELS.items(), strict=False):
        for name, label in lines:
            axes.plot(steps, [e.get(PREFIX + name, np.nan) for e in validated], "o-", label=label)
        axes.set(title=title, xlabel="step")
        axes.legend()
    last = validated[-1]
    shifts = _series(last, "r2_shift_", "ms")
    panels[4].plot(list(shifts), list(shifts.values()), "o-")
    panels[4].axvline(0, color="#8b93a5", linewidth=0.8)
    panels[4].set(title="R² with a time-shifted video", xlabel="ms (positive: video too late)")
    distances = _series(last, "r2_distance_", "")
    panels[5].bar(list(distances), list(distances.values()))
    panels[5].set(title="R² by distance to the nearest visible segment", xlabel="segments")
    _save(figure, path)


def _series(entry: Mapping[str, Any], prefix: str, suffix: str) -> dict[int, float]:
    """Figures whose names contain a number, in the order of the numbers."""
    start = PREFIX + prefix
    found = {
        int(key.removeprefix(start).removesuffix(suffix)): float(value)
        for key, value in entry.items()
        if key.startswith(start)
    }
    return dict(sorted(found.items()))


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with draft_of(path, one_writer=True) as draft:
        figure.savefig(draft, dpi=100, format="png")
