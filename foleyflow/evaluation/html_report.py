"""A report as one HTML file: tables, plots, spectrograms and players, all inside the file.

Nothing is fetched from anywhere, so it reads the same offline and years later. It shows what a
report says and computes no figures; the sounds of the first clips are read again to be heard.
"""

from __future__ import annotations

import base64
import html
import io
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.evaluation.folder import LAG_FREE_REMARK, Report, window_label
from foleyflow.evaluation.metric import Interval
from foleyflow.evaluation.metrics.spectral import HOP_SAMPLES, level_db
from foleyflow.evaluation.scores import (
    ROWS,
    MetricScore,
    better_text,
    figure_text,
    flags,
    one_protocol,
    remarks,
    rows_in,
)
from foleyflow.signals import INT16_FULL_SCALE, Waveform

CLIPS_SHOWN = 4
LONGEST_PLAYED_S = 20.0  # of each sound; a page of hours of sound would not open
LOWEST_DBFS, HIGHEST_DBFS = -100.0, -20.0  # of the spectrograms' colours, per bin
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
.said { color: #5c6475; font-size: 13px; margin: .2rem 0; }
.flag { color: #b3261e; }
img { max-width: 100%; }
audio { width: 22rem; vertical-align: middle; }
"""


def page_text(reports: Mapping[str, Report], *, title: str, clips: int = CLIPS_SHOWN) -> str:
    """The page of one or several systems on the same clips.

    Args:
        reports: system -> report.
        title: heading of the page.
        clips: how many clips are drawn and can be heard, the first by name.

    Returns:
        HTML without any reference to another file or host.

    Raises:
        MediaError: a sound to be shown can't be read any more.
        ConfigError: reports of different protocols.

    Source: ours.
    """
    one_protocol(score for report in reports.values() for score in report.scores.values())
    parts = [f"<h1>{html.escape(title)}</h1>", "<h2>Synchrony</h2>", _synchrony_table(reports)]
    drawn = _lag_drawing(reports)
    parts += [image_tag(drawn, "lags of matched onsets")] if drawn else []
    for name in dict.fromkeys(name for report in reports.values() for name in report.scores):
        scores = {s: r.scores[name] for s, r in reports.items() if name in r.scores}
        parts += _metric_parts(scores)
    parts += _protocol_parts(reports)
    parts += _clip_parts(reports, clips)
    parts += _remark_parts(reports)
    return document_text(parts, title=title)


def document_text(parts: Sequence[str], *, title: str, style: str = "") -> str:
    """A whole document of parts, in the style of all pages.

    Args:
        parts: HTML, one after the other.
        title: of the window.
        style: more rules.

    Source: ours.
    """
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
        for window in report.synchrony.lines:
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
    header = "system,clips,window,F1,shuffled,gain,median lag,onsets true/made".split(",")
    return f"{_table(header, rows)}\n<p>{html.escape(LAG_FREE_REMARK)}</p>"


def _metric_parts(scores: Mapping[str, MetricScore]) -> list[str]:
    """Heading, table, bars and remarks of one metric."""
    first = next(iter(scores.values()))
    shown = rows_in(scores.values())
    rows = [
        [system, *(_cell(score, row) for row in shown), str(_count(score))]
        for system, score in scores.items()
    ]
    parts = [
        f"<h2>{html.escape(first.metric.name)}</h2>",
        f'<p class="said">{html.escape(better_text(first.metric))}. '
        f"{html.escape(first.metric.reference)}</p>",
        _table(["system", *shown.values(), "clips"], rows),
    ]
    if any(score.rows for score in scores.values()):
        parts.append(image_tag(_bar_drawing(scores), f"{first.metric.name} beside its controls"))
    parts += [f'<p class="said flag">{html.escape(flag)}</p>' for flag in flags(scores)]
    for system, score in scores.items():
        for text in remarks(score):
            parts.append(f'<p class="said">{html.escape(f"{system}: {text}")}</p>')
    return parts


def _protocol_parts(reports: Mapping[str, Report]) -> list[str]:
    """What must be known of the protocol that all reports share."""
    protocol = next((r.protocol for r in reports.values() if r.protocol is not None), None)
    if protocol is None:
        return []
    lines = [f'<p class="said">{html.escape(line)}</p>' for line in protocol.to_text().split("\n")]
    return ["<h2>Protocol</h2>", *lines]


def _clip_parts(reports: Mapping[str, Report], clips: int) -> list[str]:
    """Spectrograms and players of the first clips: the true sound, then every system's."""
    names = list(dict.fromkeys(name for report in reports.values() for name in report.files))
    parts = ["<h2>Clips</h2>"] if names and clips else []
    for name in names[:clips]:
        sounds: dict[str, Path] = {}
        for system, report in reports.items():
            generated, true = report.files.get(name, (None, None))
            if true is not None:
                sounds.setdefault(ROWS["true"], true)
            if generated is not None:
                sounds[system] = generated
        parts.append(f"<h3>{html.escape(name)}</h3>")
        for label, path in sounds.items():
            parts.append(_sound_part(label, path, name))
    if len(names) > clips > 0:
        parts.append(f'<p class="said">the first {clips} of {len(names)} clips</p>')
    return parts


def _sound_part(label: str, path: Path, name: str) -> str:
    from foleyflow.media.waveform import read_waveform

    try:
        sound = read_waveform(path)
    except MediaError as error:
        return f'<p class="said flag">{html.escape(f"{label}: {error}")}</p>'
    samples = sound.mono()[: round(LONGEST_PLAYED_S * sound.rate_hz)]
    cut = Waveform(samples=samples[None], rate_hz=sound.rate_hz)
    data = base64.b64encode(_wav_bytes(cut)).decode()
    return (
        f'<p>{html.escape(label)} <audio controls preload="none" '
        f'src="data:audio/wav;base64,{data}"></audio></p>\n'
        + image_tag(spectrogram_drawing(cut), f"spectrogram of {name}, {label}")
    )


def _remark_parts(reports: Mapping[str, Report]) -> list[str]:
    parts = []
    for system, report in reports.items():
        for label, names in report.remarks().items():
            listed = html.escape(", ".join(names))
            parts.append(
                f'<p class="said">{html.escape(f"{system}: {label}: {len(names)}")} ({listed})</p>'
            )
    return ["<h2>Not scored plainly</h2>", *parts] if parts else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table>", "<tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in header) + "</tr>"]
    lines += [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return "\n".join([*lines, "</table>"])


def _cell(score: MetricScore, row: str) -> str:
    return figure_text(score.rows[row]) if row in score.rows else "-"


def _count(score: MetricScore) -> int:
    return score.rows["generated"].count if "generated" in score.rows else 0


def _interval_text(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.2f} ({interval.low:.2f} .. {interval.high:.2f})"


def _lag_drawing(reports: Mapping[str, Report]) -> Drawing | None:
    """How late matched onsets are, a line of steps per system."""
    scored = {s: r.synchrony for s, r in reports.items() if r.synchrony and r.synchrony.matched}
    if not scored:
        return None
    drawing = _drawing(9, 2.6)
    axes = drawing.add_subplot()
    for system, result in scored.items():
        axes.step(
            1000 * result.lags.centres_s, result.lags.counts, where="mid", label=_plain(system)
        )
    axes.axvline(0, color=COLOURS["noise"], linewidth=0.8)
    axes.set_xlabel("lag of matched onsets, ms (positive: late)")
    axes.set_ylabel("onsets")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawing


def _bar_drawing(scores: Mapping[str, MetricScore]) -> Drawing:
    """A bar per system and row, with its interval."""
    drawing = _drawing(9, 0.9 + 0.55 * len(scores) + 0.8)
    axes = drawing.add_subplot()
    labelled: set[str] = set()
    for index, score in enumerate(scores.values()):
        for place, (row, figure) in enumerate(score.rows.items()):
            low, high = (
                (figure.low, figure.high)
                if figure.low is not None and figure.high is not None
                else (figure.value, figure.value)
            )
            axes.barh(
                index + 0.16 * (place - 2),
                figure.value,
                height=0.14,
                color=COLOURS[row],
                label=None if row in labelled else ROWS[row],
                xerr=[[max(0.0, figure.value - low)], [max(0.0, high - figure.value)]],
                error_kw={"linewidth": 0.8},
            )
            labelled.add(row)
    axes.set_yticks(range(len(scores)), [_plain(system) for system in scores])
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return drawing


def spectrogram_drawing(sound: Waveform, *, width: float = 9, height: float = 2.2) -> Drawing:
    """The levels of a sound's first channel over time and frequency; inches of the drawing."""
    drawing = _drawing(width, height)
    axes = drawing.add_subplot()
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
    return drawing


def _drawing(width: float, height: float) -> Drawing:
    drawing = Drawing(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing


def _plain(text: str) -> str:
    """A name as matplotlib draws it: no formulas, and what its font lacks as question marks."""
    return text.replace("$", r"\$").encode("latin-1", "replace").decode("latin-1")


def image_tag(drawing: Drawing, described: str) -> str:
    """A drawing as HTML that needs no file."""
    stream = io.BytesIO()
    drawing.savefig(stream, format="png")
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="{html.escape(described)}" src="data:image/png;base64,{data}">'


def _wav_bytes(sound: Waveform) -> bytes:
    """One channel as a 16-bit wav; what exceeds full scale is clipped."""
    levels: NDArray[np.int16] = np.rint(
        np.clip(sound.samples[0], -1.0, 1.0) * INT16_FULL_SCALE
    ).astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        file.writeframes(levels.tobytes())
    return stream.getvalue()
