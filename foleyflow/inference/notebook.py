"""Shows a result in a notebook: one piece of HTML with a player, a picture and the cues.

It contains all data and refers to no other host. Its size is bounded: the player has the first
seconds, and the table the first cues.
"""

from __future__ import annotations

import base64
import html
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foleyflow.cues.fields import fields_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import import_failure
from foleyflow.inference.report import draw_report, png_of, report_pictures
from foleyflow.media import fit_blocks, write_sound
from foleyflow.system.printable import printable

if TYPE_CHECKING:
    from foleyflow.inference.result import Generated

PLAYED_S = 30.0
LISTED_CUES = 50
_COLUMNS = ("time_s", "end_s", "kind", "material", "level_db", "confidence", "enabled")


def result_html(result: Generated, *, with_pictures: bool) -> str:
    """The HTML of a result.

    Args:
        result: the result.
        with_pictures: read some frames of its video; frames in memory are not read again.

    Raises:
        MediaError: the video can't be read any more.
    """
    info, total_s = result.info, result.sample_count / result.sample_rate_hz
    figure = draw_report(
        pictures=report_pictures(info) if with_pictures and info.is_file else [],
        generated=result.as_waveform(),
        cues=result.cues,
        title=info.path.name,
    )
    notes = [*result.warnings]
    if total_s > PLAYED_S:
        notes.insert(0, f"The player has the first {PLAYED_S:g} s of {total_s:.1f} s.")
    parts = [
        '<div class="foleyflow" style="max-width: 1000px">',
        f'<audio controls src="{_data_url("audio/flac", _flac_of(result))}"></audio>',
        *(f"<p>{html.escape(printable(note))}</p>" for note in notes),
        '<img style="width: 100%" alt="cues, waveform and spectrogram of the sound" '
        f'src="{_data_url("image/png", png_of(figure))}">',
        _cue_table(result.cues),
        "</div>",
    ]
    return "\n".join(parts)


def display_html(text: str) -> None:
    """Shows HTML in a notebook.

    Raises:
        MissingExtra: IPython is not installed.
    """
    try:
        from IPython import display
    except ImportError as error:
        raise import_failure(error, "IPython", "notebook") from error
    shown: Any = display
    shown.display(shown.HTML(text))


def _flac_of(result: Generated) -> bytes:
    """The first seconds of the sound. Notebooks in editors play FLAC, but often no AAC."""
    count = min(result.sample_count, round(PLAYED_S * result.sample_rate_hz))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.flac"
        blocks = fit_blocks(result.blocks(), count)
        return write_sound(path, blocks, result.sample_rate_hz, format="flac").read_bytes()


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _cue_table(cues: CueSheet) -> str:
    """The first cues in a table that opens with a click."""
    rows = []
    for cue in cues[:LISTED_CUES]:
        fields = {**fields_of(cue), "enabled": "yes" if cue.enabled else "no"}
        cells = (html.escape(printable(str(fields.get(name, "")))) for name in _COLUMNS)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    if len(cues) > LISTED_CUES:
        more = f"and {len(cues) - LISTED_CUES} more"
        rows.append(f'<tr><td colspan="{len(_COLUMNS)}">{more}</td></tr>')
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    count = "1 cue" if len(cues) == 1 else f"{len(cues)} cues"
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    return f"<details><summary>{count}</summary>{table}</details>"
