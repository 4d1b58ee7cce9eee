"""Onset detection and onset scores against closed forms and a second implementation."""

from __future__ import annotations

import sys

import librosa
import mir_eval
import numpy as np
import pytest

from foleyflow.errors import MissingExtra
from foleyflow.evaluation.metric import bootstrap_mean
from foleyflow.evaluation.metrics.levels import mel_power
from foleyflow.evaluation.metrics.synchrony import shuffled_pairs
from foleyflow.evaluation.metrics.synchrony.comparison import compare, lag_free_score, shuffled_f1
from foleyflow.evaluation.metrics.synchrony.detection import ClipOnsets, detect_onsets
from foleyflow.evaluation.metrics.synchrony.matching import (
    f1_against_each,
    lag_histogram,
    matched_lags_s,
    median_lag,
    nearest_pairs,
    onset_f1,
    onset_score,
)

RATE_HZ = 48000


def strikes(times_s, kind, *, duration_s=4.0, seed=0):
    """Synthetic hits at exact times."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(duration_s * RATE_HZ))
    for time_s in times_s:
        start = round(time_s * RATE_HZ)
        t = np.arange(len(sound) - start) / RATE_HZ
        match kind:
            case "click":
                hit = np.exp(-t / 0.003) * rng.standard_normal(len(t))
            case "ring":
                modes = ((640, 0.8), (1730, 0.6), (3380, 0.4), (5200, 0.3))
                hit = sum(np.exp(-t / d) * np.sin(2 * np.pi * f * t) for f, d in modes)
            case "thud":
                noise = 0.3 * np.exp(-t / 0.01) * rng.standard_normal(len(t))
                hit = np.exp(-t / 0.05) * np.sin(2 * np.pi * 120 * t) + noise
            case "knock":
                hit = np.exp(-t / 0.02) * np.sin(2 * np.pi * 500 * t)
        sound[start:] += 0.2 * hit
    return sound.astype(np.float32)


def apart(seed, *, gap_s=0.12, duration_s=4.0, count=7):
    times_s = np.sort(np.random.default_rng(seed).uniform(0.05, duration_s - 0.1, count))
    return times_s[np.concatenate([[True], np.diff(times_s) > gap_s])]


@pytest.mark.parametrize("kind", ["click", "ring", "thud", "knock"])
def test_hits_are_detected_without_constant_lag(kind):
    lags_s = []
    for seed in range(6):
        times_s = apart(seed)
        found = detect_onsets(strikes(times_s, kind, seed=seed), RATE_HZ)
        assert len(found.times_s) == len(times_s)
        lags_s.extend(matched_lags_s(times_s, found.times_s, 0.05))
    assert len(lags_s) == sum(len(apart(seed)) for seed in range(6))
    assert abs(np.median(lags_s)) < 0.003
    assert np.abs(lags_s).max() < 0.010


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_onset_times_do_not_depend_on_the_sample_rate(rate_hz):
    sound = np.zeros(2 * rate_hz, np.float32)
    sound[rate_hz] = 0.5
    found = detect_onsets(sound, rate_hz)
    assert found.times_s == pytest.approx([1.0], abs=0.006)
    assert found.strengths == pytest.approx([1.0])


def test_a_beating_metal_ring_is_one_onset():
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    ring = sum(
        np.exp(-t / 0.9) * (np.sin(2 * np.pi * f * t) + 0.7 * np.sin(2 * np.pi * 1.006 * f * t))
        for f in (410.0, 1131.0, 2217.0, 3650.0)
    )
    sound = np.concatenate([np.zeros(RATE_HZ // 2), 0.1 * ring]).astype(np.float32)
    assert detect_onsets(sound, RATE_HZ).times_s == pytest.approx([0.5], abs=0.01)


def test_soft_hits_between_loud_ones_are_detected():
    sound = strikes([0.5, 2.5], "knock") + 0.1 * strikes([1.5], "knock")
    found = detect_onsets(sound, RATE_HZ)
    assert found.times_s == pytest.approx([0.5, 1.5, 2.5], abs=0.01)
    assert found.strengths[1] < found.strengths[0]


def test_sound_below_70_dbfs_has_no_onsets():
    sound = strikes([1.0, 2.0], "click")
    just_above = sound / np.abs(sound).max() * 10 ** (-69 / 20)
    just_below = sound / np.abs(sound).max() * 10 ** (-71 / 20)
    assert len(detect_onsets(just_above, RATE_HZ).times_s) == 2
    assert len(detect_onsets(just_below, RATE_HZ).times_s) == 0
    assert len(detect_onsets(np.zeros(RATE_HZ, np.float32), RATE_HZ).times_s) == 0


def test_steady_noise_cut_at_both_ends_has_no_onsets():
    noise = np.random.default_rng(0).standard_normal(4 * RATE_HZ).astype(np.float32)
    assert len(detect_onsets(0.1 * noise, RATE_HZ).times_s) == 0


@pytest.mark.parametrize("count", [0, 1, 100, 1439])
def test_very_short_sound_has_no_onsets(count):
    assert len(detect_onsets(np.full(count, 0.5, np.float32), RATE_HZ).times_s) == 0


def test_detection_refuses_stereo_and_non_finite_sound():
    with pytest.raises(ValueError, match="finite mono"):
        detect_onsets(np.zeros((2, 100), np.float32), RATE_HZ)
    with pytest.raises(ValueError, match="finite mono"):
        detect_onsets(np.array([0.0, np.nan], np.float32), RATE_HZ)


def test_identical_onsets_score_one_and_worse_ones_less():
    times_s = [0.5, 1.0, 2.0, 3.0]
    assert onset_f1(times_s, times_s, 0.05) == 1.0
    # Two of four true onsets found, one false positive: P 2/3, R 1/2.
    score = onset_score(times_s, [0.52, 1.5, 2.04], 0.05)
    assert (score.precision, score.recall) == pytest.approx((2 / 3, 1 / 2))
    assert score.f1 == pytest.approx(4 / 7)
    # An estimated onset matches only one true onset.
    assert onset_f1([1.0, 1.02], [1.01], 0.05) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("reference", "estimated", "f1"), [([], [], 1.0), ([1.0], [], 0.0), ([], [1.0], 0.0)]
)
def test_the_convention_for_empty_lists(reference, estimated, f1):
    assert onset_f1(reference, estimated, 0.05) == f1


def test_scores_refuse_invalid_times_and_windows():
    with pytest.raises(ValueError, match=r"reference_s.*ascending"):
        onset_f1([2.0, 1.0], [1.0], 0.05)
    with pytest.raises(ValueError, match=r"estimated_s.*>= 0"):
        onset_f1([1.0], [-1.0], 0.05)
    with pytest.raises(ValueError, match="window_s: got 0"):
        onset_f1([1.0], [1.0], 0)


def test_the_vectorised_matching_equals_mir_eval():
    rng = np.random.default_rng(0)
    for _ in range(200):
        reference = np.sort(rng.uniform(0, 2, rng.integers(1, 15)))
        estimated = np.sort(rng.uniform(0, 2, rng.integers(1, 15)))
        expected = mir_eval.onset.f_measure(reference, estimated, 0.05)[0]
        ends_s = np.array([2.0])
        quick = f1_against_each(reference[None], estimated, ends_s, 0.05)
        assert quick == pytest.approx([expected], abs=1e-12)


def test_lags_are_positive_when_late():
    lags_s = matched_lags_s([1.0, 2.0, 3.0], [1.03, 2.03, 3.5], 0.1)
    assert lags_s == pytest.approx([0.03, 0.03])
    assert median_lag(lags_s) == pytest.approx(0.03)
    assert median_lag([]) is None


def test_nearest_pairs_are_taken_first():
    # 1.04 could belong to both references and belongs to the nearer one
    assert nearest_pairs([1.0, 1.05], [0.97, 1.04], 0.05) == [(1, 1), (0, 0)]
    assert nearest_pairs([1.0], [0.98, 1.01], 0.05) == [(0, 1)]
    # The largest number of pairs would be two
    assert nearest_pairs([1.0, 1.0625], [0.9375, 1.0], 0.0625) == [(0, 1)]
    assert nearest_pairs([1.0, 2.0], [1.0625, 2.09375], 0.0625) == [(0, 0)]
    assert nearest_pairs([], [1.0], 0.05) == nearest_pairs([1.0], [], 0.05) == []


def test_the_histogram_is_centred_on_zero():
    histogram = lag_histogram([0.0, 0.004, -0.004, 0.011, -0.1, 0.3])
    assert len(histogram.counts) == 21
    centres_ms = np.round(1000 * histogram.centres_s).astype(int).tolist()
    assert [histogram.counts[centres_ms.index(lag)] for lag in (0, 10, -100)] == [3, 1, 1]
    assert histogram.counts.sum() == 5


def clip(times_s, duration_s=4.0):
    return ClipOnsets(times_s=np.asarray(times_s, dtype=np.float64), duration_s=duration_s)


def test_shuffled_f1_compares_with_all_other_clips():
    reference = [clip([1.0]), clip([2.0]), clip([1.0, 2.0])]
    generated = [clip([1.0]), clip([2.0]), clip([3.0])]
    # Clip 0 against {2.0} and {1.0, 2.0}: 0 and 2/3.
    assert shuffled_f1(reference, generated, 0.05) == pytest.approx([1 / 3, 1 / 3, 0.0])
    with pytest.raises(ValueError, match="two clips or more"):
        shuffled_f1(reference[:1], generated[:1], 0.05)


def test_shuffled_pairs_are_cut_to_the_shorter_clip():
    reference = [clip([0.5]), clip([0.5, 3.0], duration_s=4.0)]
    generated = [clip([0.5], duration_s=1.0), clip([0.5])]
    assert shuffled_f1(reference, generated, 0.05) == pytest.approx([1.0, 1.0])


def test_a_perfect_system_has_gain_and_random_onsets_have_none():
    rng = np.random.default_rng(3)
    reference = [clip(apart(seed)) for seed in range(12)]
    perfect = [clip(c.times_s + 0.02) for c in reference]
    blind = [clip(np.sort(rng.uniform(0, 4, 7))) for _ in reference]
    good, chance = compare(reference, perfect), compare(reference, blind)
    assert [w.window_s for w in good.windows] == [0.05, 0.10]
    assert good.windows[0].f1.mean == 1.0
    assert good.windows[0].gain.low > 0.5
    assert good.median_lag_s == pytest.approx(0.02)
    assert good.lags.counts[good.lags.centres_s.tolist().index(0.02)] == good.matched
    window = chance.windows[0]
    assert window.gain.low < 0.1
    assert window.gain.mean == pytest.approx(window.f1.mean - window.shuffled_f1.mean)


def test_lag_free_scores_remove_a_constant_lag_from_every_pair():
    lags_s = np.linspace(-0.12, 0.12, 12).round(2)  # each of twelve clips has a different lag
    reference = [clip(apart(seed) + 0.2, 5.0) for seed in range(12)]
    generated = [clip(c.times_s + lag_s, 5.0) for c, lag_s in zip(reference, lags_s, strict=True)]
    score = compare(reference, generated)
    free = score.lag_free
    assert free.window_s == 0.05 and score.windows[0].f1.mean < 0.6
    assert free.f1.mean == 1.0 and free.per_clip_f1.tolist() == [1.0] * 12
    assert np.abs(free.lags_s - lags_s).max() <= 0.05  # any that brings all within 50 ms will do
    assert np.all(np.abs(free.lags_s) <= np.abs(lags_s) + 1e-9)  # the smallest of them
    assert free.gain.mean == pytest.approx(1.0 - free.shuffled_f1.mean)
    # Each shuffled pair is scored at its best lag, too
    steps_s = np.arange(-6, 7) * 0.02
    chance = [
        max(onset_f1(other.times_s, generated[0].times_s - lag_s, 0.05) for lag_s in steps_s)
        for other in reference[1:]
    ]
    assert np.mean(chance) > score.windows[0].shuffled_f1.low
    pair = [lag_free_score([reference[i]], [generated[0]], 0.05).f1.mean for i in range(1, 12)]
    np.testing.assert_allclose(pair, chance, atol=1e-9)


def test_one_clip_has_no_shuffled_pairs():
    result = compare([clip([1.0])], [clip([1.0])])
    assert result.windows[0].shuffled_f1 is None
    assert result.windows[0].gain is None
    assert result.windows[0].f1.mean == 1.0


def test_compare_refuses_unequal_and_empty_sets():
    with pytest.raises(ValueError, match="1 reference clips for 0 generated"):
        compare([clip([1.0])], [])
    with pytest.raises(ValueError, match="at least one pair"):
        compare([], [])


def test_the_bootstrap_interval_is_seeded_and_contains_the_mean():
    values = np.random.default_rng(0).normal(2.0, 1.0, 400)
    interval = bootstrap_mean(values)
    assert interval == bootstrap_mean(values)
    assert interval.mean == pytest.approx(values.mean())
    # The normal approximation: 1.96 standard errors on either side.
    half = 1.96 * values.std() / 20
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    assert bootstrap_mean([0.3]).low == bootstrap_mean([0.3]).high == pytest.approx(0.3)
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean([1.0, float("nan")])


@pytest.mark.parametrize("package", ["librosa", "mir_eval"])
def test_a_missing_package_is_named_with_its_install_command(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=package) as caught:
        detect_onsets(strikes([1.0], "click"), RATE_HZ)
        onset_f1([1.0], [1.0], 0.05)
    assert caught.value.hint == "pip install 'foleyflow[eval]'"


def test_compiled_matching_gives_the_same_values(monkeypatch):
    rng = np.random.default_rng(0)

    def clip():
        duration_s = rng.uniform(1, 3)
        times_s = np.sort(rng.uniform(0, duration_s, rng.integers(0, 9)))
        return ClipOnsets(times_s=times_s, duration_s=duration_s)

    reference, generated = ([clip() for _ in range(40)] for _ in range(2))
    plain = compare(reference, generated)
    monkeypatch.setattr(shuffled_pairs, "COMPILED_FROM", 1)
    compiled = compare(reference, generated)
    for first, second in zip(plain.table_rows, compiled.table_rows, strict=True):
        assert first.intervals_json() == second.intervals_json()
        np.testing.assert_array_equal(first.per_clip_f1, second.per_clip_f1)
    np.testing.assert_array_equal(plain.lag_free.lags_s, compiled.lag_free.lags_s)


def test_the_fast_spectrogram_is_that_of_librosa():
    rng = np.random.default_rng(0)
    sound = (rng.standard_normal(30_000) * np.linspace(0, 1, 30_000)).astype(np.float32)
    settings = {"sr": 22050, "n_fft": 1024, "hop_length": 128}
    expected = librosa.feature.melspectrogram(y=sound, n_mels=64, **settings)
    found = mel_power(sound, 22050, window=1024, hop=128, bands=64)
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())
