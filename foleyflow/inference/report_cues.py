"""Plots cues: when each one sounds, how loud it is, and what it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from foleyflow.cues.cue import Cue
from foleyflow.cues.tracks import level_01, levels_or_assumed_db
from foleyflow.system.printable import printable

INK, PALE = "#1f2430", "#8b93a5"
COLOURS = {
    "wood": "#a0622d",
    "metal": "#3b6fb6",
    "glass": "#17a9b8",
    "ceramic": "#d9822b",
    "plastic": "#8e44ad",
    "rubber": "#3a3a3a",
    "membrane": "#d1345b",
    "stone": "#7a8a5a",
    "cardboard": "#c9a227",
}
OTHER_COLOUR, NO_MATERIAL_COLOUR = "#2a9d5c", "#9aa1ad"
FAINT = 0.22  # opacity of disabled cues
CROWDED = 150  # more cues get thin lines and small heads
LONGEST_NAME = 20  # characters of a material in the legend
MOST_NAMES = 9  # in the legend
LEGEND_GAP_PX = 16


def plot_cues(axes: Axes, cues: Sequence[Cue], *, labelled: bool = True) -> None:
    """A stem for each hit and an area for each roll and scrape, as high as its level.

    The head of a hit is open if its level is left to the model, and friction is hatched. With
    `labelled`, the meaning of the axis is written on its left.
    """
    axes.set_ylim(0, 1.12)
    axes.set_yticks([1.0, 0.5], ["0", "-30"])
    axes.axhline(0, color=PALE, linewidth=0.6, zorder=1)
    if labelled:
        for height, text, size, ink in ((0.42, "cues", 11, INK), (0.14, "level, dB", 8, PALE)):
            axes.text(
                -0.032, height, text, transform=axes.transAxes, ha="right", fontsize=size, color=ink
            )
    # Disabled cues first, so that enabled ones are drawn over them
    for enabled in (False, True):
        chosen = [cue for cue in cues if cue.enabled == enabled]
        opacity = 1.0 if enabled else FAINT
        for cue in chosen:
            if cue.kind != "hit":
                _plot_friction(axes, cue, opacity)
        _plot_hits(axes, [cue for cue in chosen if cue.kind == "hit"], opacity)


def _plot_hits(axes: Axes, hits: Sequence[Cue], opacity: float) -> None:
    """A stem with a head for each hit, in one collection because there may be thousands."""
    if not hits:
        return
    width, size = (0.7, 9) if len(hits) > CROWDED else (1.6, 30)
    times_s, heights = [cue.time_s for cue in hits], [_heights(cue)[0] for cue in hits]
    colours = [colour_of(cue.material) for cue in hits]
    axes.vlines(times_s, 0, heights, colors=colours, alpha=opacity, linewidth=width, zorder=4)
    axes.scatter(
        times_s,
        heights,
        s=size,
        facecolors=["white" if cue.level_db is None else colour_of(cue.material) for cue in hits],
        edgecolors=colours,
        alpha=opacity,
        linewidths=min(width, 1.2),
        clip_on=False,
        zorder=5,
    )


def _plot_friction(axes: Axes, cue: Cue, opacity: float) -> None:
    """A hatched area below the level curve, without a colour if the level is left to the model."""
    colour, heights = colour_of(cue.material), _heights(cue)
    times_s = np.linspace(cue.time_s, cue.end_s or cue.time_s, len(heights))
    axes.fill_between(
        times_s,
        heights,
        facecolor=colour if cue.level_curve_db or cue.level_db is not None else "none",
        edgecolor=colour,
        hatch="//" if cue.kind == "roll" else "\\\\",
        alpha=0.45 * opacity,
        zorder=2,
    )
    axes.plot(times_s, heights, color=colour, alpha=opacity, linewidth=1.2, zorder=3)


def mark_hits(axes: Axes, cues: Sequence[Cue]) -> None:
    """A line through a waveform for each enabled hit, darker for louder ones."""
    hits = [cue for cue in cues if cue.enabled and cue.kind == "hit"]
    strongest = 0.3 if len(hits) > CROWDED else 0.75
    opacities = [min(strongest * max(_heights(cue)[0], 0.15), 1.0) for cue in hits]
    axes.vlines(
        [cue.time_s for cue in hits],
        0,
        1,
        transform=axes.get_xaxis_transform(),
        colors=[to_rgba(INK, opacity) for opacity in opacities],
        linewidth=1,
        zorder=1,
    )


def colour_of(material: str | None) -> str:
    """The colour of a material."""
    return NO_MATERIAL_COLOUR if material is None else COLOURS.get(material, OTHER_COLOUR)


def _heights(cue: Cue) -> list[float]:
    """Levels from 0 at the quietest to 1 at 0 dB; one for a hit, at least two for friction."""
    levels_db = levels_or_assumed_db(cue)
    if cue.end_s is not None and len(levels_db) == 1:
        levels_db *= 2
    return [min(float(height), 1.1) for height in level_01(np.array(levels_db))]


def write_legend(figure: Figure, cues: Sequence[Cue], *, left: float, height: float) -> None:
    """One line with the colours of the materials, most frequent first, and other marks.

    Args:
        left, height: of its start, relative to the figure.
    """
    counts = Counter(cue.material for cue in cues if cue.enabled)
    counts.update({cue.material: 0 for cue in cues})
    entries = [
        (colour_of(name), "no material" if name is None else printable(name)[:LONGEST_NAME])
        for name, _ in counts.most_common(MOST_NAMES)
    ]
    if any(not cue.enabled for cue in cues):
        entries.append((PALE, "faint: disabled"))
    if any(cue.level_db is None and not cue.level_curve_db for cue in cues):
        entries.append((PALE, "open: level left to the model"))
    width_px = figure.get_size_inches()[0] * figure.dpi
    for colour, text in entries:
        written = figure.text(
            left, height, f"\u25cf {text}", fontsize=9, color=colour, va="center", parse_math=False
        )
        left = (written.get_window_extent().x1 + LEGEND_GAP_PX) / width_px
