"""`foleyflow generate --reference`: generated hits follow a recorded one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.cli_model import check_refusal, make_model, run_cli
from support.click_sounds import write_sound
from support.media_files import make_video, square_painter

from foleyflow.experiments.reference_hits import SoundedHit, spectral_distances_db
from foleyflow.inference.pipeline import FoleyFlow

RATE_HZ = 48_000
HITS_S = (0.6, 1.9)
CUES = [
    {"time_s": HITS_S[0], "level_db": -6.0, "material": "glass", "pitch_hz": 500.0},
    {"time_s": HITS_S[1], "level_db": -9.0, "striker": "wood", "decay_s": 0.2},
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(path, n_frames=90, painter=square_painter(7))  # 3.6 s, two windows


@pytest.fixture(scope="module")
def sheet(clip) -> Path:
    path = clip.with_name("cues.json")
    path.write_text(json.dumps({"format": "foleyflow cues", "version": 1, "cues": CUES}))
    return path


def ring(modes_hz, fall_s: float) -> np.ndarray:
    """A struck body, (n,), at its loudest at the start."""
    t = np.arange(round(0.5 * RATE_HZ)) / RATE_HZ
    modes = [np.exp(-t / fall_s) * np.sin(2 * np.pi * mode_hz * t) for mode_hz in modes_hz]
    return np.sum(modes, axis=0) / len(modes_hz)


DULL, BRIGHT = ring((180, 310, 520), 0.02), ring((2_300, 5_100, 7_900), 0.08)


@pytest.fixture(scope="module")
def knock(clip) -> Path:
    """A recorded hit after some silence."""
    path = clip.with_name("knock.wav")
    write_sound(path, 0.5 * np.concatenate([np.zeros(900), DULL]), RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture
def generate(clip, sheet, model):
    """Runs `generate` with the cues, by default with the small model; returns the JSON."""

    def run(*arguments, with_model=("--model", model)):
        outcome = run_cli("generate", clip, *arguments, *with_model, "--audio-only", "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.answer

    return lambda *arguments, **options: run(*arguments, "--cues", sheet, **options)


def test_hits_are_nearer_to_their_reference_than_to_another(generate, tmp_path):
    recorded = [SoundedHit(sound=each.astype(np.float32), time_s=0.0) for each in (DULL, BRIGHT)]
    made = []
    for number, each in enumerate(recorded):
        path = tmp_path / f"{number}.wav"
        write_sound(path, each.sound, RATE_HZ)
        output = tmp_path / f"{number}.out.wav"
        generate("--reference", path, "-o", output, with_model=())  # the embedded model
        sound, _ = soundfile.read(output, dtype="float32")
        made += [SoundedHit(sound=sound, time_s=time_s) for time_s in HITS_S]
    distances_db = spectral_distances_db(made, recorded, RATE_HZ)
    own = np.array([[True, False]] * 2 + [[False, True]] * 2)
    assert (distances_db[own] < distances_db[~own]).all(), distances_db
    assert distances_db[own].mean() < 0.7 * distances_db[~own].mean()


def test_cues_keep_their_times_and_levels_alone(generate, knock, tmp_path):
    answer = generate("--reference", knock, "-o", tmp_path / "a.wav")
    assert answer["reference"] == str(knock)
    assert [set(cue) for cue in answer["cues"]] == [{"time_s", "kind", "level_db", "enabled"}] * 2
    answer = generate("--reference", knock, "--material", "wood", "-o", tmp_path / "b.wav")
    assert [cue["material"] for cue in answer["cues"]] == ["wood", "wood"]
    assert generate("-o", tmp_path / "c.wav")["reference"] is None
    first, second, third = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert len({first, second, third}) == 3


def test_level_and_place_of_the_recorded_hit_have_no_effect(generate, knock, tmp_path):
    quiet = tmp_path / "quiet.wav"
    sound = np.concatenate([np.zeros(20_000), DULL]) / 16
    write_sound(quiet, np.stack([sound, sound], 1), RATE_HZ, subtype="FLOAT")
    for name, path in (("a", knock), ("b", quiet)):
        generate("--reference", path, "-o", tmp_path / f"{name}.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_edits_keep_the_reference(clip, generate, knock, tmp_path):
    first = tmp_path / "first.wav"
    answer = generate(
        "--reference", knock, "-o", first, "--sidecar", "--candidates", "2", "--stems", "cue"
    )
    # The stems add up to the sound
    mix = np.round(soundfile.read(first)[0] * 2**23).astype(int)
    total = np.zeros_like(mix)
    for stem in answer["stems"]:
        samples = np.round(soundfile.read(stem["file"])[0] * 2**23).astype(int)
        start = round(stem["start_s"] * RATE_HZ)
        total[start : start + len(samples)] += samples
    np.testing.assert_array_equal(total, mix)
    # The same sound again, and with another range
    for name, options in (("same", ()), ("range", ("--range", "1.8:2.4"))):
        outcome = run_cli("generate", clip, "--of", first, *options, "-o", tmp_path / f"{name}.wav")
        assert outcome.status == 0, outcome.stderr
    assert (tmp_path / "same.wav").read_bytes() == first.read_bytes()
    old, new = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("same", "range"))
    times_s = np.flatnonzero(old != new) / RATE_HZ
    assert len(times_s) and 1.8 <= times_s.min() and times_s.max() < 2.4


def test_a_reference_in_python(model, clip, knock):
    flow = FoleyFlow.from_pretrained(model, device="cpu")
    best, other = flow.candidates(clip, count=2, reference=knock, seed=3)
    again = flow.generate(clip, reference=knock, seed=best.seed)
    assert best.result.waveform.tobytes() == again.waveform.tobytes()
    assert {best.seed, other.seed} == {3, 4}
    assert again.settings["reference"] == str(knock)


def test_a_reference_that_cannot_be_used_is_refused(model, clip, sheet, knock, tmp_path):
    silent = tmp_path / "silent.wav"
    write_sound(silent, np.zeros(RATE_HZ), RATE_HZ)
    plain = make_model(tmp_path / "plain", with_cue_tracks=False)
    for options, message in (
        (("--reference", tmp_path / "missing.wav"), "missing.wav"),
        (("--reference", silent), "silent.wav: is silent, expected a recorded hit"),
        (("--reference", sheet), "cues.json"),
        (("--reference", knock, "--library", tmp_path), "--reference with --library"),
        (("--reference", knock, "--material", "wod"), "material 'wod'"),
        (("--reference", knock, "--model", plain), "generates from the video alone"),
    ):
        output = tmp_path / "a.wav"
        outcome = run_cli(
            "generate", clip, "--model", model, "--audio-only", "-o", output, *options
        )
        assert message in check_refusal(outcome)
        assert not output.exists()
    with pytest.raises(Exception, match="a reference and a library were given"):
        FoleyFlow.from_pretrained(model).generate(clip, reference=knock, library=tmp_path / "x")


def test_the_plan_contains_the_reference(model, clip, knock):
    outcome = run_cli("generate", clip, "--model", model, "--reference", knock, "--dry-run")
    assert outcome.answer["settings"]["reference"] == str(knock)
