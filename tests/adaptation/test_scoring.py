"""Scores and calibration on held-out recordings, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.adaptation.calibrating import fit_to_both
from foleyflow.adaptation.calibration_fit import JudgedCandidates
from foleyflow.adaptation.scoring import ObservedRecording, best_score, score_at
from foleyflow.event_peaks import event_track

RATE_HZ, DURATION_S = 50.0, 40.0


def recording(seed: int, *, lag_s: float = 0.0, false: int = 0) -> ObservedRecording:
    """A recording whose hits have a probability of 0.8, and false events one of 0.3."""
    rng = np.random.default_rng(seed)
    hits_s = 1.0 + np.cumsum(rng.uniform(0.4, 1.6, 30))
    hits_s = hits_s[hits_s < DURATION_S - 1]
    frames = round(DURATION_S * RATE_HZ)
    probability = 0.8 * event_track(hits_s, frames, RATE_HZ)
    others = 0.3 * event_track(rng.uniform(1, 39, false), frames, RATE_HZ)
    return ObservedRecording(
        duration_s=DURATION_S,
        onsets_s=hits_s + lag_s,
        probability=np.maximum(probability, others),
        rate_hz=RATE_HZ,
    )


def test_a_perfect_aligner_has_full_scores_whatever_the_lags():
    found = score_at([recording(0, lag_s=0.1), recording(1, lag_s=-0.06)], 0.5)
    assert (found.precision, found.recall) == (1.0, 1.0)
    assert found.f1 > 0.97  # an event next to the end of a piece may be in the other one
    assert 0.4 < found.gain < found.f1


def test_a_single_recording_has_a_gain_too():
    assert 0.3 < score_at([recording(2)], 0.5).gain < 1.0


def test_an_aligner_that_finds_other_events_gains_nothing():
    one, other = recording(3), recording(4)
    mixed = ObservedRecording(
        duration_s=DURATION_S,
        onsets_s=one.onsets_s,
        probability=other.probability,
        rate_hz=RATE_HZ,
    )
    # The lag is free, so that chance is a little above 0
    assert score_at([mixed], 0.5).gain < 0.25
    assert score_at([mixed], 0.9).recall == 0.0


def test_the_threshold_with_the_highest_gain_is_used():
    recordings = [recording(5, false=40), recording(6, false=40)]
    found = best_score(recordings)
    assert 0.3 < found.threshold <= 0.8 and found.precision > 0.97
    assert score_at(recordings, 0.2).precision < 0.7


def candidates(correct: list[bool], probabilities: list[float]) -> JudgedCandidates:
    times_s = 0.5 * np.arange(1, len(correct) + 1)
    kept = np.array(correct, bool)
    return JudgedCandidates(
        times_s=times_s,
        probabilities=np.array(probabilities),
        correct=kept,
        impacts_s=times_s[kept],
    )


def test_recordings_and_simulated_clips_count_half_each_in_the_threshold():
    # In simulation, candidates from 0.2 on are hits; in recordings, only those from 0.6 on
    simulated = [candidates([True] * 4, [0.2, 0.3, 0.8, 0.9])] * 60
    recorded = [candidates([False] * 4 + [True], [0.2, 0.25, 0.3, 0.35, 0.9])] * 6
    found = fit_to_both(simulated, recorded)
    assert found.lowest_probability > 0.3
    assert fit_to_both(simulated, simulated).lowest_probability < 0.2


def test_the_lowest_probability_is_that_of_the_threshold():
    found = fit_to_both([candidates([True, False, True], [0.7, 0.2, 0.9])] * 3, [])
    assert found.confidence(found.lowest_probability) == pytest.approx(found.threshold)
