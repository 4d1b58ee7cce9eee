"""Writes events as files for other programs: CSV, Audacity labels and MIDI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foleyflow.signals import Event
from foleyflow.system.atomic_files import draft_of

TICKS_PER_QUARTER = 480
MICROSECONDS_PER_QUARTER = 500_000  # 120 beats a minute: 960 ticks a second
NOTE = 60
NOTE_TICKS = 48
EVENT_SUFFIXES = (".events.csv", ".labels.txt", ".mid")


def write_events(output: Path, events: Sequence[Event]) -> list[Path]:
    """Writes OUTPUT.events.csv, OUTPUT.labels.txt and OUTPUT.mid, and returns their paths."""
    rows = [f"{event.time_s:.4f},{event.strength:.4f}\n" for event in events]
    lines = [
        f"{event.time_s:.4f}\t{event.time_s:.4f}\thit {event.strength:.2f}\n" for event in events
    ]
    contents = (
        ("time_s,strength\n" + "".join(rows)).encode(),
        "".join(lines).encode(),
        midi_bytes(events),
    )
    paths = [output.with_name(output.name + suffix) for suffix in EVENT_SUFFIXES]
    for path, content in zip(paths, contents, strict=True):
        with draft_of(path) as draft:
            draft.write_bytes(content)
    return paths


def midi_bytes(events: Sequence[Event]) -> bytes:
    """A MIDI file with one track and one short note per event; velocity is the strength.

    Reference: standard MIDI file, format 0 (MIDI 1.0 specification, 1996).
    """
    ticks_per_s = TICKS_PER_QUARTER * 1_000_000 / MICROSECONDS_PER_QUARTER
    messages: list[tuple[int, bytes]] = []
    for event in events:
        start = round(event.time_s * ticks_per_s)
        velocity = max(1, min(127, round(127 * event.strength)))
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
