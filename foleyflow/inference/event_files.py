"""Writes the cues of a result as files for editing and for other programs."""

from __future__ import annotations

from pathlib import Path

from foleyflow.cues.files import write_cues
from foleyflow.cues.sheet import CueSheet

SHEET_SUFFIXES = (".cues.json", ".cues.csv")
SOUNDING_SUFFIXES = (".labels.txt", ".mid")
EVENT_SUFFIXES = (*SHEET_SUFFIXES, *SOUNDING_SUFFIXES)


def write_event_files(output: Path, cues: CueSheet) -> list[Path]:
    """Writes files with the name of the output and each of `EVENT_SUFFIXES`; returns their paths.

    The cue sheets contain all cues, labels and MIDI only the enabled ones.
    """
    for suffix in EVENT_SUFFIXES:
        shown = cues.enabled if suffix in SOUNDING_SUFFIXES else cues
        write_cues(output.with_name(output.name + suffix), shown)
    return [output.with_name(output.name + suffix) for suffix in EVENT_SUFFIXES]
