"""A report as one HTML file with its tables, plots, spectrograms and audio players.

The file refers to no other file or host. No values are computed here; only the sounds of the
first clips are read again.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Plot
from scipy.io import wavfile

from foleyflow.errors import MediaError
from foleyflow.evaluation.metric import Interval
from foleyflow.evaluation.metrics.spectral import HOP_SAMPLES, level_db
from foleyflow.evaluation.report import LAG_FREE_REMARK, Report, window_label
from foleyflow.evaluation.scores import (
    CONDITIONS,
    MetricScore,
    common_protocol,
    conditions_in,
    direction_text,
    figure_text,
    flags,
    remarks,
)
from foleyflow.signals import INT16_FULL_SCALE, Waveform

DEFAULT_CLIPS = 4
LONGEST_PLAYED_S = 20.0  # of each sound, to limit the size of the page
LOWEST_DBFS, HIGHEST_DBFS = -100.0, -20.0  # range of the spectrograms' colours, per bin
COLOURS = {
    "generated": "#e4572e",
    "generated_narrow": "#f0a58e",
    "true": "#2f6f8f",
    "true_narrow": "#8db8cc",
    "silence": "#c8ccd4",
    "noise": "#8b93a5",
    "other": "#5c6475",
    "shifted": "#3a3f4b",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2430; max-width: 72rem; margin: 2rem auto;
       padding: 0 1rem; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid #dde1e8; }
th:first-child, td:first-child { text-align: left; }
.note { color: #5c6475; font-size: 13px; margin: .2rem 0; }
.flag { color: #b3261e; }
img { max-width: 100%; }
audio { width: 22rem; vertical-align: middle; }
"""


def page_text(reports: Mapping[str, Report], *, title: str, clips: int = DEFAULT_CLIPS) -> str:
    """The HTML page of one or several systems on the same clips.

    Args:
        reports: system -> report.
        title: heading of the page.
        clips: number of clips with spectrograms and players, the first by name.

    Raises:
        ConfigError: the reports follow different protocols.
    """
    common_protocol(score for report in reports.values() for score in report.scores.values())
    parts = [f"<h1>{html.escape(title)}</h1>", "<h2>Synchrony</h2>", _synchrony_table(reports)]
    lags = _plot_lags(reports)
    parts += [image_tag(lags, "lags of matched onsets")] if lags else []
    for name in dict.fromkeys(name for report in reports.values() for name in report.scores):
        scores = {s: r.scores[name] for s, r in reports.items() if name in r.scores}
        parts += _metric_parts(scores)
    parts += _protocol_parts(reports)
    parts += _clip_parts(reports, clips)
    parts += _remark_parts(reports)
    return document_text(parts, title=title)


def document_text(parts: Sequence[str], *, title: str, style: str = "") -> str:
    """An HTML document from the parts of its body; `style` adds CSS rules to those of all pages."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _synchrony_table(reports: Mapping[str, Report]) -> str:
    rows = []
    for system, report in reports.items():
        if report.synchrony is None:
            rows.append([system, "0", "nothing to score"])
            continue
        lag_s = report.synchrony.median_lag_s
        for window in report.synchrony.table_rows:
            rows.append(
                [
                    system,
                    str(len(report.clips)),
                    window_label(window),
                    _interval_text(window.f1),
                    _interval_text(window.shuffled_f1),
                    _interval_text(window.gain),
                    "-" if lag_s is None else f"{1000 * lag_s:+.0f} ms",
                    f"{report.synchrony.reference_onsets}/{report.synchrony.generated_onsets}",
                ]
            )
    header = "system,clips,window,F1,shuffled,gain,median lag,onsets true/generated".split(",")
    return f"{_table(header, rows)}\n<p>{html.escape(LAG_FREE_REMARK)}</p>"


def _metric_parts(scores: Mapping[str, MetricScore]) -> list[str]:
    """Heading, table, bars and remarks of one metric."""
    metric = next(iter(scores.values())).metric
    conditions = conditions_in(scores.values())
    rows = []
    for system, score in scores.items():
        figures = [score.figures.get(condition) for condition in conditions]
        generated = score.figures.get("generated")
        rows.append(
            [
                system,
                *("-" if figure is None else figure_text(figure) for figure in figures),
                str(0 if generated is None else generated.count),
            ]
        )
    parts = [
        f"<h2>{html.escape(metric.name)}</h2>",
        _note(f"{direction_text(metric)}. {metric.reference}"),
        _table(["system", *conditions.values(), "clips"], rows),
    ]
    if any(score.figures for score in scores.values()):
        parts.append(image_tag(_plot_bars(scores), f"{metric.name} with its controls"))
    parts += [_note(flag, flagged=True) for flag in flags(scores)]
    for system, score in scores.items():
        parts += [_note(f"{system}: {remark}") for remark in remarks(score)]
    return parts


def _protocol_parts(reports: Mapping[str, Report]) -> list[str]:
    protocol = next((r.protocol for r in reports.values() if r.protocol is not None), None)
    if protocol is None:
        return []
    return ["<h2>Protocol</h2>", *(_note(line) for line in protocol.to_text().split("\n"))]


def _clip_parts(reports: Mapping[str, Report], clips: int) -> list[str]:
    """Spectrograms and players of the first clips: the true sound, then every system's."""
    names = list(dict.fromkeys(name for report in reports.values() for name in report.files))
    parts = ["<h2>Clips</h2>"] if names and clips else []
    for name in names[:clips]:
        sounds: dict[str, Path] = {}
        for system, report in reports.items():
            generated, true = report.files.get(name, (None, None))
            if true is not None:
                sounds.setdefault(CONDITIONS["true"], true)
            if generated is not None:
                sounds[system] = generated
        parts.append(f"<h3>{html.escape(name)}</h3>")
        parts += [_sound_part(label, path, name) for label, path in sounds.items()]
    if len(names) > clips > 0:
        parts.append(_note(f"the first {clips} of {len(names)} clips"))
    return parts


def _sound_part(label: str, path: Path, name: str) -> str:
    from foleyflow.media.waveform import read_waveform

    try:
        sound = read_waveform(path)
    except MediaError as error:
        return _note(f"{label}: {error}", flagged=True)
    samples = sound.mono()[: round(LONGEST_PLAYED_S * sound.rate_hz)]
    cut = Waveform(samples=samples[None], rate_hz=sound.rate_hz)
    levels = np.rint(np.clip(samples, -1.0, 1.0) * INT16_FULL_SCALE).astype("<i2")
    stream = io.BytesIO()
    wavfile.write(stream, sound.rate_hz, levels)
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<p>{html.escape(label)} <audio controls preload="none" '
        f'src="data:audio/wav;base64,{data}"></audio></p>\n'
        + image_tag(plot_spectrogram(cut), f"spectrogram of {name}, {label}")
    )


def _remark_parts(reports: Mapping[str, Report]) -> list[str]:
    parts = []
    for system, report in reports.items():
        for label, names in report.remarks().items():
            parts.append(_note(f"{system}: {label}: {len(names)} ({', '.join(names)})"))
    return ["<h2>Clips with remarks</h2>", *parts] if parts else []


def _note(text: str, *, flagged: bool = False) -> str:
    return f'<p class="note{" flag" if flagged else ""}">{html.escape(text)}</p>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table>", "<tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in header) + "</tr>"]
    lines += [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return "\n".join([*lines, "</table>"])


def _interval_text(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.2f} ({interval.low:.2f} .. {interval.high:.2f})"


def _plot_lags(reports: Mapping[str, Report]) -> Plot | None:
    """A histogram of the lags of matched onsets, one step line per system."""
    scored = {s: r.synchrony for s, r in reports.items() if r.synchrony and r.synchrony.matched}
    if not scored:
        return None
    plot = _empty_plot(9, 2.6)
    axes = plot.add_subplot()
    for system, result in scored.items():
        lags_ms = 1000 * result.lags.centres_s
        axes.step(lags_ms, result.lags.counts, where="mid", label=_plot_text(system))
    axes.axvline(0, color=COLOURS["noise"], linewidth=0.8)
    axes.set_xlabel("lag of matched onsets, ms (positive: late)")
    axes.set_ylabel("onsets")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return plot


def _plot_bars(scores: Mapping[str, MetricScore]) -> Plot:
    """A bar per system and condition, with its interval."""
    plot = _empty_plot(9, 0.9 + 0.55 * len(scores) + 0.8)
    axes = plot.add_subplot()
    labelled: set[str] = set()
    for index, score in enumerate(scores.values()):
        for place, (condition, figure) in enumerate(score.figures.items()):
            low, high = figure.low, figure.high
            if low is None or high is None:
                low = high = figure.value
            axes.barh(
                index + 0.16 * (place - 2),
                figure.value,
                height=0.14,
                color=COLOURS[condition],
                label=None if condition in labelled else CONDITIONS[condition],
                xerr=[[max(0.0, figure.value - low)], [max(0.0, high - figure.value)]],
                error_kw={"linewidth": 0.8},
            )
            labelled.add(condition)
    axes.set_yticks(range(len(scores)), [_plot_text(system) for system in scores])
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return plot


def plot_spectrogram(sound: Waveform, *, width: float = 9, height: float = 2.2) -> Plot:
    """The levels of a sound's first channel over time and frequency; the plot's size in inches."""
    plot = _empty_plot(width, height)
    axes = plot.add_subplot()
    axes.imshow(
        level_db(sound.samples[0]).T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=LOWEST_DBFS,
        vmax=HIGHEST_DBFS,
        extent=(0, max(sound.duration_s, HOP_SAMPLES / sound.rate_hz), 0, sound.rate_hz / 2000),
    )
    axes.set_xlabel("s")
    axes.set_ylabel("kHz")
    return plot


def _empty_plot(width: float, height: float) -> Plot:
    plot = Plot(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(plot)
    return plot


def _plot_text(text: str) -> str:
    """A name for matplotlib: without formulas, and a question mark for what its font lacks."""
    return text.replace("$", r"\$").encode("latin-1", "replace").decode("latin-1")


def image_tag(plot: Plot, alt: str) -> str:
    """A plot as an HTML image with embedded data."""
    stream = io.BytesIO()
    plot.savefig(stream, format="png")
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
