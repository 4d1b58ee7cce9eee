"""The Fréchet distance of two sets of embeddings; with VGGish the field calls it FAD.

With no more than D embeddings of D numbers the covariance is singular and the distance depends
strongly on their number; `frechet_remark` warns of it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.computations import AudioJudged, JudgedValues
from foleyflow.evaluation.metric import Metric

# Relative to the largest eigenvalue: smaller negative eigenvalues are rounding errors
NEGATIVE_TOLERANCE = 1e-8


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Mean (D,) and symmetric covariance (D, D) of a set of embeddings, and their number."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int

    @functools.cached_property
    def root(self) -> NDArray[np.float64]:
        """The symmetric root of the covariance.

        Raises:
            ValueError: as `frechet_distance`.
        """
        covariance, dimension = self.covariance, len(self.mean)
        if covariance.shape != (dimension, dimension):
            raise ValueError(
                f"covariance: got {covariance.shape}, expected {(dimension, dimension)}"
            )
        if not (np.isfinite(covariance).all() and np.isfinite(self.mean).all()):
            raise ValueError("mean or covariance: not finite, so there is no distance")
        largest = np.abs(covariance).max()
        if np.abs(covariance - covariance.T).max() > NEGATIVE_TOLERANCE * largest:
            raise ValueError("covariance: not symmetric")
        values, vectors = np.linalg.eigh(covariance)
        if values[0] < -NEGATIVE_TOLERANCE * max(values[-1], 0.0):
            raise ValueError(
                f"covariance: lowest eigenvalue {values[0]:.3g}, expected none below 0"
            )
        root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        return root


def fit_gaussian(embeddings: ArrayLike) -> Gaussian:
    """Mean and covariance (by N - 1, as in av-benchmark) of finite embeddings (N, D), N >= 2.

    Raises:
        ValueError: another shape, fewer than two embeddings, or a number that is not finite.
    """
    values = np.asarray(embeddings, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not values.shape[1]:
        raise ValueError(f"embeddings: got {values.shape}, expected (N, D), N >= 2, D >= 1")
    if not np.isfinite(values).all():
        raise ValueError("embeddings: some are not finite; look for sounds that are not")
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    return Gaussian(mean=values.mean(axis=0), covariance=covariance, count=len(values))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """The squared 2-Wasserstein distance of two normal distributions of one dimension.

    The trace of the root of S1 S2 is computed as the sum of the singular values of R1 R2, where R
    are the symmetric roots of S. It equals that of scipy.linalg.sqrtm, is never complex, and is
    defined for singular covariances.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, or a covariance that
            is not symmetric or has a negative eigenvalue.

    Reference: Dowson and Landau 1982, J. Multivariate Analysis 12(3), equation 4.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"embeddings of {first.mean.shape} and {second.mean.shape}: expected one dimension; "
            "were both sets embedded by the same network?"
        )
    difference = first.mean - second.mean
    overlap = np.linalg.svd(first.root @ second.root, compute_uv=False).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return max(0.0, float(difference @ difference + traces - 2 * overlap))


def frechet_remark(first: Gaussian, second: Gaussian) -> str | None:
    """A warning if there are too few embeddings for a covariance of full rank."""
    dimension, count = len(first.mean), min(first.count, second.count)
    if count > dimension:
        return None
    return (
        f"{count} embeddings of {dimension} numbers: N must exceed the dimension for a covariance "
        "of full rank; the figure is only comparable with others of the same N"
    )


def _summarise_set(true: list[NDArray[np.float64]]) -> dict[str, Any]:
    gaussian = fit_gaussian(np.concatenate(true))
    return {
        "mean": gaussian.mean,
        "covariance": gaussian.covariance,
        "root": gaussian.root,
        "count": gaussian.count,
    }


def _compare_sets(true: dict[str, Any], generated: list[NDArray[np.float64]]) -> JudgedValues:
    first = Gaussian(mean=true["mean"], covariance=true["covariance"], count=true["count"])
    first.__dict__["root"] = true["root"]  # as `cached_property` keeps it
    second = fit_gaussian(np.concatenate(generated))
    remark = frechet_remark(first, second)
    no_interval = "no interval: resampling clips with replacement raises a Fréchet distance"
    return JudgedValues(
        values=[frechet_distance(first, second)],
        remarks=(remark, no_interval) if remark else (no_interval,),
    )


def frechet_metric(name: str, judge: str, reference: str) -> Metric:
    """The record of the Fréchet distance of one judge's embeddings."""
    return Metric(
        name=name,
        direction="lower",
        range=(0.0, math.inf),
        reference=reference,
        computation=AudioJudged(
            judge=judge,
            statistic="frechet",
            output="embed",
            compute=_compare_sets,
            summarise=_summarise_set,
        ),
    )


METRICS = tuple(
    frechet_metric(
        f"frechet_{judge}",
        judge,
        "Heusel et al., NeurIPS 2017; arithmetic of av-benchmark (covariance by N - 1), "
        "by symmetric roots; over the clips that both sides have",
    )
    for judge in ("vggish", "passt", "panns", "clap")
)
