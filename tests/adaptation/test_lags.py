"""The lag of a recording from synthetic onsets, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.adaptation.lags import estimate_lag, onset_agreement
from foleyflow.event_peaks import event_track

RATE_HZ, DURATION_S = 50.0, 40.0


def irregular_times_s(seed: int = 0, count: int = 30) -> np.ndarray:
    """Hits with irregular gaps of at least a quarter of a second."""
    gaps_s = np.random.default_rng(seed).uniform(0.25, 2.0, count)
    times_s = 1.0 + np.cumsum(gaps_s)
    return times_s[times_s < DURATION_S - 1.0]


def seen(times_s: np.ndarray) -> np.ndarray:
    """The onset probability of a perfect aligner."""
    return event_track(times_s, round(DURATION_S * RATE_HZ), RATE_HZ)


@pytest.mark.parametrize("lag_s", [-0.1, -0.055, 0.0, 0.0125, 0.08, 0.115])
def test_the_lag_of_shifted_onsets_is_found(lag_s):
    times_s = irregular_times_s()
    found = estimate_lag(seen(times_s), times_s + lag_s, rate_hz=RATE_HZ)
    assert found.reason == "" and found.lag_s == pytest.approx(lag_s, abs=0.004)


def test_missed_hits_false_events_and_more_onsets_do_not_change_it():
    rng = np.random.default_rng(1)
    times_s = irregular_times_s()
    events_s = np.sort(np.concatenate([times_s[::2], rng.uniform(1, 39, 10)]))
    onsets_s = np.sort(np.concatenate([times_s + 0.06, rng.uniform(1, 39, 10)]))
    found = estimate_lag(0.6 * seen(events_s), onsets_s, rate_hz=RATE_HZ)
    assert found.lag_s == pytest.approx(0.06, abs=0.005)


def test_agreement_is_the_mean_probability_at_the_onsets():
    probability = np.zeros(100, np.float32)
    probability[[20, 60]] = 0.5, 1.0
    onsets_s = np.array([0.41 + 0.1, 1.21 + 0.1])  # 100 ms after the centres of both frames
    found = onset_agreement(probability, onsets_s, np.array([0.0, 0.1]), rate_hz=RATE_HZ)
    np.testing.assert_allclose(found, [0.0, 0.75], atol=1e-6)


@pytest.mark.parametrize(
    ("probability", "onsets_s", "reason"),
    [
        (seen(irregular_times_s(0)), irregular_times_s(3), "lag unclear"),
        (np.zeros(2000, np.float32), irregular_times_s(), "agree little"),
        (seen(irregular_times_s()), irregular_times_s() + 0.17, "more than 120 ms|agree little"),
        # Pairs of hits 0.14 s apart, of which the sound has either one
        (
            seen(np.concatenate([irregular_times_s() - 0.07, irregular_times_s() + 0.07])),
            irregular_times_s(),
            "two lags",
        ),
    ],
    ids=["other onsets", "nothing seen", "too late", "ambiguous"],
)
def test_an_unclear_lag_is_not_estimated(probability, onsets_s, reason):
    found = estimate_lag(probability, onsets_s, rate_hz=RATE_HZ)
    assert found.lag_s is None
    assert any(each in found.reason for each in reason.split("|")), found


def test_parts_with_different_lags_have_no_lag():
    times_s = irregular_times_s()
    lags_s = np.where(np.arange(len(times_s)) % 2, 0.03, -0.01)
    found = estimate_lag(seen(times_s), times_s + lags_s, rate_hz=RATE_HZ)
    assert found.lag_s is None and found.reason.startswith("lag unclear")
