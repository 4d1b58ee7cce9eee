"""Plot the reliability of confidences before and after a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import beta

from foleyflow.experiments.reliability import BINS
from foleyflow.system.atomic_files import draft_of

BAR_COLOUR, LINE_COLOUR, THRESHOLD_COLOUR = "#c9d3dc", "#2f6f8f", "#e4572e"


def plot_reliability(path: Path, report: Mapping[str, Any]) -> None:
    """Plot the test figures of `measure_calibration` into a PNG file, which appears complete.

    Above, the fraction of impacts over the confidence of candidates with 95 % intervals (Jeffreys);
    a perfect calibration lies on the diagonal. Below, the number of candidates.
    """
    test, calibrations = report["test"], report["calibrations"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    rows = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[3, 1])
    for column, when in enumerate(("before", "after")):
        above, below = rows[0, column], rows[1, column]
        threshold = calibrations[when]["threshold"]
        _plot_fractions(above, test[when], when)
        counts = [int(count) for _, _, count in test[when]["bins"].values()]
        below.bar(_left_edges(test[when]), counts, 1 / BINS, align="edge", color=BAR_COLOUR)
        below.set(yscale="log", xlabel="confidence")
        below.set_ylim(bottom=0.8)
        below.yaxis.set_major_formatter("{x:g}")
        below.yaxis.set_minor_formatter("")
        for axes in (above, below):
            axes.axvline(threshold, color=THRESHOLD_COLOUR, linewidth=1, linestyle="--")
        above.text(
            threshold,
            0.95,
            f" enabled from {threshold:g}",
            color=THRESHOLD_COLOUR,
            ha="left" if threshold < 0.7 else "right",
        )
    rows[0, 0].set_ylabel("fraction that are impacts")
    rows[1, 0].set_ylabel("candidates")
    figure.suptitle(
        f"{test['candidates']} candidates of hits in {test['clips']} clips of the {test['split']} "
        "split"
    )
    FigureCanvasAgg(figure)
    with draft_of(path) as draft:
        figure.savefig(draft, dpi=100, format="png")


def _plot_fractions(axes: Axes, figures: Mapping[str, Any], when: str) -> None:
    """Plot the fraction of impacts per bin at its mean confidence."""
    rows = np.array(list(figures["bins"].values()), np.float64).reshape(-1, 3)
    confidences, fractions, counts = rows.T
    correct = fractions * counts
    low, high = beta.ppf([[0.025], [0.975]], correct + 0.5, counts - correct + 0.5)
    errors = np.maximum([fractions - low, high - fractions], 0.0)
    axes.plot([0, 1], [0, 1], color=BAR_COLOUR, linewidth=1)
    axes.errorbar(
        confidences, fractions, errors, fmt="o-", color=LINE_COLOUR, elinewidth=1, capsize=2
    )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        title=f"{when}: calibration error {figures['calibration_error']:.3f}, Brier score "
        f"{figures['brier'] or 0.0:.3f}, F1 {figures['f1'] or 0.0:.2f}",
    )
    axes.title.set_fontsize(9)


def _left_edges(figures: Mapping[str, Any]) -> list[float]:
    """The lower end of each bin of a report."""
    return [float(name.split(" ")[0]) for name in figures["bins"]]
