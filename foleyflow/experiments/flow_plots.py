"""Plot the quality and time of a flow over the number of evaluations.

Each panel has a line per sampler, and one for the decoded true latents if they have the figure.
matplotlib's global state is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from foleyflow.system.atomic_files import draft_of

LINES = {
    "map": "flow map (GDCF)",
    "euler": "velocity, Euler (DCF)",
    "dpm": "diffusion, DPM-Solver++",
}
COLOURS = {"map": "#e4572e", "euler": "#2f6f8f", "dpm": "#5c6475"}
TRUE_COLOUR = "#8b93a5"


def plot_curves(path: Path, result: Mapping[str, Any]) -> None:
    """Plot the figures of `measure_flow.measure_model` into a PNG file, which appears complete."""
    figure = Figure(figsize=(14, 8), layout="constrained")
    panels = list(figure.subplots(2, 3).flat)
    _plot(panels[0], result, "onset_f1", "onset F1 at ±50 ms (thin: shuffled)", also="shuffled_f1")
    _plot(panels[1], result, "material_accuracy", "material accuracy (tagger)")
    _plot(panels[2], result, "FAD-sim", "FAD-sim (Fréchet distance, tagger)")
    _plot(panels[3], result, "flow_s_per_10s", "flow, seconds per 10 s of sound")
    panels[3].set_yscale("log")
    panels[3].yaxis.set_major_formatter("{x:g}")
    panels[3].yaxis.set_minor_formatter("{x:g}")
    for axes, key, title in (
        (panels[4], "variance", "variance of latents / true"),
        (panels[5], "noise_level", "noise level between events / true"),
    ):
        _plot(axes, result, key, title)
        axes.axhspan(0.9, 1.1, color=TRUE_COLOUR, alpha=0.2)
        axes.set_ylim(bottom=0)
    panels[0].legend(frameon=False)
    figure.suptitle(f"{result['model']}, {result['clips']} test clips")
    FigureCanvasAgg(figure)
    with draft_of(path) as draft:
        figure.savefig(draft, dpi=100, format="png")


def _plot(
    axes: Axes, result: Mapping[str, Any], key: str, title: str, *, also: str | None = None
) -> None:
    """Plot one figure over evaluations for every sampler, with its interval where it has one."""
    if all(
        figures.get(key) is None for line in result["curves"].values() for figures in line.values()
    ):
        axes.text(0.5, 0.5, f"{title}: not measured", ha="center", color=TRUE_COLOUR)
        axes.set_axis_off()
        return
    for solver, points in result["curves"].items():
        counts = [int(count) for count in points]
        intervals = [_interval(figures.get(key)) for figures in points.values()]
        axes.plot(
            counts,
            [mean for mean, _, _ in intervals],
            "o-",
            color=COLOURS[solver],
            label=LINES[solver],
        )
        lows, highs = [low for _, low, _ in intervals], [high for _, _, high in intervals]
        axes.fill_between(counts, lows, highs, color=COLOURS[solver], alpha=0.15, linewidth=0)
        if also is not None:
            others = [_interval(figures.get(also))[0] for figures in points.values()]
            axes.plot(counts, others, "--", color=COLOURS[solver], linewidth=0.8)
    true = result["true"].get(key)
    if true is not None:
        axes.axhline(_interval(true)[0], color=TRUE_COLOUR, linewidth=0.8, label="true, decoded")
    axes.set_xscale("log", base=2)
    ticks = sorted({int(count) for points in result["curves"].values() for count in points})
    axes.set_xticks(ticks, [str(count) for count in ticks])
    axes.set(title=title, xlabel="evaluations")


def _interval(value: Any) -> tuple[float, float, float]:
    """(mean, low, high) of an interval's fields, which may lack both ends, or of a number; NaN for
    None."""
    if isinstance(value, Mapping):
        mean = float(value["mean"])
        return mean, float(value.get("low", mean)), float(value.get("high", mean))
    number = float("nan") if value is None else float(value)
    return number, number, number
