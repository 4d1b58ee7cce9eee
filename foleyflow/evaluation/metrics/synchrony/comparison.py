"""Synchrony of a set of clips: F1, its chance level by shuffled pairs, lags and lag-free scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metric import Interval, bootstrap_mean
from foleyflow.evaluation.metrics.synchrony.detection import ClipOnsets
from foleyflow.evaluation.metrics.synchrony.matching import (
    LagHistogram,
    lag_histogram,
    matched_lags_s,
    median_lag,
    onset_f1,
)
from foleyflow.evaluation.metrics.synchrony.shuffled_pairs import ReferenceOnsets

WINDOWS_S = (0.05, 0.10)
LARGEST_LAG_S = 0.12
LAG_STEP_S = 0.02


@dataclass(frozen=True, kw_only=True)
class WindowScore:
    """The scores of N clips at one tolerance; chance levels are None for a single clip."""

    window_s: float  # onsets match within plus or minus this
    f1: Interval
    shuffled_f1: Interval | None  # the F1 against other clips
    gain: Interval | None  # f1 - shuffled_f1, clip by clip
    per_clip_f1: NDArray[np.float64]  # (N,)

    def intervals_json(self) -> dict[str, dict[str, Any] | None]:
        """ "f1", "shuffled_f1" and "gain", each the fields of an interval or None."""
        intervals = {"f1": self.f1, "shuffled_f1": self.shuffled_f1, "gain": self.gain}
        return {name: None if each is None else asdict(each) for name, each in intervals.items()}


@dataclass(frozen=True, kw_only=True)
class LagFreeScore(WindowScore):
    """The scores of N clips after removing the best constant lag of each pair."""

    lags_s: NDArray[np.float64]  # (N,) generated minus reference; the smallest of equally good ones


@dataclass(frozen=True, kw_only=True)
class Synchrony:
    """All synchrony figures of a set of clips."""

    windows: tuple[WindowScore, ...]  # one per tolerance
    lag_free: LagFreeScore  # at the narrowest tolerance
    median_lag_s: float | None  # of all matched onsets; None if there are none
    matched: int  # onsets at the widest tolerance
    lags: LagHistogram  # of all matched onsets
    reference_onsets: int
    generated_onsets: int
    clips_without_onsets: int  # in the reference; their F1 is 0 or 1 by convention

    @property
    def table_rows(self) -> tuple[WindowScore, ...]:
        """The scores of all tolerances, then those at the best lag."""
        return (*self.windows, self.lag_free)


def common_onsets(
    reference: ClipOnsets, generated: ClipOnsets
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The times in seconds of both clips' onsets within the shorter of their durations."""
    end_s = min(reference.duration_s, generated.duration_s)
    true_s, generated_s = reference.times_s, generated.times_s
    return true_s[true_s < end_s], generated_s[generated_s < end_s]


def shuffled_f1(
    reference: Sequence[ClipOnsets], generated: Sequence[ClipOnsets], window_s: float
) -> NDArray[np.float64]:
    """Mean F1, (N,), of each of N >= 2 generated clips with the reference onsets of all others."""
    _check_pairs(reference, generated)
    if len(reference) < 2:
        raise ValueError(f"shuffled pairs need two clips or more, got {len(reference)}")
    references = ReferenceOnsets(reference)
    means = np.zeros(len(generated))
    for i, clip in enumerate(generated):
        f1 = references.f1_at_lags(clip, np.zeros(1), window_s)[0]
        means[i] = np.delete(f1, i).mean()
    return means


def lag_free_score(
    reference: Sequence[ClipOnsets], generated: Sequence[ClipOnsets], window_s: float
) -> LagFreeScore:
    """F1, shuffled F1 and gain with every pair at its best constant lag; else as `compare`."""
    _check_pairs(reference, generated)
    references = ReferenceOnsets(reference)
    steps = round(LARGEST_LAG_S / LAG_STEP_S)
    lags_s = np.array(sorted(range(-steps, steps + 1), key=abs)) * LAG_STEP_S  # smallest first
    count = len(generated)
    f1, shuffled, best_s = np.zeros(count), np.zeros(count), np.zeros(count)
    for i, clip in enumerate(generated):
        scores = references.f1_at_lags(clip, lags_s, window_s)
        best_s[i] = lags_s[scores[:, i].argmax()]
        highest = scores.max(0)
        f1[i] = highest[i]
        shuffled[i] = np.delete(highest, i).mean() if count > 1 else 0.0
    intervals = _intervals(f1, shuffled if count > 1 else None)
    return LagFreeScore(window_s=window_s, lags_s=best_s, **intervals)


def compare(
    reference: Sequence[ClipOnsets],
    generated: Sequence[ClipOnsets],
    *,
    windows_s: Sequence[float] = WINDOWS_S,
) -> Synchrony:
    """Score N >= 1 generated clips against their references, each pair over the shorter duration.

    Tolerances are ascending.

    Raises:
        ValueError: no clips, lists of different length, or no tolerance.
        MissingExtra: mir_eval is not installed.
    """
    _check_pairs(reference, generated)
    if not reference or not windows_s:
        raise ValueError("compare needs at least one pair of clips and one window")
    pairs = [common_onsets(*pair) for pair in zip(reference, generated, strict=True)]
    lags_s = np.concatenate([matched_lags_s(*pair, max(windows_s)) for pair in pairs])
    windows = []
    for window_s in windows_s:
        f1 = np.array([onset_f1(*pair, window_s) for pair in pairs])
        shuffled = shuffled_f1(reference, generated, window_s) if len(pairs) > 1 else None
        windows.append(WindowScore(window_s=window_s, **_intervals(f1, shuffled)))
    return Synchrony(
        windows=tuple(windows),
        lag_free=lag_free_score(reference, generated, min(windows_s)),
        median_lag_s=median_lag(lags_s),
        matched=len(lags_s),
        lags=lag_histogram(lags_s, range_s=max(windows_s)),
        reference_onsets=sum(len(true) for true, _ in pairs),
        generated_onsets=sum(len(found) for _, found in pairs),
        clips_without_onsets=sum(not len(true) for true, _ in pairs),
    )


def _intervals(f1: NDArray[np.float64], shuffled: NDArray[np.float64] | None) -> dict[str, Any]:
    """The fields of a `WindowScore` from each clip's F1 and its chance level."""
    return {
        "f1": bootstrap_mean(f1),
        "shuffled_f1": None if shuffled is None else bootstrap_mean(shuffled),
        "gain": None if shuffled is None else bootstrap_mean(f1 - shuffled),
        "per_clip_f1": f1,
    }


def _check_pairs(reference: Sequence[ClipOnsets], generated: Sequence[ClipOnsets]) -> None:
    if len(reference) != len(generated):
        raise ValueError(f"{len(reference)} reference clips for {len(generated)} generated ones")
