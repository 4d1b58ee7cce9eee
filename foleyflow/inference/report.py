"""Plots a result: frames, cues, waveform and spectrogram on one time axis.

The original sound, if there is one, is plotted below on the same axis. Detail finer than a pixel
column is plotted as its extremes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from foleyflow.cues.cue import Cue
from foleyflow.errors import MediaError
from foleyflow.inference.report_cues import INK, PALE, mark_hits, plot_cues, write_legend
from foleyflow.inference.report_spectrogram import band_power, plot_band_power
from foleyflow.media import MediaInfo, read_frames_at
from foleyflow.signals import Waveform
from foleyflow.system.atomic_files import draft_of
from foleyflow.system.printable import printable

WIDTH_PX = 1600
HEIGHT_PX = 1000
DOTS_PER_INCH = 100
LEFT, RIGHT = 0.078, 0.982  # of the width
TITLE_PX, LABEL_PX, GAP_PX, FOOT_PX = 84, 30, 12, 62
CUES_PX = 74
HIGHEST_STRIP_PX = 190.0

REPORT_PICTURES = 10
COLUMN_COUNT = 1446  # pixel columns of the time axis
RANGE_DB = 75.0  # of the spectrograms

ACCENT, SECOND = "#e4572e", "#2f6f8f"


def plot_report(
    path: Path,
    *,
    pictures: Sequence[tuple[float, NDArray[np.uint8]]],
    generated: Waveform,
    cues: Sequence[Cue],
    reference: Waveform | None = None,
    title: str = "",
) -> None:
    """Writes a PNG of 1600 x 1000 pixels, which appears complete or not at all.

    Args:
        path: the PNG; an existing one is replaced.
        pictures, generated, cues, reference, title: see `draw_report`.

    Raises:
        MediaError: the PNG can't be written.
    """
    figure = draw_report(
        pictures=pictures, generated=generated, cues=cues, reference=reference, title=title
    )
    save_figure(figure, path)


def draw_report(
    *,
    pictures: Sequence[tuple[float, NDArray[np.uint8]]],
    generated: Waveform,
    cues: Sequence[Cue],
    reference: Waveform | None = None,
    reference_name: str = "original",
    title: str = "",
) -> Figure:
    """The figure of a report, 1600 x 1000 pixels.

    Args:
        pictures: (time in seconds, (H, W, 3) uint8 RGB) of some frames, ascending in time. Those
            that would overlap are left out; six to twelve look best.
        generated: the generated sound; its length is the time axis.
        cues: plotted with material and level, the disabled ones faintly.
        reference: the original sound, if there is one.
        reference_name: its name on the left, one short word.
        title: usually the name of the video.
    """
    # An empty figure with axes for the pictures and for each sound
    figure = Figure(figsize=(WIDTH_PX / DOTS_PER_INCH, HEIGHT_PX / DOTS_PER_INCH))
    figure.set_dpi(DOTS_PER_INCH)
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    sounds = [("generated", generated, ACCENT)]
    if reference is not None:
        sounds.append((reference_name, reference, SECOND))
    strip_px = _strip_height_px(pictures, generated.duration_s)
    picture_axes, cue_axes, *sound_axes = _lay_out(figure, strip_px, len(sounds))
    duration_s = max(generated.duration_s, 0.001)
    for axes in (picture_axes, cue_axes, *sound_axes):
        axes.set_xlim(0, duration_s)
        axes.set_autoscale_on(False)
    # Pictures, cues and sounds on the same time axis
    _plot_pictures(picture_axes, pictures, duration_s, height_px=strip_px)
    inside = [cue for cue in cues if 0 <= cue.time_s <= duration_s]
    plot_cues(cue_axes, inside)
    remove_frame(cue_axes)
    for index, (name, sound, colour) in enumerate(sounds):
        wave_axes, spectrum_axes = sound_axes[2 * index : 2 * index + 2]
        plot_waveform(wave_axes, sound, name=name, colour=colour)
        power = band_power(sound, most_columns=COLUMN_COUNT)
        plot_band_power(
            spectrum_axes,
            power,
            duration_s=sound.duration_s,
            loudest=float(power.max()),
            range_db=RANGE_DB,
        )
        remove_frame(spectrum_axes)
        mark_hits(wave_axes, inside)
    plot_time_axis(sound_axes[-1])
    # Title on the left with the legend of the cues below, numbers on the right
    write_legend(figure, inside, left=LEFT, height=0.936)
    figure.text(
        LEFT,
        0.968,
        printable(title),  # fonts have no glyph for bytes that are not UTF-8
        fontsize=15,
        color=INK,
        weight="bold",
        va="center",
        parse_math=False,
    )
    enabled = sum(cue.enabled for cue in inside)
    counts = f"{enabled} cues" if enabled != 1 else "1 cue"
    if len(inside) > enabled:
        counts += f", {len(inside) - enabled} disabled"
    figure.text(
        RIGHT,
        0.968,
        f"{generated.duration_s:.2f} s   {generated.rate_hz / 1000:g} kHz   {counts}",
        fontsize=12,
        color=PALE,
        ha="right",
        va="center",
    )
    return figure


def _strip_height_px(
    pictures: Sequence[tuple[float, NDArray[np.uint8]]], duration_s: float
) -> float:
    """The largest height at which neighbouring pictures do not overlap, within limits."""
    if not pictures:
        return 0.0
    times_s = np.array([time_s for time_s, _ in pictures])
    spacing_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else duration_s
    height, width = pictures[0][1].shape[:2]
    spacing_px = spacing_s / max(duration_s, 0.001) * WIDTH_PX * (RIGHT - LEFT)
    return float(np.clip(0.98 * spacing_px * height / width, 60, HIGHEST_STRIP_PX))


def _lay_out(figure: Figure, strip_px: float, sound_count: int) -> list[Axes]:
    """Axes from top to bottom: pictures, cues, then waveform and spectrogram of each sound."""
    from_top_px = float(TITLE_PX)
    spans_px = [(from_top_px, max(strip_px, 1.0))]
    from_top_px += strip_px + (LABEL_PX if strip_px else 0)
    spans_px.append((from_top_px, CUES_PX))
    from_top_px += CUES_PX
    sound_px = (HEIGHT_PX - FOOT_PX - from_top_px) / sound_count
    for _ in range(sound_count):
        spans_px.append((from_top_px + GAP_PX, 0.30 * sound_px - GAP_PX))
        spans_px.append((from_top_px + 0.30 * sound_px + GAP_PX, 0.70 * sound_px - GAP_PX))
        from_top_px += sound_px
    return [
        figure.add_axes(
            (LEFT, 1 - (top_px + height_px) / HEIGHT_PX, RIGHT - LEFT, height_px / HEIGHT_PX)
        )
        for top_px, height_px in spans_px
    ]


def _plot_pictures(
    axes: Axes,
    pictures: Sequence[tuple[float, NDArray[np.uint8]]],
    duration_s: float,
    *,
    height_px: float,
) -> None:
    """Thumbnails centred on their times as far as the edges allow, each with a tick."""
    axes.set_axis_off()
    axes.set_ylim(0, 1)
    free_from_s = 0.0
    for time_s, pixels in pictures:
        height, width = pixels.shape[:2]
        width_px = min(height_px * width / height, 0.9 * WIDTH_PX * (RIGHT - LEFT))
        width_s = width_px / (WIDTH_PX * (RIGHT - LEFT)) * duration_s
        start_s = min(max(time_s - width_s / 2, 0.0), duration_s - width_s)
        if start_s < free_from_s - 0.02 * width_s:
            continue
        free_from_s = start_s + width_s
        axes.imshow(
            _thumbnail(pixels, round(height_px)),
            extent=(start_s, start_s + width_s, 0, 1),
            aspect="auto",
            interpolation="bilinear",
        )
        axes.plot([time_s, time_s], [-8 / height_px, 0], color=PALE, linewidth=1, clip_on=False)
        axes.text(
            min(max(time_s, 0.018 * duration_s), 0.982 * duration_s),
            -11 / height_px,
            _clock_text(time_s, duration_s),
            ha="center",
            va="top",
            fontsize=9,
            color=PALE,
        )


def plot_waveform(axes: Axes, sound: Waveform, *, name: str, colour: str) -> None:
    """The extremes of a sound per pixel column, with its name and peak level on the left."""
    samples = sound.mono() if sound.samples.shape[1] else np.zeros(0, np.float32)
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    column_count = min(COLUMN_COUNT, len(samples))
    if column_count:
        edges = np.linspace(0, len(samples), column_count + 1).astype(np.int64)[:-1]
        lowest = np.minimum.reduceat(samples, edges)
        highest = np.maximum.reduceat(samples, edges)
        times_s = edges / sound.rate_hz
        axes.fill_between(times_s, lowest, highest, color=colour, linewidth=0.6, zorder=2)
    axes.axhline(0, color=PALE, linewidth=0.5, zorder=1)
    limit = max(peak, 1e-4) * 1.1
    axes.set_ylim(-limit, limit)
    axes.set_yticks([])
    level = f"peak {20 * np.log10(peak):.1f} dBFS" if peak > 0 else "silent"
    for text, height, size, ink in ((name, 0.54, 11, INK), (level, 0.24, 8, PALE)):
        axes.text(
            -0.006, height, text, transform=axes.transAxes, ha="right", fontsize=size, color=ink
        )
    remove_frame(axes)


def _thumbnail(pixels: NDArray[np.uint8], height_px: int) -> NDArray[np.uint8]:
    """Every n-th row and column, so that large pictures take no time."""
    step = max(1, pixels.shape[0] // max(1, 2 * height_px))
    return pixels[::step, ::step]


def plot_time_axis(axes: Axes) -> None:
    """Seconds below the last axes of a figure."""
    axes.xaxis.set_major_locator(MaxNLocator(12, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(axis="x", bottom=True, labelbottom=True)
    axes.set_xlabel("seconds", fontsize=10, color=INK)


def remove_frame(axes: Axes) -> None:
    """Axes without borders and without a time axis."""
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="both", colors=PALE, labelsize=9, length=3)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)


def _clock_text(time_s: float, duration_s: float) -> str:
    if duration_s >= 60:
        return f"{int(time_s // 60)}:{time_s % 60:04.1f}"
    return f"{time_s:.2f}" if duration_s >= 0.5 else f"{time_s:.3f}"


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH)
    return stream.getvalue()


def report_pictures(
    info: MediaInfo, count: int = REPORT_PICTURES
) -> list[tuple[float, NDArray[np.uint8]]]:
    """Frames of a video at equal steps, with their times, for `draw_report`.

    Raises:
        MediaError: the video can't be read.
    """
    times_s = [info.duration_s * (k + 0.5) / count for k in range(count)]
    pictures = read_frames_at(info.path, times_s, height=160, info=info)
    return list(zip(times_s, pictures, strict=True))


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG, which appears complete or not at all.

    Raises:
        MediaError: it can't be written.
    """
    try:
        with draft_of(path) as draft:
            draft.write_bytes(png_of(figure))
    except OSError as error:
        raise MediaError(
            f"{path}: the report can't be written ({error.strerror or error})",
            hint="give a folder that exists and can be written to",
        ) from error
