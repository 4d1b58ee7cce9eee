"""Divergence and Inception score of logits in closed form, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats

from foleyflow.evaluation.metrics.inception import inception_score
from foleyflow.evaluation.metrics.semantics import kl_divergence


def logits(count=20, classes=7, seed=0):
    return 3 * np.random.default_rng(seed).standard_normal((count, classes))


def test_divergence_of_two_classes_in_closed_form():
    # softmax gives (1/2, 1/2) and (1/4, 3/4).
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert kl_divergence([[0, 0]], [[0, np.log(3)]]) == pytest.approx([expected], abs=1e-15)


def test_the_reference_is_the_first_argument_of_the_divergence():
    expected = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert kl_divergence([[0, np.log(3)]], [[0, 0]]) == pytest.approx([expected], abs=1e-15)


def test_divergence_equals_scipy():
    true, generated = logits(seed=0), logits(seed=1)
    p, q = scipy.special.softmax(true, axis=1), scipy.special.softmax(generated, axis=1)
    assert kl_divergence(true, generated) == pytest.approx(scipy.stats.entropy(p, q, axis=1))


def test_divergence_grows_with_the_difference_of_logits():
    true = logits()
    assert kl_divergence(true, true + 5).max() < 1e-14  # a constant does not change the softmax
    near, far = (kl_divergence(true, true + scale * logits(seed=1)) for scale in (0.1, 1.0))
    assert 0 < near.mean() < far.mean()


def test_divergence_needs_no_epsilon():
    assert kl_divergence([[1000.0, 0.0]], [[0.0, 1000.0]]) == pytest.approx([1000.0])


def test_inception_score_ranges_from_one_to_the_number_of_classes():
    alike = inception_score(np.tile([0.3, -1.0, 2.0], (40, 1)))
    assert (alike.mean, alike.deviation) == pytest.approx((1.0, 0.0), abs=1e-12)
    every_class = inception_score(1000 * np.tile(np.eye(4), (5, 1)), splits=1)
    assert every_class.mean == pytest.approx(4.0, abs=1e-12)


def test_inception_score_equals_the_definition_split_by_split():
    values = logits(33)
    p = scipy.special.softmax(values[np.random.RandomState(2020).permutation(33)], axis=1)
    expected = []
    for i in range(10):
        part = p[i * 33 // 10 : (i + 1) * 33 // 10]
        expected.append(np.exp(scipy.stats.entropy(part.T, part.mean(0)[:, None]).mean()))
    score = inception_score(values)
    assert score.mean == pytest.approx(np.mean(expected))
    assert score.deviation == pytest.approx(np.std(expected))
    assert inception_score(values, seed=1) != score


@pytest.mark.parametrize(
    ("true", "generated", "message"),
    [
        ([[0, 1]], [[0, 1], [1, 0]], r"\(1, 2\) and \(2, 2\): expected equal shapes"),
        ([0, 1], [0, 1], r"got \(2,\), expected \(N, C\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "N and C at least 1"),
        ([[0, 1]], [[0, np.inf]], "not finite"),
    ],
)
def test_logits_that_do_not_fit_are_refused(true, generated, message):
    with pytest.raises(ValueError, match=message):
        kl_divergence(true, generated)


def test_a_split_without_clips_is_refused():
    with pytest.raises(ValueError, match="9 clips for 10 splits"):
        inception_score(logits(9))
