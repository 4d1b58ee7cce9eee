"""Plot what an editor gets: found and corrected cues, stems, and a mix with the original sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.delivery import Delivery
from foleyflow.inference.report import (
    ACCENT,
    DOTS_PER_INCH,
    SECOND,
    WIDTH_PX,
    plot_time_axis,
    plot_waveform,
    remove_frame,
    save_figure,
)
from foleyflow.inference.report_cues import INK, colour_of, plot_cues, write_legend
from foleyflow.inference.result import Generated
from foleyflow.media import read_waveform
from foleyflow.signals import Waveform

LEFT, RIGHT = 0.105, 0.985  # of the width
TITLE_PX, FOOT_PX, GAP_PX = 44, 56, 14
CUES_PX, SOUND_PX = 96, 74
MATERIALS = ("wood", "metal")  # of the corrected hits
METAL_EVERY = 3


def corrected_cues(found: CueSheet) -> CueSheet:
    """The enabled hits of a sheet: wood, and metal for every third one."""
    hits = found.enabled.hits
    cues = [
        dataclasses.replace(cue, material=MATERIALS[number % METAL_EVERY == METAL_EVERY - 1])
        for number, cue in enumerate(hits)
    ]
    return CueSheet(cues=tuple(cues), duration_s=found.duration_s)


def plot_delivery(path: Path, found: CueSheet, corrected: Generated, folder: Path) -> None:
    """Plots cues, stems, the original sound and the ducked mix of a clip with sound into a PNG.

    Args:
        path: the PNG; an existing one is replaced.
        found: cues as they were found.
        corrected: the sound of the corrected cues.
        folder: for temporary files.

    Raises:
        MediaError: the PNG can't be written.
    """
    # Sounds on the time axis of the clip
    mix = corrected.save(folder / "ducked.wav", delivery=Delivery(mix="duck"), overwrite=True)
    stems = [
        (f"stem: {stem.name}", colour_of(stem.name), _as_waveform(stem.waveform, stem.rate_hz))
        for stem in corrected.stems("material")
    ]
    sounds = [
        *stems,
        ("original", SECOND, read_waveform(corrected.info.path)),
        ("ducked mix", ACCENT, read_waveform(mix)),
    ]
    # Axes from top to bottom: both cue sheets, then the sounds
    heights_px = [CUES_PX] * 2 + [SOUND_PX] * len(sounds)
    figure, all_axes = _rows(heights_px, max(found.duration_s or 0.0, 0.001))
    for axes, name, cues in zip(
        all_axes, ("cues found", "corrected"), (found, corrected.cues), strict=False
    ):
        plot_cues(axes, list(cues), labelled=False)
        axes.text(-0.032, 0.42, name, transform=axes.transAxes, ha="right", fontsize=11, color=INK)
        remove_frame(axes)
    for axes, (name, colour, sound) in zip(all_axes[2:], sounds, strict=True):
        plot_waveform(axes, sound, name=name, colour=colour)
    plot_time_axis(all_axes[-1])
    write_legend(figure, [*found, *corrected.cues], left=LEFT, height=1 - 22 / _height_px(figure))
    save_figure(figure, path)


def _rows(heights_px: Sequence[int], duration_s: float) -> tuple[Figure, list[Axes]]:
    """A figure, and axes of these heights from top to bottom with one time axis."""
    total_px = TITLE_PX + FOOT_PX + sum(heights_px) + GAP_PX * len(heights_px)
    figure = Figure(figsize=(WIDTH_PX / DOTS_PER_INCH, total_px / DOTS_PER_INCH))
    figure.set_dpi(DOTS_PER_INCH)
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    all_axes, top_px = [], TITLE_PX
    for height_px in heights_px:
        bottom = 1 - (top_px + height_px) / total_px
        axes = figure.add_axes((LEFT, bottom, RIGHT - LEFT, height_px / total_px))
        axes.set_xlim(0, duration_s)
        axes.set_autoscale_on(False)
        all_axes.append(axes)
        top_px += height_px + GAP_PX
    return figure, all_axes


def _height_px(figure: Figure) -> float:
    return float(figure.get_size_inches()[1] * figure.dpi)


def _as_waveform(samples: NDArray[np.float32], rate_hz: int) -> Waveform:
    return Waveform(samples=samples[None], rate_hz=rate_hz)
