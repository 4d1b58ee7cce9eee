"""Cue sheets for people to read and print, as a table in CSV or HTML; they are not read back."""

from __future__ import annotations

import csv
import html
import io

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference

COLUMNS = (
    "Cue",
    "Time code",
    "Time (s)",
    "End (s)",
    "Kind",
    "Material",
    "Level (dB)",
    "Confidence",
    "Enabled",
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 10pt sans-serif; color: #000; background: #fff; margin: 2em; }}
h1 {{ font-size: 14pt; margin: 0; }}
table {{ border-collapse: collapse; margin-top: 1em; }}
th, td {{ border-bottom: 1px solid #bbb; padding: 0.25em 1em 0.25em 0; text-align: left; }}
td {{ font-variant-numeric: tabular-nums; }}
thead {{ display: table-header-group; }}
tr {{ break-inside: avoid; }}
.off td {{ color: #777; }}
@page {{ margin: 15mm; }}
@media print {{ body {{ margin: 0; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<table>
<thead><tr>{header}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def readable_csv_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A header line and a line for each cue, with a mark by which spreadsheets know UTF-8."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(sheet, video))
    return stream.getvalue().encode("utf-8-sig")


def readable_html_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A page without links or scripts, with the title, a summary and the table."""
    rows = []
    for cue, cells in zip(sheet, _rows(sheet, video), strict=True):
        start = "<tr>" if cue.enabled else '<tr class="off">'
        rows.append(start + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    disabled = len(sheet) - len(sheet.enabled)
    parts = [f"{len(sheet)} cues, {disabled} disabled"]
    if sheet.duration_s is not None:
        parts.append(f"{sheet.duration_s:.3f} s")
    counting = "drop frame" if video.drops_frames else "non-drop frame"
    parts.append(f"{float(video.frame_rate):.6g} frames per second, {counting}")
    title = f"Cue sheet of {video.name}" if video.name else "Cue sheet"
    page = _PAGE.format(
        title=html.escape(title),
        summary=html.escape(" · ".join(parts)),
        header="".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS),
        rows="\n".join(rows),
    )
    return page.encode("utf-8")


def _rows(sheet: CueSheet, video: VideoReference) -> list[tuple[str, ...]]:
    return [_row(number, cue, sheet, video) for number, cue in enumerate(sheet, start=1)]


def _row(number: int, cue: Cue, sheet: CueSheet, video: VideoReference) -> tuple[str, ...]:
    """The cells of a cue, in the order of `COLUMNS`."""
    start, _ = video.frames_of(cue, sheet.duration_s)
    level_db = cue.loudest_level_db
    return (
        str(number),
        video.time_code(start),
        f"{cue.time_s:.3f}",
        "" if cue.end_s is None else f"{cue.end_s:.3f}",
        cue.kind,
        cue.material or "",
        "" if level_db is None else f"{level_db:.1f}",
        "" if cue.confidence is None else f"{cue.confidence:.2f}",
        "yes" if cue.enabled else "no",
    )
