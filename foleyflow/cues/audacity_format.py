"""Cue sheets as labels of Audacity: a line with start, end and text for each cue.

Reference: https://manual.audacityteam.org/man/importing_and_exporting_labels.html
"""

from __future__ import annotations

from foleyflow.cues.fields import StoredCues, decode_utf8
from foleyflow.cues.labels import label_text, marker_fields
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

_SHORTEST_REGION_S = 1e-6  # times have six decimals


def parse_labels(data: bytes, file: str, video: VideoReference) -> StoredCues:
    """Parse labels; `file` names them in errors.

    Lines of frequency ranges, which begin with a backslash, are skipped. Lines of Audacity 1.2 have
    no end.

    Raises:
        ConfigError: a line is not a label.
    """
    rows = []
    for number, line in enumerate(decode_utf8(data, file).splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        start, _, rest = line.partition("\t")
        end, _, text = rest.partition("\t")
        start_s, end_s = _seconds(start), _seconds(end)
        if start_s is None:
            raise ConfigError(
                f"{file}, line {number}: {start!r}: expected seconds",
                hint="a label is a line with start, end and text, separated by tabs",
            )
        if end_s is None:
            text = rest
        rows.append((f"line {number}", marker_fields(text, start_s, end_s)))
    return StoredCues(rows=rows, slack_s=0.001)


def labels_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A line for each cue; both times of a hit are equal."""
    lines = []
    for cue in sheet:
        end_s = cue.time_s
        if cue.end_s is not None:
            end_s = max(cue.end_s, cue.time_s + _SHORTEST_REGION_S)
        lines.append(f"{cue.time_s:.6f}\t{end_s:.6f}\t{label_text(cue)}\n")
    return "".join(lines).encode("utf-8")


def _seconds(text: str) -> float | None:
    """The number of seconds; None if the text is no number. Some languages write a comma."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
