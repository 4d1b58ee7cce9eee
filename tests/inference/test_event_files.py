"""Event files contain the cues when they are read back."""

from __future__ import annotations

import pytest

from foleyflow.cues.cue import Cue
from foleyflow.cues.files import read_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.event_files import midi_bytes, write_event_files

CUES = CueSheet(
    cues=(
        Cue(time_s=0.0, level_db=3.0, material="wood"),
        Cue(time_s=0.02, level_db=-6.0, confidence=0.9),  # before the first note has ended
        Cue(time_s=0.5, material="glass", enabled=False),
        Cue(time_s=1.2345, level_db=-50.0),
        Cue(time_s=2.0, kind="roll", end_s=3.5, level_curve_db=(-40.0, -12.0), material="metal"),
        Cue(time_s=754.3, level_db=-2.5),
        Cue(time_s=754.4),
    )
)
LABELS = (
    (0.0, 0.0, "hit wood 3 dB"),
    (0.02, 0.02, "hit -6 dB"),
    (1.2345, 1.2345, "hit -50 dB"),
    (2.0, 3.5, "roll metal -12 dB"),
    (754.3, 754.3, "hit -2 dB"),
    (754.4, 754.4, "hit"),
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


def test_midi_notes_have_the_times_and_amplitudes_of_the_cues():
    header, messages = read_midi(midi_bytes(CUES.enabled))
    assert (header["format"], header["tracks"]) == (0, 1)
    assert messages[0] == (0, b"\xff\x51\x03" + (500_000).to_bytes(3, "big"))
    assert messages[-1][1] == b"\xff\x2f\x00"
    ticks_per_s = header["ticks"] * 1_000_000 / 500_000
    starts = [(tick / ticks_per_s, message[2]) for tick, message in messages if message[0] == 0x90]
    # 127 times the amplitude, at least 1; the loudest level of a curve
    assert [velocity for _, velocity in starts] == [127, 64, 1, 32, 95, 127]
    for (time_s, _), cue in zip(starts, CUES.enabled, strict=True):
        assert time_s == pytest.approx(cue.time_s, abs=0.5 / ticks_per_s + 1e-9)
    ends = [tick for tick, message in messages if message[0] == 0x80]
    assert len(ends) == len(CUES.enabled)
    assert [tick for tick, _ in messages] == sorted(tick for tick, _ in messages)


def test_midi_without_cues_is_a_valid_file():
    _, messages = read_midi(midi_bytes(()))
    assert [message[:2] for _, message in messages] == [b"\xff\x51", b"\xff\x2f"]


def test_sheets_have_all_cues_and_labels_those_that_sound(tmp_path):
    paths = write_event_files(tmp_path / "clip.foley.mp4", CUES)
    assert [path.name for path in paths] == [
        "clip.foley.mp4.cues.json",
        "clip.foley.mp4.cues.csv",
        "clip.foley.mp4.labels.txt",
        "clip.foley.mp4.mid",
    ]
    for path in paths[:2]:
        assert read_cues(path, duration_s=None, materials=None) == CUES
    for line, expected in zip(paths[2].read_text().splitlines(), LABELS, strict=True):
        start, end, label = line.split("\t")
        assert (float(start), float(end), label) == expected
    assert paths[3].read_bytes() == midi_bytes(CUES.enabled)
    assert len(list(tmp_path.iterdir())) == 4


def test_files_without_cues_are_valid(tmp_path):
    sheet, table, labels, _ = write_event_files(tmp_path / "x.wav", CueSheet())
    assert read_cues(sheet, duration_s=None, materials=None) == CueSheet()
    assert table.read_text().startswith("time_s,kind,") and labels.read_text() == ""
