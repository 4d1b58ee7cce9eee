"""Event files contain the events when they are read back."""

from __future__ import annotations

import csv

import pytest

from foleyflow.inference.event_files import midi_bytes, write_events
from foleyflow.signals import Event

EVENTS = (
    Event(time_s=0.0, strength=1.0),
    Event(time_s=0.02, strength=0.5),  # before the first note has ended
    Event(time_s=1.2345, strength=0.004),
    Event(time_s=1.2345, strength=0.25),
    Event(time_s=754.3, strength=0.75),
)


def read_midi(data: bytes) -> tuple[dict[str, int], list[tuple[int, bytes]]]:
    """Header fields and (tick, message) of a one-track MIDI file."""
    assert data[:4] == b"MThd" and data[4:8] == (6).to_bytes(4, "big")
    header = {
        "format": int.from_bytes(data[8:10], "big"),
        "tracks": int.from_bytes(data[10:12], "big"),
        "ticks": int.from_bytes(data[12:14], "big"),
    }
    assert data[14:18] == b"MTrk"
    assert int.from_bytes(data[18:22], "big") == len(data) - 22
    position, tick, messages = 22, 0, []
    while position < len(data):
        delta = 0
        while True:
            byte = data[position]
            position += 1
            delta = delta << 7 | byte & 0x7F
            if byte < 0x80:
                break
        tick += delta
        length = 3 + data[position + 2] if data[position] == 0xFF else 3
        messages.append((tick, data[position : position + length]))
        position += length
    return header, messages


def test_midi_notes_have_the_times_and_strengths_of_the_events():
    header, messages = read_midi(midi_bytes(EVENTS))
    assert (header["format"], header["tracks"]) == (0, 1)
    assert messages[0] == (0, b"\xff\x51\x03" + (500_000).to_bytes(3, "big"))
    assert messages[-1][1] == b"\xff\x2f\x00"
    ticks_per_s = header["ticks"] * 1_000_000 / 500_000
    starts = [(tick / ticks_per_s, message[2]) for tick, message in messages if message[0] == 0x90]
    assert [velocity for _, velocity in starts] == [127, 64, 1, 32, 95]
    for (time_s, _), event in zip(starts, EVENTS, strict=True):
        assert time_s == pytest.approx(event.time_s, abs=0.5 / ticks_per_s + 1e-9)
    ends = [tick for tick, message in messages if message[0] == 0x80]
    assert len(ends) == len(EVENTS)
    assert [tick for tick, _ in messages] == sorted(tick for tick, _ in messages)


def test_midi_without_events_is_a_valid_file():
    _, messages = read_midi(midi_bytes(()))
    assert [message[:2] for _, message in messages] == [b"\xff\x51", b"\xff\x2f"]


def test_csv_and_labels_contain_the_events(tmp_path):
    paths = write_events(tmp_path / "clip.foley.mp4", EVENTS)
    assert [path.name for path in paths] == [
        "clip.foley.mp4.events.csv",
        "clip.foley.mp4.labels.txt",
        "clip.foley.mp4.mid",
    ]
    with paths[0].open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(float(r["time_s"]), float(r["strength"])) for r in rows] == [
        (e.time_s, e.strength) for e in EVENTS
    ]
    for line, event in zip(paths[1].read_text().splitlines(), EVENTS, strict=True):
        start, end, label = line.split("\t")
        assert float(start) == float(end) == event.time_s
        assert label == f"hit {event.strength:.2f}"
    assert paths[2].read_bytes() == midi_bytes(EVENTS)
    assert len(list(tmp_path.iterdir())) == 3


def test_csv_without_events_has_a_header(tmp_path):
    table, labels, _ = write_events(tmp_path / "x.wav", ())
    assert table.read_text() == "time_s,strength\n"
    assert labels.read_text() == ""
