"""Onsets are exact to the sample, whatever precedes them."""

from __future__ import annotations

import numpy as np
import pytest
from support.click_sounds import write_sound
from support.sound_folders import strike

from foleyflow.errors import DataError
from foleyflow.library.measuring import find_onset, measure_file

RATES_HZ = (22_050, 44_100, 48_000, 96_000)


def lead_in(kind: str, count: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """What a recording of `count` samples contains in addition to the sound."""
    noise = rng.standard_normal(count)
    fade = np.minimum(np.arange(count) / (0.015 * rate_hz), 1.0)
    added = {
        "silence": np.zeros(count),
        "noise": 5e-4 * noise,
        "loud noise": 5e-3 * noise,
        "noise that fades in": 2e-3 * fade * noise,
        "constant offset": 0.1 + 1e-4 * noise,
        "offset that fades in": fade * (0.02 + 1e-3 * noise),
        "click": 0.03 * (np.arange(count) == 200),
    }
    return added[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "silence",
        "noise",
        "loud noise",
        "noise that fades in",
        "constant offset",
        "offset that fades in",
        "click",
    ],
)
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_onsets_are_exact(kind, rate_hz):
    rng = np.random.default_rng(rate_hz)
    for seed in range(20):
        onset = int(rng.integers(round(0.02 * rate_hz), round(0.4 * rate_hz)))
        sound = strike(rate_hz=rate_hz, onset_sample=onset, seed=seed)
        sound = sound + lead_in(kind, len(sound), rate_hz, rng)
        found = find_onset(sound.astype(np.float32), rate_hz, is_lossy=False)
        assert found is not None and abs(found - onset) <= 1


@pytest.mark.parametrize("is_lossy", [False, True])
def test_a_sound_at_the_start_of_the_file(is_lossy):
    sound = strike(onset_sample=0).astype(np.float32)
    assert find_onset(sound, 48_000, is_lossy=is_lossy) == 0


def test_silence_has_no_onset():
    assert find_onset(np.zeros(100, np.float32), 48_000, is_lossy=False) is None
    assert find_onset(np.zeros(0, np.float32), 48_000, is_lossy=False) is None


@pytest.mark.parametrize(
    ("name", "options", "error_samples"),
    [
        ("a.wav", {"subtype": "PCM_16"}, 1),
        ("a.wav", {"subtype": "PCM_24"}, 1),
        ("a.flac", {}, 1),
        ("a.aiff", {}, 1),
        ("a.mp3", {}, 48),  # 1 ms
        ("a.ogg", {}, 144),  # 3 ms: libavcodec shifts some Vorbis files by 128 samples
    ],
)
def test_measures_of_a_file(tmp_path, name, options, error_samples):
    sound = strike(onset_sample=5000, level=0.4)
    write_sound(tmp_path / name, sound, 48_000, **options)
    measures = measure_file(tmp_path / name)
    assert abs(measures.onset_sample - 5000) <= error_samples
    assert (measures.rate_hz, measures.channels) == (48_000, 1)
    assert measures.sample_count == len(sound)
    assert measures.onset_s == measures.onset_sample / 48_000
    if error_samples == 1:
        assert measures.peak == pytest.approx(0.4, abs=1e-3)
        assert measures.level_db == pytest.approx(20 * np.log10(0.4 / 0.45), abs=0.02)
        last = np.flatnonzero(np.abs(sound) >= 4e-4)[-1]
        assert measures.ring_out_s == pytest.approx((last + 1 - 5000) / 48_000, abs=2e-3)


def test_stereo_is_mixed_down(tmp_path):
    left = strike(onset_sample=700, level=0.4)
    write_sound(tmp_path / "a.wav", np.stack([left, 0 * left], axis=1), 48_000, subtype="FLOAT")
    measures = measure_file(tmp_path / "a.wav")
    assert (measures.channels, measures.onset_sample) == (2, 700)
    assert measures.peak == pytest.approx(0.2, rel=1e-4)


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (np.zeros(500), "silent"),
        (np.full(500, 1e-5), "silent"),
        (np.array([0.0, np.nan, 0.1]), "not finite"),
    ],
)
def test_unusable_sounds(tmp_path, sound, reason):
    write_sound(tmp_path / "a.wav", sound, 48_000, subtype="FLOAT")
    with pytest.raises(DataError, match=reason):
        measure_file(tmp_path / "a.wav")
