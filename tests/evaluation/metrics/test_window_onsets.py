"""The published onset script, bug by bug, and its corrected version."""

from __future__ import annotations

import numpy as np
import pytest
from support.click_sounds import clicks

from foleyflow.evaluation.metrics.script_onsets import (
    DetectedOnsets,
    average_precision,
    detect_script_onsets,
    script_score,
)
from foleyflow.evaluation.metrics.script_onsets import annotated_onsets as script_reference
from foleyflow.evaluation.metrics.window_onsets import (
    ConfidentOnsets,
    strongest_onsets,
    window_score,
)
from foleyflow.evaluation.metrics.window_onsets import annotated_onsets as window_reference

RATE_HZ = 22050


def detected(**peaks):
    """Onsets at the given seconds with the given samples; the waveform spans -1..1."""
    times_s = {float(name[1:].replace("_", ".")): height for name, height in peaks.items()}
    waveform = np.zeros(4 * RATE_HZ, np.float32)
    waveform[-2:] = -1, 1
    positions = np.array([round(t * RATE_HZ) for t in sorted(times_s)], np.float64)
    for position, time_s in zip(positions, sorted(times_s), strict=True):
        waveform[int(position)] = times_s[time_s]
    return DetectedOnsets(positions=positions, waveform=waveform)


def confident(**confidences):
    times_s = {float(name[1:].replace("_", ".")): c for name, c in confidences.items()}
    return ConfidentOnsets(
        times_s=np.array(sorted(times_s)),
        confidences=np.array([times_s[t] for t in sorted(times_s)]),
    )


def three(score):
    return score.accuracy, score.average_precision, score.f1


def script(true_s, **peaks):
    return three(script_score(script_reference(true_s), detected(**peaks)))


def corrected(true_s, **confidences):
    return three(window_score(window_reference(true_s), confident(**confidences)))


def test_the_script_and_the_corrected_version_agree_without_bugs():
    true_s = [0.5, 1.5, 2.5]
    # One extra onset, less confident than two of the hits and more than one.
    for version in (script, corrected):
        values = version(true_s, t0_5=0.9, t1_5=0.8, t2_0=0.5, t2_6=0.2)
        assert values == pytest.approx((1.0, (1 + 1 + 3 / 4) / 3, 6 / 7))


def test_bug_a_misses_after_the_last_prediction_are_ignored():
    true_s = [0.5, 1.5, 2.5]
    assert script(true_s, t0_5=0.9) == pytest.approx((1 / 3, 1, 1))
    assert corrected(true_s, t0_5=0.9) == pytest.approx((1 / 3, 1 / 3, 1 / 2))


def test_bug_b_no_predictions_give_an_ap_of_one():
    assert script([0.5, 1.5]) == (0.0, 1.0, 0.0)
    assert corrected([0.5, 1.5]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("at_0_5", "at_1_0", "at_1_5", "accuracy"),
    # By the confidences of its candidates, the onset at 1.25 would match 1.5, then 1.0. The script
    # uses the samples at 0.5 and 1.0 instead, and matches the other one both times.
    [(0.9, 0.2, 0.95, 1.0), (0.1, 0.95, 0.2, 2 / 3)],
)
def test_bug_c_candidates_are_looked_up_by_wrong_indices(at_0_5, at_1_0, at_1_5, accuracy):
    true_s = [0.5, 1.25, 1.7]  # the last one is in reach of 1.5 alone
    peaks = {"t0_5": at_0_5, "t1_0": at_1_0, "t1_5": at_1_5}
    assert script(true_s, **peaks)[0] == pytest.approx(accuracy)
    assert corrected(true_s, **peaks)[0] == 1.0


def test_bug_d_an_onset_in_the_first_50_ms_is_an_error():
    message = r"0\.020 s, in the first 50 ms: the published script fails"
    with pytest.raises(ValueError, match=message):
        script([0.5], t0_02=0.5, t0_5=0.25)
    onsets = strongest_onsets(detected(t0_02=0.5, t0_5=0.25))
    assert onsets.times_s == pytest.approx([0.02, 0.5])
    assert onsets.confidences == pytest.approx([0.5, 0.25])


def test_bug_e_suppression_skips_every_second_neighbour():
    # Of three onsets within 40 ms only one should remain; the script keeps two.
    peaks = {"t1_0": 0.9, "t1_03": 0.5, "t1_04": 0.3}
    assert script([1.0], **peaks)[2] == pytest.approx(2 / 3)
    assert strongest_onsets(detected(**peaks)).times_s == pytest.approx([1.0])


def test_edge_cases_of_the_script():
    assert script([], t1_0=0.5) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="no true and no predicted onsets"):
        script([])
    with pytest.raises(ValueError, match="an empty sound"):
        empty = detect_script_onsets(np.zeros(0, np.float32), RATE_HZ)
        script_score(script_reference([1.0]), empty)
    # Silence has a confidence of about 0.5, so even a negative peak is "predicted"
    assert script([1.0], t1_0=-0.2) == (1.0, 1.0, 1.0)
    # The window excludes 0.3 s; onsets after 8 s do not count
    assert script([1.0], t1_3=0.5)[0] == 0.0
    assert script([1.0, 8.0], t1_299=0.5)[0] == 1.0


def test_edge_cases_of_the_corrected_version():
    assert corrected([]) == (1.0, 1.0, 1.0)
    assert corrected([], t1_0=0.5) == (0.0, 0.0, 0.0)
    assert corrected([0.5, 8.0], t0_5=1.0)[0] == 1.0
    assert corrected([1.0], t1_301=0.5)[0] == 0.0


def test_matches_are_as_many_as_possible_then_the_most_confident():
    # Greedy matching in time would match 1.0 with the confident 1.2, and leave 1.4 unmatched
    accuracy, _, _ = corrected([1.0, 1.4], t0_8=0.1, t1_2=0.9)
    assert accuracy == 1.0
    _, confident_first, _ = corrected([1.0], t0_9=0.1, t1_1=0.9)
    assert confident_first == 1.0


def test_average_precision_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = np.r_[1, rng.integers(2, size=11)]
        confidences = rng.integers(5, size=12) / 4  # with ties
        ours = average_precision(labels, confidences, positive_count=labels.sum())
        assert ours == pytest.approx(metrics.average_precision_score(labels, confidences))


def test_both_versions_detect_clicks_at_their_times():
    pytest.importorskip("librosa")
    sound = clicks([0.5, 1.1, 2.0])
    times_s = pytest.approx([0.5, 1.1, 2.0], abs=0.03)
    assert detect_script_onsets(sound, RATE_HZ).positions / RATE_HZ == times_s
    found = strongest_onsets(detect_script_onsets(sound, RATE_HZ))
    assert found.times_s == times_s
    assert found.confidences.max() == 1.0
    assert three(window_score(found, found)) == (1.0, 1.0, 1.0)
    assert three(window_score(window_reference([0.5, 1.1, 2.0]), found)) == (1.0, 1.0, 1.0)


def test_neighbours_within_50_ms_are_merged_and_only_the_first_8_s_count():
    pytest.importorskip("librosa")
    sound = clicks([0.5, 0.547, 2.0, 8.5], duration_s=9.0)
    found = strongest_onsets(detect_script_onsets(sound, RATE_HZ))
    assert len(detect_script_onsets(clicks([0.5, 0.547, 2.0]), RATE_HZ).positions) >= 2
    assert (np.diff(found.times_s) >= 0.05).all()
    assert found.times_s[-1] == pytest.approx(2.0, abs=0.03)


def test_silence_and_very_short_sounds_have_no_onsets():
    pytest.importorskip("librosa")
    for count in (0, 1, 500, 44100):
        detected = detect_script_onsets(np.zeros(count, np.float32), RATE_HZ)
        assert len(strongest_onsets(detected).times_s) == 0
    assert len(detect_script_onsets(np.full(500, 0.1, np.float32), RATE_HZ).waveform) == 500


def test_the_detector_refuses_sounds_that_are_not_mono():
    with pytest.raises(ValueError, match=r"expected \(N,\) and a rate > 0"):
        detect_script_onsets(np.zeros((2, 500), np.float32), RATE_HZ)
