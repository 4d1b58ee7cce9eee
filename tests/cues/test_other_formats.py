"""Cue sheets in the formats of other programs: what survives, and what those programs write."""

from __future__ import annotations

import csv
import io
import logging
import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import mido
import opentimelineio as otio
import pycmx
import pytest
from support.random_cues import random_sheet

from foleyflow.cues.cue import Cue
from foleyflow.cues.files import FORMATS, check_cues, read_cues, write_cues
from foleyflow.cues.labels import label_fields, label_text
from foleyflow.cues.midi_format import FIRST_NOTES, NOTE_MATERIALS, velocity_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

PAL = VideoReference(frame_rate=Fraction(25), start_time_code="10:00:00:00", name="clip.mov")
NTSC = VideoReference(
    frame_rate=Fraction(30_000, 1001), start_time_code="00:59:58;00", name="clip.mov"
)
MATERIALS = ("wood", "metal", "glass")
SHARED = [suffix for suffix, each in FORMATS.items() if each.is_shared]
SHEET = CueSheet(
    cues=(
        Cue(time_s=0.52, level_db=-6, material="wood", confidence=0.9, seed=3),
        Cue(time_s=1.28, kind="roll", end_s=2.96, level_curve_db=(-20, -12, -30), material="metal"),
        Cue(time_s=2.0, material="glass", enabled=False),
        Cue(time_s=3.4, level_db=-3),
    ),
    duration_s=4,
)


def resolution_s(suffix: str, video: VideoReference) -> float:
    """How far a time may be from the written one."""
    exact = {".txt": 0.51e-6, ".reaper.csv": 0.51e-6, ".mid": 0.5 / 19_200 + 1e-9, ".otio": 0.0}
    return exact[suffix] if suffix in exact else 0.5 * video.time_s(1) + 1e-9


@pytest.mark.parametrize("video", [PAL, NTSC], ids=["25", "29.97 drop"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("suffix", SHARED)
def test_random_sheets_keep_what_the_format_stores(tmp_path, suffix, seed, video):
    sheet, path = random_sheet(seed), tmp_path / f"cues{suffix}"
    write_cues(path, sheet, video=video)
    again = read_cues(path, duration_s=sheet.duration_s, materials=None, video=video)
    if suffix == ".otio":
        assert again == sheet
        return
    wanted = sheet.enabled if suffix == ".mid" else sheet
    near_s = resolution_s(suffix, video)
    assert len(again) == len(wanted)
    for found, cue in zip(again, wanted, strict=True):
        assert found.kind == cue.kind and found.enabled == cue.enabled
        assert found.time_s == pytest.approx(cue.time_s, abs=near_s)
        if cue.end_s is not None:
            # At least one frame, tick or microsecond long
            assert found.end_s == pytest.approx(cue.end_s, abs=2.01 * near_s)
        if suffix == ".mid":
            assert found.material == (cue.material if cue.material in NOTE_MATERIALS else None)
            assert velocity_of(found) == velocity_of(cue)
        else:
            assert found.material == cue.material
            assert found.level_db == pytest.approx(cue.loudest_level_db, abs=0.051)
    # A second round changes nothing
    content = path.read_bytes()
    write_cues(path, again, video=video)
    assert path.read_bytes() == content


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_writes_an_empty_sheet(tmp_path, suffix):
    path = tmp_path / f"cues{suffix}"
    write_cues(path, CueSheet(duration_s=2.0), video=PAL)
    assert path.stat().st_size > 0 or suffix == ".txt"
    if FORMATS[suffix].parse:
        found = read_cues(path, duration_s=2.0, materials=(), video=PAL)
        assert found == CueSheet(duration_s=2.0)


def test_labels_are_read_back():
    for cue in SHEET:
        fields = label_fields(label_text(cue))
        assert fields.get("material") == cue.material
        assert fields.get("level_db") == cue.loudest_level_db
        assert fields["kind"] == cue.kind and fields.get("enabled", True) == cue.enabled
    assert label_fields("WOOD -6 dB") == {"material": "WOOD", "level_db": -6.0}
    assert label_fields(" Scrape  metal  -12,5dB (OFF)") == {
        "kind": "scrape",
        "material": "metal",
        "level_db": -12.5,
        "enabled": False,
    }
    assert label_fields("") == {}


def found_in(tmp_path: Path, name: str, content: str | bytes, **given) -> tuple[Cue, ...]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    given = {"duration_s": None, "materials": MATERIALS, "video": PAL} | given
    return read_cues(path, **given).cues


def test_labels_of_audacity(tmp_path, caplog):
    # https://manual.audacityteam.org/man/importing_and_exporting_labels.html, both examples of
    # that page, and a label of Audacity 1.2, which has no end
    text = (
        "2.150000\t2.150000\tpoint label at 2.15 seconds\n"
        "3.400000\t6.100000\tregion label from 3.4 to 6.1 seconds\n"
        "7.000000\t7.000000\tThis Wood was clicked at 6928.456055 Hz\n"
        "\\\t6928.456055\t6928.456055\n"
        "8.5\tMETAL\n"
    )
    assert found_in(tmp_path, "a.txt", text) == (
        Cue(time_s=2.15),
        Cue(time_s=3.4, end_s=6.1, kind="scrape"),
        Cue(time_s=7.0, material="wood"),
        Cue(time_s=8.5, material="metal"),
    )
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith(f"{tmp_path / 'a.txt'}: 2 names without a known material, ")


def test_markers_and_regions_of_reaper(tmp_path):
    # No official description is known. Columns and numbers as in
    # https://deepwiki.com/oatsu-gh/utaupy/5.3-reaper-integration, times as with the ruler in
    # Minutes:Seconds
    text = (
        "#,Name,Start,End,Length,Color\r\n"
        "M1,Wood,0:00.500,,,\r\n"
        'R1,"roll metal, -20.5 dB",1:05.250,1:06.000,0:00.750,FF0000\r\n'
        "R2,,1:00:02.000,1:00:03.500,0:01.500,\r\n"
        "M2,glass -3 dB,2.25,,,\r\n"
    )
    assert found_in(tmp_path, "a.reaper.csv", text) == (
        Cue(time_s=0.5, material="wood"),
        Cue(time_s=2.25, material="glass", level_db=-3),
        Cue(time_s=65.25, kind="roll", end_s=66.0, material="metal", level_db=-20.5),
        Cue(time_s=3602.0, kind="scrape", end_s=3603.5),
    )
    write_cues(tmp_path / "b.reaper.csv", SHEET)
    with (tmp_path / "b.reaper.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[:3] == [
        ["#", "Name", "Start", "End", "Length"],
        ["M1", "hit wood -6.0 dB", "0:00.520000", "", ""],
        ["R1", "roll metal -12.0 dB", "0:01.280000", "0:02.960000", "0:01.680000"],
    ]


def test_midi_of_another_program(tmp_path, caplog):
    """Type 1 with two tempos, two channels, a chord, running status and a long note."""
    tempo = mido.MidiTrack(
        [
            mido.MetaMessage("set_tempo", tempo=500_000),
            mido.MetaMessage("set_tempo", tempo=1_000_000, time=480),
        ]
    )
    notes = mido.MidiTrack(
        [
            mido.Message("note_on", channel=9, note=FIRST_NOTES["hit"] + 1, velocity=127, time=240),
            mido.Message("note_on", channel=9, note=60, velocity=64),  # the same time
            mido.Message("note_on", channel=9, note=60, velocity=0, time=240),
            mido.Message("control_change", channel=0, control=1, value=5),
            mido.Message("note_on", channel=0, note=100, velocity=64, time=480),
            mido.Message("note_off", channel=0, note=100, time=960),
        ]
    )
    stream = io.BytesIO()
    mido.MidiFile(type=1, ticks_per_beat=480, tracks=[tempo, notes]).save(file=stream)
    assert found_in(tmp_path, "a.mid", stream.getvalue()) == (
        Cue(time_s=0.25, material="metal", level_db=0.0),
        Cue(time_s=1.5, level_db=-11.9),
    )
    assert "1 hit is left out: another one has the same time" in caplog.text


def test_midi_notes_are_those_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "cues.md").read_text("utf-8")
    table = re.findall(r"^\| (\w[\w ]*) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    wanted = [
        (name, *(str(FIRST_NOTES[kind] + index) for kind in ("hit", "roll", "scrape")))
        for index, name in enumerate((*NOTE_MATERIALS, "any other"))
    ]
    assert table == wanted
    # Overlapping rolls of one note, and hits closer than the length of a note
    sheet = CueSheet(
        cues=(
            Cue(time_s=0, kind="roll", end_s=2, level_db=0),
            Cue(time_s=1, kind="roll", end_s=3, level_db=0),
            Cue(time_s=1, material="wood", level_db=-10),
            Cue(time_s=1.02, material="wood", level_db=-40),
        )
    )
    write_cues(tmp_path / "a.mid", sheet)
    found = read_cues(tmp_path / "a.mid", duration_s=None, materials=None)
    assert [(cue.time_s, cue.end_s) for cue in found.frictions] == [(0, 2), (1, 3)]
    assert [cue.time_s for cue in found.hits] == pytest.approx([1, 1.02], abs=3e-5)
    midi = mido.MidiFile(tmp_path / "a.mid")
    assert midi.type == 0 and midi.length == pytest.approx(3.0)
    playing: set[tuple[int, int]] = set()
    for message in midi.tracks[0]:
        if message.type == "note_on":
            assert (message.channel, message.note) not in playing
            playing.add((message.channel, message.note))
        elif message.type == "note_off":
            playing.remove((message.channel, message.note))
    assert not playing


def test_markers_of_resolve_and_events_of_edit_lists(tmp_path):
    # Markers: the export that DaVinci Resolve 18's manual describes in "Exporting Timeline Markers
    # to EDL", in the form of lists that it wrote; events: the same manual, "Conforming EDL Files";
    # locators: Avid's, as in the reader of otio-cmx3600-adapter
    head = "TITLE: Pool Shark\nFCM: NON-DROP FRAME\n\n"
    markers = (
        "001  001      V     C        10:00:01:00 10:00:01:01 10:00:01:00 10:00:01:01  \n"
        " |C:ResolveColorBlue |M:Wood |D:1\n\n"
        "002  001      V     C        10:00:02:05 10:00:02:06 10:00:02:05 10:00:02:06  \n"
        "a note |C:ResolveColorRed |M:scrape metal |D:25\n"
    )
    assert found_in(tmp_path, "a.edl", head + markers) == (
        Cue(time_s=1.0, material="wood"),
        Cue(time_s=2.2, kind="scrape", end_s=3.2, material="metal"),
    )
    events = (
        "001 REEL_ONE AA/V C        10:59:23:01 10:59:28:16 10:00:00:00 10:00:05:15\n"
        "* FROM CLIP NAME: glass_take2\n"
        "002 REEL_ONE V     C        11:39:48:15 11:39:48:15 10:00:05:15 10:00:05:15\n"
        "002 REEL_TWO V     D    010 11:39:48:15 11:39:51:13 10:00:05:15 10:00:08:13\n"
    )
    assert found_in(tmp_path, "a.edl", head + events) == (
        Cue(time_s=0.0, material="glass"),
        Cue(time_s=5.6),
    )
    locators = events + "* LOC: 10:00:01:14 RED     metal -6 dB\n"
    assert found_in(tmp_path, "a.edl", head + locators) == (
        Cue(time_s=1.56, material="metal", level_db=-6),
    )


@pytest.mark.parametrize("video", [PAL, NTSC], ids=["25", "29.97 drop"])
def test_edit_lists_are_read_by_pycmx_and_opentimelineio(tmp_path, video):
    path = tmp_path / "cues.edl"
    write_cues(path, SHEET, video=video)
    text = path.read_text()
    edits = [
        edit for event in pycmx.parse_cmx3600(io.StringIO(text)).events for edit in event.edits
    ]
    for cue, edit in zip(SHEET, edits, strict=True):
        start, end = video.frames_of(cue, SHEET.duration_s)
        assert (edit.record_in, edit.record_out) == (video.time_code(start), video.time_code(end))
        assert edit.clip_name == label_text(cue) and edit.channels.audio and not edit.channels.video
    assert ("FCM: DROP FRAME" in text) == video.drops_frames
    timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=float(video.frame_rate))
    clips = timeline.find_clips()
    assert sorted(clip.name for clip in clips) == sorted(map(label_text, SHEET))
    lengths = {clip.name: round(clip.duration().value) for clip in clips}
    for cue in SHEET:
        start, end = video.frames_of(cue, SHEET.duration_s)
        assert lengths[label_text(cue)] == end - start


def test_an_edit_list_of_opentimelineio_is_read(tmp_path):
    rate = 25.0
    track = otio.schema.Track(kind=otio.schema.TrackKind.Video)
    for name, frames in (("wood", 30), ("door", 20), ("metal", 10)):
        length = otio.opentime.TimeRange(
            otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(frames, rate)
        )
        track.append(otio.schema.Clip(name=name, source_range=length))
    timeline = otio.schema.Timeline()
    timeline.tracks.append(track)
    text = otio.adapters.write_to_string(timeline, "cmx_3600", rate=rate)
    video = VideoReference(frame_rate=Fraction(25))  # the adapter starts at 00:00:00:00
    assert found_in(tmp_path, "a.edl", text, video=video) == (
        Cue(time_s=0.0, material="wood"),
        Cue(time_s=1.2),
        Cue(time_s=2.0, material="metal"),
    )


def test_moved_and_renamed_markers_of_opentimelineio(tmp_path):
    path = tmp_path / "cues.otio"
    write_cues(path, SHEET, video=PAL)
    timeline = otio.adapters.read_from_file(path)
    assert timeline.global_start_time.to_timecode() == "10:00:00:00"
    markers = timeline.tracks.markers
    assert [marker.name for marker in markers] == [label_text(cue) for cue in SHEET]
    frame = otio.opentime.RationalTime(1, 25)
    start = markers[0].marked_range.start_time + frame
    markers[0].marked_range = otio.opentime.TimeRange(start, frame)
    markers[1].name = "scrape glass"
    del markers[2]
    # A marker of another program, in the media of the only clip
    clip = next(iter(timeline.find_clips()))
    start = clip.source_range.start_time + otio.opentime.RationalTime(50, 25)
    clip.markers.append(
        otio.schema.Marker(name="METAL", marked_range=otio.opentime.TimeRange(start, frame))
    )
    otio.adapters.write_to_file(timeline, path)
    assert read_cues(path, duration_s=4, materials=MATERIALS, video=PAL).cues == (
        Cue(time_s=0.56, level_db=-6, material="wood", confidence=0.9, seed=3),
        Cue(time_s=1.28, kind="scrape", end_s=2.96, material="glass"),
        Cue(time_s=2.0, material="metal"),
        Cue(time_s=3.4, level_db=-3),
    )
    # The same timeline for a video that starts a second later
    later = VideoReference(frame_rate=Fraction(25), start_time_code="09:59:59:00")
    shifted = read_cues(path, duration_s=5, materials=MATERIALS, video=later)
    assert [cue.time_s for cue in shifted] == pytest.approx([1.56, 2.28, 3.0, 4.4])


def test_tables_for_people(tmp_path):
    write_cues(tmp_path / "a.sheet.csv", SHEET, video=NTSC)
    with (tmp_path / "a.sheet.csv").open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["Time code"] for row in rows] == [
        "00:59:58;16",
        "00:59:59;08",
        "01:00:00;00",
        "01:00:01;12",
    ]
    assert rows[0] == {
        "Cue": "1",
        "Time code": "00:59:58;16",
        "Time (s)": "0.520",
        "End (s)": "",
        "Kind": "hit",
        "Material": "wood",
        "Level (dB)": "-6.0",
        "Confidence": "0.90",
        "Enabled": "yes",
    }
    cells: list[str] = []

    class Cells(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag not in ("script", "link", "img")
            cells.extend([""] if tag == "td" else [])

        def handle_data(self, data):
            if cells and data.strip():
                cells[-1] += data

    odd = SHEET.replace(0, material="<b>&wood")
    write_cues(tmp_path / "a.html", odd, video=NTSC)
    Cells().feed((tmp_path / "a.html").read_text("utf-8"))
    assert cells[5] == "<b>&wood" and cells[:5] == list(rows[0].values())[:5]
    assert len(cells) == len(odd) * len(rows[0])
    with pytest.raises(ConfigError, match=r"a\.html: a table for people, expected \.json, \.csv"):
        read_cues(tmp_path / "a.html", duration_s=None, materials=None, video=NTSC)


COLLECTION = otio.schema.SerializableCollection().to_json_string()
EVENT = "001  AX       A     C        00:00:00:00 00:00:00:01 {} 10:00:09:00\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1\t1\twood\nx\t2\twood\n", ", line 2: 'x': expected seconds"),
        ("a.txt", "1\t1\twood\n12\t12\twood\n", ", line 2: time_s=12.0: expected a time within"),
        ("a.txt", "1\t1\twood 20 dB\n", ", line 1: level_db=20.0: expected -60..12 dB"),
        ("a.txt", "1\t1\troll\n", ", line 1: end_s=None: expected an end, because the cue is a ro"),
        ("a.txt", b"1\t1\t\xff\n", ", line 1: byte 0xff is not UTF-8"),
        ("a.reaper.csv", "", ", line 1: no column 'Name'"),
        ("a.reaper.csv", "#,Name,Start\nM1,a,2.1.00\n", ", line 2: '2.1.00': expected a time such"),
        ("a.reaper.csv", "#,Name,Start\nM1,a,0:0:1:12\n", ", line 2: '0:0:1:12': expected a time"),
        ("a.mid", b"", ": damaged MIDI file ("),
        ("a.mid", b"RIFF....", ": damaged MIDI file ("),
        ("a.mid", bytes.fromhex("4d546864000000060000000101e04d54726b0000000900903f"), ": damaged"),
        (
            "a.mid",
            bytes.fromhex("4d54686400000006000000 01e7284d54726b0000000400ff2f00"),
            "time co",
        ),
        ("a.edl", "some text\n", ": no edit decision list"),
        ("a.edl", "TITLE: a\n001  AX  A  C  10:00:01:00\n", ", line 2: '001  AX  A  C  10:00:01:"),
        ("a.edl", "TITLE: a\n" + EVENT.format("10:00:01:25"), ", line 2: time code '10:00:01:25'"),
        (
            "a.edl",
            "TITLE: a\n" + EVENT.format("01:00:01:00"),
            ", line 2: time_s=-32399.0: expected",
        ),
        ("a.otio", "", ": damaged timeline ("),
        ("a.otio", COLLECTION, ": SerializableCollection: expected a T"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    with pytest.raises(ConfigError) as caught:
        found_in(tmp_path, name, content, duration_s=10.0)
    text = str(caught.value)
    assert text.startswith(str(tmp_path / name)) and message in text
    assert "\n" not in text and caught.value.exit_status == 2 and caught.value.hint


def test_frames_need_a_video(tmp_path):
    for suffix in (each for each in FORMATS if FORMATS[each].needs_video):
        with pytest.raises(ConfigError, match="no video given, expected its frame rate"):
            write_cues(tmp_path / f"a{suffix}", SHEET)
    write_cues(tmp_path / "a.edl", SHEET, video=NTSC)
    check_cues(tmp_path / "a.edl")
    with pytest.raises(ConfigError, match="can't be read"):
        check_cues(tmp_path / "b.edl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.edl"]
