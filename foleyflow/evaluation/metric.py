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
from foleyflow.evaluation.computations import Computation, VideoJudged

RESAMPLES, BOOTSTRAP_SEED = 2000, 0
BOOTSTRAP_CHUNK = 1 << 20  # samples in memory at a time, whatever the number of clips


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is computed and how its values are to be read; by default, a ratio to maximise.

    Attributes:
        name: key in reports.
        unit: "1" for a ratio.
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
        return getattr(self.computation, "judge", None)

    @property
    def needs_video(self) -> bool:
        """Whether its judge takes a video with the sound."""
        return isinstance(self.computation, VideoJudged)

    def to_json(self) -> dict[str, Any]:
        """The record as plain values; a bound that does not exist is None."""
        return {
            "name": self.name,
            "unit": self.unit,
            "direction": self.direction,
            "range": [bound if math.isfinite(bound) else None for bound in self.range],
            "reference": self.reference,
            "judge": self.judge,
            "heard_as": getattr(self.computation, "statistic", None),
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


def bootstrap_mean(values: ArrayLike) -> Interval:
    """The mean of one finite value per clip, (N,), with its percentile bootstrap interval.

    Raises:
        ValueError: there are no values, or one is not finite.

    Reference: Efron and Tibshirani 1993.
    """
    per_clip = _finite_values(values, "clip")
    count = len(per_clip)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    chunk = max(1, BOOTSTRAP_CHUNK // count)
    sizes = [min(chunk, RESAMPLES - start) for start in range(0, RESAMPLES, chunk)]
    means = np.concatenate(
        [per_clip[rng.integers(count, size=(size, count))].mean(axis=1) for size in sizes]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(mean=float(per_clip.mean()), low=float(low), high=float(high), count=count)


def seed_interval(values: ArrayLike) -> Interval:
    """The mean of finite values of training runs, (N,), N >= 1, with its interval by Student's t.

    The ends of the interval are NaN for a single run.
    """
    runs = _finite_values(values, "run")
    mean, count = float(runs.mean()), len(runs)
    if count == 1:
        return Interval(mean=mean, low=math.nan, high=math.nan, count=1)
    from scipy import stats

    half = float(stats.t.ppf(0.975, count - 1) * runs.std(ddof=1) / math.sqrt(count))
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
