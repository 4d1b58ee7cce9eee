"""The record of a metric, and confidence intervals of means."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.errors import MissingExtra
from foleyflow.evaluation.computations import AudioJudged, Computation, VideoJudged

BOOTSTRAP_CHUNK = 1 << 20  # samples in memory at a time, whatever the number of clips


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is computed and how its values are to be read.

    The defaults describe a ratio of which more is better.

    Attributes:
        name: key in reports.
        unit: "1" for a ratio, else the unit.
        direction: whether higher or lower values are better, or those nearest to zero.
        range: (lowest, highest) possible value.
        reference: paper, package or "ours", with the settings needed to reproduce the values.
        computation: how scoring computes it; None if it is part of every synchrony report.
    """

    name: str
    unit: str = "1"
    direction: Literal["higher", "lower", "zero"] = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    reference: str
    computation: Computation | None

    @property
    def judge(self) -> str | None:
        """Name of the network that it needs; None for a metric that needs no weights."""
        computation = self.computation
        return computation.judge if isinstance(computation, AudioJudged | VideoJudged) else None

    @property
    def needs_video(self) -> bool:
        """Whether its judge takes a video with the sound."""
        return isinstance(self.computation, VideoJudged)

    def to_json(self) -> dict[str, Any]:
        """The record as plain values; a bound that does not exist is None."""
        computation = self.computation
        judged = computation if isinstance(computation, AudioJudged | VideoJudged) else None
        return {
            "name": self.name,
            "unit": self.unit,
            "direction": self.direction,
            "range": [bound if math.isfinite(bound) else None for bound in self.range],
            "reference": self.reference,
            "judge": self.judge,
            "heard_as": None if judged is None else judged.statistic,
        }

    def at_least_as_good(self, value: float, other: float) -> bool:
        """Whether `value` is at least as good as `other` in this metric's direction."""
        if self.direction == "zero":
            return abs(value) <= abs(other)
        return value >= other if self.direction == "higher" else value <= other


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The mean of `count` values with its 95 % confidence interval from `low` to `high`."""

    mean: float
    low: float
    high: float
    count: int


def bootstrap_mean(values: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one value per clip with its percentile bootstrap interval over clips.

    Args:
        values: (N,) one finite number per clip, N >= 1.
        resamples: number of bootstrap samples of N clips with replacement.
        seed: seed of the bootstrap.

    Returns:
        mean and interval (2.5th and 97.5th percentile); with one clip the interval is that value.

    Raises:
        ValueError: there are no values, or one is not finite.

    Reference: Efron and Tibshirani 1993.
    """
    per_clip = _finite_values(values, "clip")
    count = len(per_clip)
    rng = np.random.default_rng(seed)
    chunk = max(1, BOOTSTRAP_CHUNK // count)
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    means = np.concatenate(
        [per_clip[rng.integers(count, size=(size, count))].mean(axis=1) for size in sizes]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(mean=float(per_clip.mean()), low=float(low), high=float(high), count=count)


def seed_interval(values: ArrayLike) -> Interval:
    """The mean over training runs with different seeds, with its interval by Student's t.

    Args:
        values: (N,) one finite number per run, N >= 1.

    Returns:
        mean and 95 % interval, whose ends are NaN for a single run.

    Raises:
        ValueError: there are no values, or one is not finite.
        MissingExtra: scipy is not installed.
    """
    runs = _finite_values(values, "run")
    mean, count = float(runs.mean()), len(runs)
    if count == 1:
        return Interval(mean=mean, low=math.nan, high=math.nan, count=1)
    quantile = extra_package("scipy.stats").t.ppf(0.975, count - 1)
    half = float(quantile * runs.std(ddof=1) / math.sqrt(count))
    return Interval(mean=mean, low=mean - half, high=mean + half, count=count)


def _finite_values(values: ArrayLike, unit: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"values: got {values!r}, expected at least one finite number per {unit}")
    return array


def extra_package(name: str) -> ModuleType:
    """Import a module of the extra `eval` when it is first needed (librosa takes seconds).

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(name, "eval") from error
