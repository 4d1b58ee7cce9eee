"""Several takes: onsets of sounds, agreement with cues, and the order of the takes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.cli_model import make_model
from support.click_sounds import clicks
from support.media_files import make_video

from foleyflow import Cue, CueSheet, FoleyFlow
from foleyflow.errors import ConfigError
from foleyflow.inference.candidates import CandidateScores, level_agreement, onset_agreement
from foleyflow.inference.sound_onsets import find_onsets
from foleyflow.inference.sound_spool import SoundPatch

RATE_HZ = 48_000
TIMES_S = (0.2, 0.7, 0.85, 1.9, 9.99, 10.02, 10.7)
CUES = CueSheet(cues=tuple(Cue(time_s=t, material="wood", level_db=-6.0) for t in (0.5, 1.5, 2.5)))


def onsets_of(sound: np.ndarray, *, piece: int = 5_000) -> np.ndarray:
    samples = sound.astype(np.float32)[None]
    return find_onsets(
        lambda: (samples[:, at : at + piece] for at in range(0, samples.shape[1], piece)), RATE_HZ
    )


def test_the_onsets_of_clicks_are_found_within_five_milliseconds():
    """The click at 10 s is next to the border of two blocks of the detector."""
    sound = clicks(TIMES_S, duration_s=11.0, rate_hz=RATE_HZ)
    found = onsets_of(sound)
    assert len(found) == len(TIMES_S)
    assert np.abs(found - TIMES_S).max() < 0.005
    assert abs(np.mean(found - TIMES_S)) < 0.002
    np.testing.assert_allclose(onsets_of(sound, piece=48_001), found, atol=1e-4)
    np.testing.assert_allclose(onsets_of(0.01 * sound), found, atol=1e-3)


def test_silence_steady_noise_and_no_sound_have_no_onsets():
    assert len(onsets_of(np.zeros(RATE_HZ))) == len(onsets_of(np.zeros(0))) == 0
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE_HZ)
    assert len(onsets_of(noise)[1:]) == 0  # it begins with one


@pytest.mark.parametrize(
    ("onsets_s", "expected"),
    [
        ((0.5, 1.5, 2.5), 1.0),
        ((0.46, 1.54, 2.5), 1.0),
        ((0.5, 1.5), 2 * 2 / 5),
        ((0.5, 1.5, 2.0, 2.5), 2 * 3 / 7),
        ((0.44, 1.5, 2.5), 2 * 2 / 6),
        ((0.48, 0.52, 1.5, 2.5), 2 * 3 / 7),
        ((), 0.0),
    ],
)
def test_onset_agreement_is_the_f1(onsets_s, expected):
    assert onset_agreement(np.array(onsets_s), CUES) == pytest.approx(expected)


def test_onsets_during_friction_need_no_hit():
    roll = Cue(time_s=3.0, kind="roll", end_s=4.0)
    found = np.array([0.5, 1.5, 2.5, 3.02, 3.5, 4.05])
    assert onset_agreement(found, CUES.add(roll)) == 1.0
    assert onset_agreement(found, CUES) == pytest.approx(2 * 3 / 9)
    assert onset_agreement(found, CueSheet(cues=(roll,))) is None
    disabled = CueSheet(cues=tuple(dataclasses.replace(cue, enabled=False) for cue in CUES))
    assert onset_agreement(found, disabled) is None


def test_the_total_is_the_mean_of_what_is_known():
    assert CandidateScores(onsets=0.5, levels=None, synchrony=1.0).total == 0.75
    assert CandidateScores(onsets=None, levels=None, synchrony=None).total == 0.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return FoleyFlow.from_pretrained(make_model(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", n_frames=80)


def test_the_level_agreement_of_known_peaks(model, clip):
    """Peaks 0, 3 and 6 dB above their levels are half, and so on, of the 12 dB that count."""
    result = model.generate(clip, cues=CUES)
    take, samples = result._take, np.zeros(result.sample_count, np.float32)
    for cue, error_db in zip(CUES, (0.0, 3.0, 6.0), strict=True):
        samples[round(cue.time_s * RATE_HZ)] = 0.45 * take.gain * 10 ** ((-6.0 + error_db) / 20)
    patched = dataclasses.replace(take, sound_patches=(SoundPatch(start=0, samples=samples),))
    known = dataclasses.replace(result, _take=patched)
    assert level_agreement(known) == pytest.approx(1 - 3 / 12, abs=1e-4)
    no_levels = CueSheet(cues=tuple(dataclasses.replace(cue, level_db=None) for cue in CUES))
    assert level_agreement(dataclasses.replace(known, cues=no_levels)) is None


def test_candidates_are_takes_in_the_order_of_their_scores(model, clip):
    candidates = model.candidates(clip, count=3, seed=5, cues=CUES)
    assert sorted(each.seed for each in candidates) == [5, 6, 7]
    totals = [each.scores.total for each in candidates]
    assert totals == sorted(totals, reverse=True) and 0 < totals[-1] <= totals[0] <= 1
    for each in candidates:
        assert each.scores.synchrony is not None and each.scores.onsets is not None
        alone = model.generate(clip, cues=CUES, seed=each.seed)
        assert alone.waveform.tobytes() == each.result.waveform.tobytes()
        assert each.result.settings["seed"] == each.seed


def test_short_clips_have_no_synchrony(model, tmp_path):
    video = make_video(tmp_path / "short.mp4", n_frames=10)
    (only,) = model.candidates(video, count=1)
    assert only.scores.synchrony is None
    with pytest.raises(ConfigError, match="expected 1 to 32 takes"):
        model.candidates(video, count=33)
