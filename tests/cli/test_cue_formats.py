"""Cue sheets of other programs through `spot` and `generate`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import mido
import pytest
from support.cli_model import check_refusal, make_model, run_cli
from support.media_files import make_video, square_painter

from foleyflow.cues.files import read_cues
from foleyflow.cues.video_reference import VideoReference

START = "01:00:00;00"
RATE = Fraction(30_000, 1001)
FLAGS = ("--audio-only", "--json")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model whose cues differ in their confidence."""
    return make_model(tmp_path_factory.mktemp("model"), certainty=2.0)


@pytest.fixture
def video(tmp_path) -> Path:
    """A video of 2.002 s at 29.97 frames per second, with time code of dropped numbers."""
    return make_video(
        tmp_path / "clip.mov",
        n_frames=60,
        rate=RATE,
        painter=square_painter(13),
        metadata={"timecode": START},
    )


@pytest.mark.parametrize("suffix", [".edl", ".otio"])
def test_lists_of_editing_programs_follow_the_time_code_of_the_video(
    model, video, tmp_path, suffix
):
    path = tmp_path / f"cues{suffix}"
    answer = run_cli("spot", video, "-o", path, "--model", model, "--json").answer
    assert len(answer["cues"]) > 3
    reference = VideoReference(frame_rate=RATE, start_time_code=START)
    if suffix == ".edl":
        text = path.read_text()
        assert "TITLE: clip.mov\nFCM: DROP FRAME\n" in text
        for cue in answer["cues"]:
            assert reference.time_code(reference.nearest_frame(cue["time_s"])) in text
    sheet = read_cues(path, duration_s=answer["duration_s"], materials=None, video=reference)
    again = run_cli(
        "generate", video, *FLAGS, "-o", tmp_path / "a.wav", "--cues", path, "--model", model
    )
    assert again.status == 0, again.stderr
    assert [cue["time_s"] for cue in again.answer["cues"]] == [cue.time_s for cue in sheet]
    assert again.answer["cue_file"] == str(path)


def test_notes_of_a_sequencer_are_generated(model, video, tmp_path):
    track = mido.MidiTrack(
        [
            mido.Message("note_on", note=38, velocity=127, time=480),  # 0.5 s
            mido.Message("note_on", note=72, velocity=40, time=960),  # 1.5 s
        ]
    )
    path = tmp_path / "cues.mid"
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(path)
    out = tmp_path / "a.wav"
    answer = run_cli("generate", video, *FLAGS, "-o", out, "--cues", path, "--model", model).answer
    shown = [(cue["time_s"], cue.get("material"), cue["level_db"]) for cue in answer["cues"]]
    assert shown == [(0.5, "glass", 0.0), (1.5, None, -20.07)]
    assert out.exists()


def test_names_that_are_no_materials_are_one_warning(model, video, tmp_path):
    path = tmp_path / "cues.txt"
    path.write_text("0.5\t0.5\tKick at door\n1.0\t1.0\tsnare\n1.5\t1.5\tGLASS 1\n")
    outcome = run_cli("generate", video, "--audio-only", "--cues", path, "--model", model)
    assert outcome.status == 0
    named = [line for line in outcome.error_lines if "without a known material" in line]
    assert len(named) == 1 and "2 names" in named[0] and "'Kick at door'" in named[0]


def test_tables_for_people_are_written_and_not_read(model, video, tmp_path):
    path = tmp_path / "cues.html"
    outcome = run_cli("spot", video, "-o", path, "--model", model)
    assert outcome.status == 0 and "generate" not in outcome.stdout
    assert "Cue sheet of clip.mov" in path.read_text()
    outcome = run_cli("generate", video, "--cues", path, "--model", model)
    assert check_refusal(outcome).startswith(f"foleyflow: {path}: a table for people, expected")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.edl", "no list", ": no edit decision list"),
        ("a.edl", "TITLE: a\n001 nothing\n", ", line 2: '001 nothing': expected an event"),
        ("a.mid", "no notes", ": damaged MIDI file"),
        ("a.txt", "soon\tlater\twood\n", ", line 1: 'soon': expected seconds"),
    ],
)
def test_a_bad_list_is_one_line(model, video, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    line = check_refusal(run_cli("generate", video, "--cues", path, "--model", model))
    assert line.startswith(f"foleyflow: {path}{message}")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([name, "clip.mov"])
