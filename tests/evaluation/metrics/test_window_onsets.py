"""The published onset script, fault by fault, and the version that is set right beside it."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.evaluation.metrics import script_onsets, window_onsets
from foleyflow.evaluation.metrics.script_onsets import (
    DetectedOnsets,
    average_precision,
    detect_script_onsets,
    script_score,
)
from foleyflow.evaluation.metrics.window_onsets import (
    ConfidentOnsets,
    strongest_onsets,
    window_score,
)

RATE_HZ = 22050


def heard(**peaks):
    """Onsets at seconds with the waveform's sample there; the waveform spans -1..1."""
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


def test_without_faults_both_agree():
    truth = [0.5, 1.5, 2.5]
    # One extra onset, less confident than two of the hits and more than one.
    script = script_score(
        script_onsets.annotated_onsets(truth), heard(t0_5=0.9, t1_5=0.8, t2_0=0.5, t2_6=0.2)
    )
    right = window_score(
        window_onsets.annotated_onsets(truth), confident(t0_5=0.9, t1_5=0.8, t2_0=0.5, t2_6=0.2)
    )
    expected = (1.0, (1 + 1 + 3 / 4) / 3, 6 / 7)
    assert three(script) == pytest.approx(expected)
    assert three(right) == pytest.approx(expected)


def test_a_the_script_forgets_misses_once_predictions_run_out():
    truth = [0.5, 1.5, 2.5]
    assert three(
        script_score(script_onsets.annotated_onsets(truth), heard(t0_5=0.9))
    ) == pytest.approx((1 / 3, 1, 1))
    right = window_score(window_onsets.annotated_onsets(truth), confident(t0_5=0.9))
    assert three(right) == pytest.approx((1 / 3, 1 / 3, 1 / 2))


def test_b_the_script_gives_full_ap_for_predicting_nothing():
    truth = [0.5, 1.5]
    assert three(script_score(script_onsets.annotated_onsets(truth), heard())) == (0.0, 1.0, 0.0)
    assert three(window_score(window_onsets.annotated_onsets(truth), confident())) == (
        0.0,
        0.0,
        0.0,
    )


@pytest.mark.parametrize(
    ("at_0_5", "at_1_0", "at_1_5", "accuracy"),
    # By the confidences of its candidates the one at 1.25 would take 1.5, then 1.0. The script
    # looks at the samples of 0.5 and 1.0 instead, and takes the other one both times.
    [(0.9, 0.2, 0.95, 1.0), (0.1, 0.95, 0.2, 2 / 3)],
)
def test_c_the_script_looks_up_the_wrong_candidates(at_0_5, at_1_0, at_1_5, accuracy):
    truth = [0.5, 1.25, 1.7]  # the last one is in reach of 1.5 alone
    script = script_score(
        script_onsets.annotated_onsets(truth), heard(t0_5=at_0_5, t1_0=at_1_0, t1_5=at_1_5)
    )
    assert script.accuracy == pytest.approx(accuracy)
    right = window_score(
        window_onsets.annotated_onsets(truth), confident(t0_5=at_0_5, t1_0=at_1_0, t1_5=at_1_5)
    )
    assert right.accuracy == 1.0


def test_d_the_script_stops_at_an_onset_in_the_first_50_ms():
    with pytest.raises(
        ValueError, match=r"0\.020 s, in the first 50 ms: the published script fails"
    ):
        script_score(script_onsets.annotated_onsets([0.5]), heard(t0_02=0.5, t0_5=0.25))
    right = strongest_onsets(heard(t0_02=0.5, t0_5=0.25))
    assert right.times_s == pytest.approx([0.02, 0.5])
    assert right.confidences == pytest.approx([0.5, 0.25])


def test_e_the_script_keeps_every_second_neighbour():
    # Of three onsets within 40 ms one should stay; the script keeps two.
    script = script_score(
        script_onsets.annotated_onsets([1.0]), heard(t1_0=0.9, t1_03=0.5, t1_04=0.3)
    )
    assert script.f1 == pytest.approx(2 / 3)
    right = strongest_onsets(heard(t1_0=0.9, t1_03=0.5, t1_04=0.3))
    assert right.times_s == pytest.approx([1.0])


def test_script_conventions_at_the_edges():
    assert three(script_score(script_onsets.annotated_onsets([]), heard(t1_0=0.5))) == (
        0.0,
        0.0,
        0.0,
    )
    with pytest.raises(ValueError, match="no true and no predicted onsets"):
        script_score(script_onsets.annotated_onsets([]), heard())
    with pytest.raises(ValueError, match="an empty sound"):
        script_score(
            script_onsets.annotated_onsets([1.0]),
            detect_script_onsets(np.zeros(0, np.float32), RATE_HZ),
        )
    # Confidence: a resting sample lies in the middle, so even a dip is "predicted".
    assert three(script_score(script_onsets.annotated_onsets([1.0]), heard(t1_0=-0.2))) == (
        1.0,
        1.0,
        1.0,
    )
    # 0.3 s is out of reach, a little less is not; later than 8 s does not count.
    assert script_score(script_onsets.annotated_onsets([1.0]), heard(t1_3=0.5)).accuracy == 0.0
    assert (
        script_score(script_onsets.annotated_onsets([1.0, 8.0]), heard(t1_299=0.5)).accuracy == 1.0
    )


def test_right_conventions_at_the_edges():
    nothing, one = confident(), confident(t1_0=0.5)
    assert three(window_score(nothing, nothing)) == (1.0, 1.0, 1.0)
    assert three(window_score(nothing, one)) == (0.0, 0.0, 0.0)
    assert (
        window_score(window_onsets.annotated_onsets([0.5, 8.0]), confident(t0_5=1.0)).accuracy
        == 1.0
    )
    assert (
        window_score(window_onsets.annotated_onsets([1.0]), confident(t1_301=0.5)).accuracy == 0.0
    )


def test_right_matches_are_as_many_as_possible_then_the_most_confident():
    # Greedy in time would let 1.0 take the confident 1.2, and leave 1.4 without a partner.
    score = window_score(window_onsets.annotated_onsets([1.0, 1.4]), confident(t0_8=0.1, t1_2=0.9))
    assert score.accuracy == 1.0
    sure = window_score(window_onsets.annotated_onsets([1.0]), confident(t0_9=0.1, t1_1=0.9))
    assert sure.average_precision == 1.0


def test_average_precision_equals_sklearns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(2, size=12)
        labels[0] = 1
        confidences = rng.integers(5, size=12) / 4  # with ties
        ours = average_precision(
            labels.tolist(), confidences.tolist(), positive_count=int(labels.sum())
        )
        assert ours == pytest.approx(metrics.average_precision_score(labels, confidences))


def clicks(times_s, *, levels=None, duration_s=3.0):
    rng = np.random.default_rng(0)
    sound = np.zeros(round(duration_s * RATE_HZ))
    for time_s, level in zip(times_s, levels or [0.5] * len(times_s), strict=True):
        start = round(time_s * RATE_HZ)
        t = np.arange(len(sound) - start) / RATE_HZ
        sound[start:] += level * np.exp(-t / 0.004) * rng.uniform(-1, 1, len(t))
    return sound.astype(np.float32)


def test_clicks_are_heard_where_they_are_by_both():
    pytest.importorskip("librosa")
    sound = clicks([0.5, 1.1, 2.0])
    assert detect_script_onsets(sound, RATE_HZ).positions / RATE_HZ == pytest.approx(
        [0.5, 1.1, 2.0], abs=0.03
    )
    found = strongest_onsets(detect_script_onsets(sound, RATE_HZ))
    assert found.times_s == pytest.approx([0.5, 1.1, 2.0], abs=0.03)
    assert found.confidences.max() == 1.0
    assert three(window_score(found, found)) == (1.0, 1.0, 1.0)
    assert three(window_score(window_onsets.annotated_onsets([0.5, 1.1, 2.0]), found)) == (
        1.0,
        1.0,
        1.0,
    )


def test_neighbours_within_50_ms_are_one_and_the_first_8_s_count():
    pytest.importorskip("librosa")
    found = strongest_onsets(
        detect_script_onsets(clicks([0.5, 0.547, 2.0, 8.5], duration_s=9.0), RATE_HZ)
    )
    assert len(detect_script_onsets(clicks([0.5, 0.547, 2.0]), RATE_HZ).positions) >= 2
    assert (np.diff(found.times_s) >= 0.05).all()
    assert found.times_s[-1] == pytest.approx(2.0, abs=0.03)


def test_silence_and_moments_of_sound_have_no_onsets():
    pytest.importorskip("librosa")
    for count in (0, 1, 500, 44100):
        assert (
            len(
                strongest_onsets(detect_script_onsets(np.zeros(count, np.float32), RATE_HZ)).times_s
            )
            == 0
        )
    assert len(detect_script_onsets(np.full(500, 0.1, np.float32), RATE_HZ).waveform) == 500


def test_the_detector_refuses_what_is_not_mono():
    with pytest.raises(ValueError, match=r"expected \(N,\) and a rate > 0"):
        detect_script_onsets(np.zeros((2, 500), np.float32), RATE_HZ)
