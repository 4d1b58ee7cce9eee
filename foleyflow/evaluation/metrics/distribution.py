"""How far two sets of sounds are apart as distributions: the Fréchet distance of embeddings.

Arrays in, numbers out, float64. Which network embeds the sounds is not known here; with VGGish
the distance is what the field calls FAD. Conventions: N embeddings of D numbers are (N, D); a
covariance divides by N - 1. With no more than D embeddings it is singular and the distance
depends strongly on N: `frechet_remark` says so, because a figure alone would not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.metric import Metric

# Of the largest eigenvalue: what lies below zero by less than this is rounding.
NEGATIVE_TOLERANCE = 1e-8


def frechet_record(judge: str) -> Metric:
    """The record of the Fréchet distance on the embeddings of one judge.

    Source: ours.
    """
    return Metric(
        name=f"frechet_{judge}",
        unit="1",
        direction="lower",
        range=(0.0, math.inf),
        reference="Heusel et al., NeurIPS 2017; arithmetic of av-benchmark (covariance by N - 1), "
        "by symmetric roots; over the clips of both sides that are paired",
        judge=judge,
        heard_as="frechet",
    )


FAD_SIM = Metric(
    name="FAD-sim",
    unit="1",
    direction="lower",
    range=(0.0, math.inf),
    reference="ours: Fréchet distance on the embeddings of our tagger of simulated sound, one a "
    "second; not comparable with any published FAD",
    judge="tagger-sim",
    heard_as="frechet",
)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """The normal distribution fitted to a set of embeddings.

    Attributes:
        mean: (D,) float64.
        covariance: (D, D) float64, symmetric.
        count: embeddings that it was fitted to.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int


def fit_gaussian(embeddings: ArrayLike) -> Gaussian:
    """Mean and covariance of a set of embeddings.

    Args:
        embeddings: (N, D) finite, N >= 2.

    Returns:
        the fit; the covariance divides by N - 1.

    Raises:
        ValueError: another shape, fewer than two embeddings, a number that is not finite.

    Source: numpy.cov(rowvar=False), as av-benchmark.
    """
    values = np.asarray(embeddings, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not values.shape[1]:
        raise ValueError(f"embeddings: got {values.shape}, expected (N, D), N >= 2, D >= 1")
    if not np.isfinite(values).all():
        raise ValueError("embeddings: some are not finite; look for sounds that are not")
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    return Gaussian(mean=values.mean(axis=0), covariance=covariance, count=len(values))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """The squared 2-Wasserstein distance of two normal distributions.

    The trace of the root of S1 S2 is taken as the sum of the singular values of R1 R2, where R
    are the symmetric roots of S: the same number as by scipy.linalg.sqrtm, never complex, and
    defined for singular covariances, so that nothing has to be added to them.

    Args:
        first: of one set.
        second: of the other, of the same dimension.

    Returns:
        0 for equal distributions, else more.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, or a covariance that
            is not symmetric or has a negative eigenvalue.

    Source: Dowson and Landau 1982, J. Multivariate Analysis 12(3), equation 4.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"embeddings of {first.mean.shape} and {second.mean.shape}: expected one dimension; "
            "were both sets embedded by the same network?"
        )
    difference = first.mean - second.mean
    overlap = np.linalg.svd(_root(first) @ _root(second), compute_uv=False).sum()
    spread = np.trace(first.covariance) + np.trace(second.covariance)
    return max(0.0, float(difference @ difference + spread - 2 * overlap))


def frechet_remark(first: Gaussian, second: Gaussian) -> str | None:
    """What must be said beside a Fréchet distance of few embeddings; None if nothing.

    Args:
        first: of one set.
        second: of the other.

    Source: ours.
    """
    dimension, count = len(first.mean), min(first.count, second.count)
    if count > dimension:
        return None
    return (
        f"{count} embeddings of {dimension} numbers: N must exceed the dimension for a covariance "
        "of full rank; the figure compares only with others of the same N"
    )


def _root(gaussian: Gaussian) -> NDArray[np.float64]:
    """The symmetric root of a covariance."""
    covariance = gaussian.covariance
    dimension = len(gaussian.mean)
    if covariance.shape != (dimension, dimension):
        raise ValueError(f"covariance: got {covariance.shape}, expected {(dimension, dimension)}")
    if not (np.isfinite(covariance).all() and np.isfinite(gaussian.mean).all()):
        raise ValueError("mean or covariance: not finite, so there is no distance")
    largest = np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > NEGATIVE_TOLERANCE * largest:
        raise ValueError("covariance: not symmetric")
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < -NEGATIVE_TOLERANCE * max(values[-1], 0.0):
        raise ValueError(f"covariance: lowest eigenvalue {values[0]:.3g}, expected none below 0")
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root
