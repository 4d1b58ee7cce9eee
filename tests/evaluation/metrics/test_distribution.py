"""The Fréchet distance in closed form, and against scipy.linalg.sqrtm."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from foleyflow.evaluation.metrics.distribution import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    frechet_remark,
)


def gaussian(mean, covariance, count=1000):
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    return Gaussian(mean=mean, covariance=covariance, count=count)


def embeddings(count, dimension, *, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((dimension, dimension))
    return rng.standard_normal((count, dimension)) @ mix + shift


def test_the_distance_of_shifted_means_is_the_squared_shift():
    first, second = gaussian([1.0, 2.0], np.eye(2)), gaussian([4.0, -2.0], np.eye(2))
    assert frechet_distance(first, second) == pytest.approx(3**2 + 4**2, abs=1e-12)


def test_the_distance_of_diagonal_covariances_in_closed_form():
    first, second = gaussian([0, 0], np.diag([4.0, 9.0])), gaussian([0, 0], np.diag([1.0, 25.0]))
    assert frechet_distance(first, second) == pytest.approx((2 - 1) ** 2 + (3 - 5) ** 2, abs=1e-12)


def test_the_distance_is_symmetric_and_zero_for_equal_sets():
    first = fit_gaussian(embeddings(40, 8))
    second = fit_gaussian(embeddings(50, 8, seed=1))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))
    nearer = fit_gaussian(embeddings(40, 8, shift=0.1))
    farther = fit_gaussian(embeddings(40, 8, shift=0.5))
    assert frechet_distance(first, nearer) == pytest.approx(8 * 0.1**2)
    assert frechet_distance(first, farther) == pytest.approx(8 * 0.5**2)


def test_the_distance_equals_that_of_the_matrix_square_root():
    first = fit_gaussian(embeddings(200, 16))
    second = fit_gaussian(embeddings(300, 16, seed=1, shift=0.3))
    root = scipy.linalg.sqrtm(first.covariance @ second.covariance)
    by_root = (
        np.sum((first.mean - second.mean) ** 2)
        + np.trace(first.covariance)
        + np.trace(second.covariance)
        - 2 * np.trace(root).real
    )
    assert frechet_distance(first, second) == pytest.approx(by_root, rel=1e-9)


def test_singular_covariances_in_closed_form():
    # Two embeddings span a line: covariance of rank one in 50 dimensions, in closed form
    first = fit_gaussian(np.stack([np.zeros(50), np.r_[2.0, np.zeros(49)]]))
    second = fit_gaussian(np.stack([np.zeros(50), np.r_[0.0, 2.0, np.zeros(48)]]))
    # Means differ by (1, -1), traces are 2 each, and orthogonal lines have no overlap.
    assert frechet_distance(first, second) == pytest.approx(2 + 4, abs=1e-12)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-12)


def test_the_fit_equals_numpy():
    values = embeddings(30, 5)
    fit = fit_gaussian(values)
    assert np.allclose(fit.covariance, np.cov(values, rowvar=False))
    assert np.allclose(fit.mean, values.mean(axis=0))
    assert fit.count == 30
    assert fit_gaussian([[1.0], [3.0]]).covariance.tolist() == [[2.0]]


def test_few_embeddings_give_a_remark():
    few, enough = fit_gaussian(embeddings(8, 8)), fit_gaussian(embeddings(9, 8))
    assert "8 embeddings of 8 numbers" in frechet_remark(few, enough)
    assert frechet_remark(enough, enough) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 3)), r"got \(1, 3\), expected \(N, D\), N >= 2"),
        (np.zeros(5), r"got \(5,\)"),
        (np.zeros((5, 0)), "D >= 1"),
        (np.array([[0.0], [np.nan]]), "not finite"),
    ],
)
def test_sets_without_a_covariance_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        fit_gaussian(values)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (gaussian([0, 0, 0], np.eye(3)), "one dimension"),
        (gaussian([0, 0], np.eye(3)), r"got \(3, 3\), expected \(2, 2\)"),
        (gaussian([0, np.inf], np.eye(2)), "not finite, so there is no distance"),
        (gaussian([0, 0], [[1, 0.5], [0, 1]]), "not symmetric"),
        (gaussian([0, 0], [[1, 2], [2, 1]]), "lowest eigenvalue -1"),
    ],
)
def test_invalid_distributions_are_refused(second, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(gaussian([0, 0], np.eye(2)), second)
