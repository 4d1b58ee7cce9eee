"""Plots of the true and the generated sounds of simulated clips, in one picture.

Both spectrograms of a clip have the same scale: 0 dB is the loudest point of the true sound, and
the darkest colour is 80 dB below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from foleyflow.cues.sheet import CueSheet
from foleyflow.data.clip_types import ClipLabels
from foleyflow.experiments.palette_images import drawing_palette, with_palette
from foleyflow.inference.report_cues import COLOURS, INK, PALE, plot_cues, write_legend
from foleyflow.inference.report_spectrogram import band_power, plot_band_power
from foleyflow.signals import Waveform
from foleyflow.simulation.sound.levels import level_db
from foleyflow.system.atomic_files import draft_of

SCALE_DB = 80.0  # of the spectrograms
COLOUR_STEPS = 40  # of 2 dB each, so that the files stay small
MOST_COLUMNS = 480  # of a spectrogram, 8 ms each in a clip of 4 s

PICTURE_WIDTH_PX = 1400
PIXELS_PER_INCH = 100
TOP_PX, NAME_PX, STEMS_PX, SPECTRUM_PX, BOTTOM_PX = 76, 40, 56, 225, 62
PANELS = ((0.047, 0.44), (0.545, 0.44))  # left edge and width, relative to the picture

RIGHT_INK, WRONG_INK = "#1e7b45", "#c0392b"


@dataclass(frozen=True, kw_only=True)
class JudgedSound:
    """A sound and the material that a judge recognises in it."""

    sound: Waveform
    verdict: str

    @property
    def peak_db(self) -> float:
        """Peak level on the scale of cues, at least -60."""
        return float(level_db(np.abs(self.sound.mono()).max(initial=0.0)))


@dataclass(frozen=True, kw_only=True)
class PicturedClip:
    """A simulated clip with its exact cues, its true sound and the sound generated from them."""

    labels: ClipLabels
    cues: CueSheet
    true: JudgedSound
    generated: JudgedSound
    warnings: tuple[str, ...] = ()  # of the model


def plot_clips(path: Path, clips: Sequence[PicturedClip], *, title: str) -> None:
    """Plot clips below each other into a PNG, true sounds on the left and generated on the right.

    Above each spectrogram are the cues, as high as their levels; below it is the judge's verdict.
    The PNG has a palette and appears complete or not at all.
    """
    # An empty figure with a title and the scale
    block_px = NAME_PX + STEMS_PX + SPECTRUM_PX + BOTTOM_PX
    height_px = TOP_PX + len(clips) * block_px
    figure = Figure(
        figsize=(PICTURE_WIDTH_PX / PIXELS_PER_INCH, height_px / PIXELS_PER_INCH),
        dpi=PIXELS_PER_INCH,
        facecolor="white",
    )
    canvas = FigureCanvasAgg(figure)
    left = PANELS[0][0]
    y = 1 - 24 / height_px
    figure.text(left, y, title, fontsize=15, color=INK, weight="bold", va="center")
    _plot_scale(figure, height_px)
    used = [cue for clip in clips for cue in clip.cues]
    write_legend(figure, used, left=left, height=1 - 52 / height_px)
    for number, clip in enumerate(clips):
        # The clip's name, then both sounds on the same scale
        top_px = TOP_PX + number * block_px
        y = 1 - (top_px + NAME_PX / 2) / height_px
        figure.text(left, y, _description(clip), fontsize=11, color=INK, va="center")
        powers = [
            band_power(each.sound, most_columns=MOST_COLUMNS)
            for each in (clip.true, clip.generated)
        ]
        loudest = float(powers[0].max())
        for name, judged, power, (panel_left, width) in zip(
            ("true", "generated"), (clip.true, clip.generated), powers, PANELS, strict=True
        ):
            figure.text(
                panel_left + width, y, name, fontsize=12, color=INK, ha="right", va="center"
            )
            # Axes of the cues, and of the spectrogram below
            stems_bottom = 1 - (top_px + NAME_PX + STEMS_PX) / height_px
            bottom = stems_bottom - SPECTRUM_PX / height_px
            stems = figure.add_axes((panel_left, stems_bottom, width, STEMS_PX / height_px))
            spectrum = figure.add_axes((panel_left, bottom, width, SPECTRUM_PX / height_px))
            for axes in (stems, spectrum):
                axes.set_xlim(0, clip.labels.duration_s)
                axes.set_autoscale_on(False)
            plot_cues(stems, clip.cues, labelled=False)
            plot_band_power(
                spectrum,
                power,
                duration_s=judged.sound.duration_s,
                loudest=loudest,
                range_db=SCALE_DB,
                colours=COLOUR_STEPS,
            )
            _mark_hits(spectrum, clip.cues)
            _style(stems, spectrum)
            _write_verdict(spectrum, judged, clip.labels.material)
    # Pixels, in few colours
    canvas.draw()
    _save_with_palette(np.asarray(canvas.buffer_rgba())[..., :3], path)


def _description(clip: PicturedClip) -> str:
    """Such as "test/clip_000003, strike: 4 hits, 1 scrape"."""
    kinds = [cue.kind for cue in clip.cues]
    counts = [
        f"{kinds.count(kind)} {kind}" + ("s" if kinds.count(kind) > 1 else "")
        for kind in dict.fromkeys(kinds)
    ]
    return f"{clip.labels.name}, {clip.labels.kind}: {', '.join(counts) or 'no cues'}"


def _mark_hits(axes: Axes, cues: CueSheet) -> None:
    """A white tick at either edge of a spectrogram for each hit."""
    times_s = [cue.time_s for cue in cues.enabled.hits]
    for low, high in ((0.0, 0.035), (0.965, 1.0)):
        axes.vlines(
            times_s,
            low,
            high,
            transform=axes.get_xaxis_transform(),
            colors="white",
            linewidth=1,
        )


def _style(stems: Axes, spectrum: Axes) -> None:
    """Only the spectrogram has a time axis."""
    for axes in (stems, spectrum):
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(axis="both", colors=PALE, labelsize=9, length=3)
    stems.tick_params(axis="x", bottom=False, labelbottom=False)
    stems.set_ylabel("cue, dB", fontsize=9, color=PALE, labelpad=2)
    spectrum.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 2.5, 5, 10]))


def _write_verdict(axes: Axes, judged: JudgedSound, material: str | None) -> None:
    """The peak level and the judge's verdict below a spectrogram."""
    is_right = judged.verdict == material
    texts = (
        (0.0, "left", INK, f"peak {judged.peak_db:.0f} dB"),
        (0.5, "center", PALE, "seconds"),
        (1.0, "right", RIGHT_INK if is_right else WRONG_INK, f"judge: {judged.verdict}"),
    )
    for x, side, ink, text in texts:
        axes.annotate(
            text,
            (x, 0),
            xycoords="axes fraction",
            xytext=(0, -32),
            textcoords="offset pixels",
            ha=side,
            va="center",
            fontsize=11,
            color=ink,
        )


def _plot_scale(figure: Figure, height_px: int) -> None:
    """A bar with the colours of the spectrograms at the top right."""
    left, width = PANELS[1][0] + 0.5 * PANELS[1][1], 0.5 * PANELS[1][1]
    axes = figure.add_axes((left, 1 - 30 / height_px, width, 12 / height_px))
    axes.imshow(
        np.linspace(0, 1, COLOUR_STEPS)[None],
        extent=(-SCALE_DB, 0, 0, 1),
        aspect="auto",
        cmap=colormaps["magma"].resampled(COLOUR_STEPS),
    )
    axes.set_yticks([])
    axes.tick_params(axis="x", colors=PALE, labelsize=9, length=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.text(
        left - 0.008,
        1 - 24 / height_px,
        "dB relative to the loudest point of the true sound",
        fontsize=9,
        color=PALE,
        ha="right",
        va="center",
    )


def _save_with_palette(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write (H, W, 3) pixels as a PNG of 8 bits per pixel, in the nearest colours of a palette."""
    inks = (INK, PALE, RIGHT_INK, WRONG_INK, "black", *COLOURS.values())
    image = with_palette(pixels, drawing_palette(inks, COLOUR_STEPS))
    with draft_of(path) as draft:
        image.save(draft, format="png", optimize=True)
