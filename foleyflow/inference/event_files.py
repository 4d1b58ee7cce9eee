"""Writes cues as files for other programs: JSON, CSV, Audacity labels and MIDI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foleyflow.cues.cue import Cue
from foleyflow.cues.files import write_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.system.atomic_files import draft_of

TICKS_PER_QUARTER = 480
MICROSECONDS_PER_QUARTER = 500_000  # 120 beats a minute: 960 ticks a second
NOTE = 60
NOTE_TICKS = 48
SHEET_SUFFIXES = (".cues.json", ".cues.csv")
EVENT_SUFFIXES = (*SHEET_SUFFIXES, ".labels.txt", ".mid")


def write_event_files(output: Path, cues: CueSheet) -> list[Path]:
    """Writes files with the name of the output and each of `EVENT_SUFFIXES`; returns their paths.

    The cue sheets contain all cues, labels and MIDI only the enabled ones.
    """
    enabled = cues.enabled
    lines = [
        f"{cue.time_s:.4f}\t{cue.end_s or cue.time_s:.4f}\t{cue_label(cue)}\n" for cue in enabled
    ]
    for suffix in SHEET_SUFFIXES:
        write_cues(output.with_name(output.name + suffix), cues)
    contents = {".labels.txt": "".join(lines).encode(), ".mid": midi_bytes(enabled)}
    for suffix, content in contents.items():
        with draft_of(output.with_name(output.name + suffix)) as draft:
            draft.write_bytes(content)
    return [output.with_name(output.name + suffix) for suffix in EVENT_SUFFIXES]


def cue_label(cue: Cue) -> str:
    """A short label such as "hit wood -6 dB", with the loudest level of a roll or scrape."""
    level_db = max(cue.level_curve_db, default=cue.level_db)
    parts = [cue.kind, cue.material or "", "" if level_db is None else f"{level_db:.0f} dB"]
    return " ".join(part for part in parts if part)


def amplitude_01(cue: Cue) -> float:
    """Amplitude of a cue, 1 at 0 dB and above, and where the level is left to the model."""
    level_db = max(cue.level_curve_db, default=cue.level_db)
    return 1.0 if level_db is None else min(1.0, 10 ** (level_db / 20))


def midi_bytes(cues: Sequence[Cue]) -> bytes:
    """A MIDI file with one track and one short note per cue; velocity is the amplitude.

    Reference: standard MIDI file, format 0 (MIDI 1.0 specification, 1996).
    """
    ticks_per_s = TICKS_PER_QUARTER * 1_000_000 / MICROSECONDS_PER_QUARTER
    messages: list[tuple[int, bytes]] = []
    for cue in cues:
        start = round(cue.time_s * ticks_per_s)
        velocity = max(1, min(127, round(127 * amplitude_01(cue))))
        messages.append((start, bytes([0x90, NOTE, velocity])))
        messages.append((start + NOTE_TICKS, bytes([0x80, NOTE, 0])))
    track = b"\x00\xff\x51\x03" + MICROSECONDS_PER_QUARTER.to_bytes(3, "big")
    now = 0
    for tick, message in sorted(messages, key=lambda pair: pair[0]):
        track += _variable_length(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + b"\x00\x00\x00\x01"
    header += TICKS_PER_QUARTER.to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def _variable_length(value: int) -> bytes:
    """A variable-length number of MIDI: seven bits per byte, all bytes but the last marked."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append((value & 0x7F) | 0x80)
    return bytes(reversed(groups))
