"""`foleyflow generate --library`: recorded sounds replace the model for cues of their materials."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.cli_model import check_refusal, run_cli
from support.click_sounds import write_sound
from support.media_files import make_video, square_painter, video_packet_bytes
from support.sound_folders import lag_samples, steady, strike, write_strikes

from foleyflow.cues.files import read_cues
from foleyflow.library import SoundLibrary, place
from foleyflow.media import read_waveform

RATE_HZ = 48_000
HITS_S = (0.3137, 1.0002, 1.7771, 2.9003)
SCRAPE_S = (2.2, 2.7)
CUES = [
    *({"time_s": time_s, "material": "wood", "level_db": -12.0} for time_s in HITS_S),
    {"time_s": 0.6, "material": "glass", "level_db": -12.0},
    {
        "time_s": SCRAPE_S[0], "end_s": SCRAPE_S[1], "kind": "scrape", "material": "metal",
        "level_db": -20.0,
    },
]  # fmt: skip
PLAIN = ("--audio-only", "--loudness", "off")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory):
    """The index of a library goes to the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(path, n_frames=100, painter=square_painter(7))


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """Hits of wood at another rate, and a scrape of metal."""
    folder = tmp_path_factory.mktemp("library")
    write_strikes(folder, [0.5], rate_hz=44_100, onset_sample=1234)
    sound = steady(duration_s=0.2)
    write_sound(folder / "metal" / "scrape.wav", sound, RATE_HZ, subtype="FLOAT")
    return folder


def write_sheet(path: Path, cues: list[dict]) -> Path:
    path.write_text(json.dumps({"format": "foleyflow cues", "version": 1, "cues": cues}))
    return path


@pytest.fixture
def generate(model, tmp_path):
    """Runs `generate` with the small model and cues, which must succeed; returns the JSON."""

    def run(*arguments, cues=CUES):
        sheet = write_sheet(tmp_path / "cues.json", cues)
        outcome = run_cli("generate", *arguments, "--model", model, "--cues", sheet, "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.answer

    return run


@pytest.fixture
def added(generate, clip, library, tmp_path):
    """What the library adds to the sound of the other cues, (n,)."""
    without = [{**cue, "enabled": cue["material"] == "glass"} for cue in CUES]
    generate(clip, "-o", tmp_path / "without.wav", *PLAIN, cues=without)
    options = ("--library", library, "--library-variation", "off")
    generate(clip, "-o", tmp_path / "with.wav", *PLAIN, *options)
    sounds = [read_waveform(tmp_path / f"{name}.wav").samples[0] for name in ("with", "without")]
    return sounds[0] - sounds[1]


def test_sounds_are_placed_to_the_sample(added):
    for time_s in HITS_S:
        assert abs(lag_samples(added, time_s, RATE_HZ)) <= 1
    for edge_s, side in ((SCRAPE_S[0], -1), (SCRAPE_S[1], 0)):
        edge = round(edge_s * RATE_HZ)
        silent, sounding = (added[edge + k * 480 : edge + (k + 1) * 480] for k in (side, ~side))
        assert np.abs(silent).max() < 2**-20
        assert np.abs(sounding).max() > 1e-3


def test_other_cues_sound_as_without_the_library(added, library, tmp_path):
    """The sum of the model's sound and `place`, up to the rounding to 24 bits."""
    sheet = read_cues(write_sheet(tmp_path / "all.json", CUES), duration_s=None, materials=None)
    opened = SoundLibrary.open(library)
    stem, _ = place(sheet, opened, duration_s=4.0, rate_hz=RATE_HZ, seed=0, vary=False)
    assert len(stem) == len(added)
    assert np.abs(added - stem).max() < 2**-21
    assert np.abs(stem).max() > 0.1


def test_the_answer_names_the_sounds(generate, clip, library, tmp_path):
    answer = generate(clip, "-o", tmp_path / "a.mp4", "--library", library, "--sidecar")
    assert video_packet_bytes(tmp_path / "a.mp4") == video_packet_bytes(clip)
    assert (answer["library"], answer["library_variation"]) == (str(library), True)
    sounds = answer["library_sounds"]
    assert [sound["file"] for sound in sounds] == ["wood/0.wav"] * 3 + [
        "metal/scrape.wav",
        "wood/0.wav",
    ]
    assert [answer["cues"][sound["cue_index"]]["material"] for sound in sounds] == (
        ["wood"] * 3 + ["metal", "wood"]
    )
    assert all(len(sound["sha256"]) == 64 for sound in sounds)
    record = json.loads((tmp_path / "a.mp4.json").read_text())
    assert record["library_sounds"] == sounds


def test_variation_changes_the_sound_and_the_seed_repeats_it(generate, clip, library, tmp_path):
    options = (*PLAIN, "--library", library)
    generate(clip, "-o", tmp_path / "a.wav", *options)
    generate(clip, "-o", tmp_path / "b.wav", *options, "--library-variation", "on")
    answer = generate(clip, "-o", tmp_path / "c.wav", *options, "--library-variation", "off")
    assert answer["library_variation"] is False
    first, again, other = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert first == again != other


def test_files_without_a_material_are_a_warning(generate, clip, library, tmp_path):
    write_sound(library / "wod_knock.wav", strike(), RATE_HZ)
    answer = generate(clip, "-o", tmp_path / "a.wav", *PLAIN, "--library", library)
    (library / "wod_knock.wav").unlink()
    assert len(answer["warnings"]) == 1
    assert "wod_knock.wav" in answer["warnings"][0]
    assert "did you mean wood?" in answer["warnings"][0]


def test_a_library_without_a_sound_for_any_cue_is_a_warning(generate, clip, tmp_path):
    write_strikes(tmp_path / "stones", [0.5], material="stone")
    answer = generate(clip, "-o", tmp_path / "a.wav", *PLAIN, "--library", tmp_path / "stones")
    assert answer["library_sounds"] == []
    assert answer["warnings"] == ["the library has no sound for any cue; its materials are stone"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--library", "missing"), "missing: no such folder"),
        (("--library-variation", "off"), "--library-variation off without --library"),
    ],
)
def test_a_library_that_cannot_be_used_is_refused(model, clip, tmp_path, options, message):
    outcome = run_cli("generate", clip, "--model", model, "-o", tmp_path / "a.mp4", *options)
    assert message in check_refusal(outcome)
    assert not (tmp_path / "a.mp4").exists()


def test_the_plan_contains_the_library(model, clip, library):
    outcome = run_cli("generate", clip, "--model", model, "--library", library, "--dry-run")
    settings = outcome.answer["settings"]
    assert (settings["library"], settings["library_variation"]) == (str(library), True)
