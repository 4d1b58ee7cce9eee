"""What a metric is: its name, unit, direction, range and source, and how sure a mean is.

The metrics themselves live in their families (`synchrony.py`, `spectral.py`, ...), each with its
record; `metrics.py` lists them all. Nothing here reads files or knows a model.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from foleyflow.errors import MissingExtra

DRAWS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How the numbers of one metric are to be read.

    Attributes:
        name: the key in reports.
        unit: "1" for a ratio, else the unit.
        direction: whether higher or lower is better, or the value nearest to zero.
        range: (lowest, highest) possible value.
        reference: paper, package or "ours", with what matters to repeat it.
        judge: the network that it needs; None for a metric that needs no weights.
        heard_as: what is computed of what the judge hears; None without a judge. Of judges of
            pairs: "agreement", the share that it takes for in sync; "verdict", its mean.
    """

    name: str
    unit: str
    direction: Literal["higher", "lower", "zero"]
    range: tuple[float, float]
    reference: str
    judge: str | None = None
    heard_as: Literal["kl", "frechet", "inception", "agreement", "verdict"] | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; a bound that does not exist is None."""
        bounds = [bound if math.isfinite(bound) else None for bound in self.range]
        return {**asdict(self), "range": bounds}

    @property
    def needs_video(self) -> bool:
        """Whether its judge looks at pairs of a video and a sound."""
        return self.heard_as in ("agreement", "verdict")

    def as_good(self, value: float, other: float) -> bool:
        """Whether `value` is at least as good as `other`, in this metric's direction."""
        if self.direction == "zero":
            return abs(value) <= abs(other)
        return value >= other if self.direction == "higher" else value <= other


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over clips with its 95 % bootstrap interval.

    Attributes:
        mean: over the clips used.
        low: 2.5th percentile of the bootstrapped means.
        high: 97.5th percentile.
        count: clips used.
    """

    mean: float
    low: float
    high: float
    count: int


def bootstrap_mean(values: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one value per clip, and how much it would vary with other clips.

    Args:
        values: (N,) one finite number per clip, N >= 1.
        resamples: number of bootstrap draws of N clips with replacement.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        mean and percentile interval; with one clip the interval is that value.

    Raises:
        ValueError: no values, or one that is not finite.

    Source: Efron and Tibshirani 1993, percentile bootstrap.
    """
    per_clip = np.asarray(values, dtype=np.float64)
    if per_clip.ndim != 1 or not len(per_clip) or not np.isfinite(per_clip).all():
        raise ValueError(f"values: got {values!r}, expected at least one finite number per clip")
    rng = np.random.default_rng(seed)
    # In turns of a million draws, so that memory stays small whatever the number of clips.
    turn = max(1, DRAWS_AT_ONCE // len(per_clip))
    means = np.concatenate(
        [
            per_clip[rng.integers(len(per_clip), size=(rows, len(per_clip)))].mean(axis=1)
            for rows in _turns(resamples, turn)
        ]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(
        mean=float(per_clip.mean()), low=float(low), high=float(high), count=len(per_clip)
    )


def _turns(count: int, most: int) -> list[int]:
    """A count in parts of at most `most`."""
    return [min(most, count - start) for start in range(0, count, most)]


def seed_interval(values: ArrayLike) -> Interval:
    """The mean over a few training runs with other seeds, and how sure it is.

    Args:
        values: (N,) one finite number per run, N >= 1.

    Returns:
        mean and 95 % interval of Student's t; unbounded (NaN) with one run.

    Raises:
        ValueError: no values, or one that is not finite.
        MissingExtra: scipy is not installed.

    Source: Student 1908.
    """
    runs = np.asarray(values, dtype=np.float64)
    if runs.ndim != 1 or not len(runs) or not np.isfinite(runs).all():
        raise ValueError(f"values: got {values!r}, expected at least one finite number per run")
    mean = float(runs.mean())
    if len(runs) == 1:
        return Interval(mean=mean, low=math.nan, high=math.nan, count=1)
    reach = extra_package("scipy.stats").t.ppf(0.975, len(runs) - 1)
    half = float(reach * runs.std(ddof=1) / math.sqrt(len(runs)))
    return Interval(mean=mean, low=mean - half, high=mean + half, count=len(runs))


def extra_package(name: str) -> ModuleType:
    """A package of the extra `eval`, imported when it is first needed (librosa takes seconds).

    Args:
        name: of the module: "librosa", "mir_eval" or "sklearn.linear_model".

    Raises:
        MissingExtra: it is not installed.

    Source: ours.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(name, "eval") from error
