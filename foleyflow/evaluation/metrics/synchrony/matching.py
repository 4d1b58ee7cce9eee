"""Scores and lags of two lists of onsets, matched one to one within a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.metric import extra_package

LAG_BIN_S = 0.010


@dataclass(frozen=True, kw_only=True)
class OnsetScore:
    """Agreement of two lists of onsets, each value 0..1."""

    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class LagHistogram:
    """Number of matched onsets by lag, (B,); bins are centred on multiples of their width."""

    centres_s: NDArray[np.float64]
    counts: NDArray[np.int64]


def onset_score(reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float) -> OnsetScore:
    """F1, precision and recall of estimated onsets by mir_eval.onset.f_measure.

    Both lists are ascending seconds >= 0. All values are 1 if both are empty, and 0 if one is.

    Raises:
        ValueError: times that are negative or out of order, or a window that is not positive.
        MissingExtra: mir_eval is not installed.
    """
    reference, estimated = _times(reference_s, "reference_s"), _times(estimated_s, "estimated_s")
    if not window_s > 0:
        raise ValueError(f"window_s: got {window_s}, expected more than 0")
    if not len(reference) or not len(estimated):
        both = float(len(reference) == len(estimated))
        return OnsetScore(f1=both, precision=both, recall=both)
    f1, precision, recall = extra_package("mir_eval").onset.f_measure(
        reference, estimated, window_s
    )
    return OnsetScore(f1=float(f1), precision=float(precision), recall=float(recall))


def onset_f1(reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float) -> float:
    """The F1 of `onset_score`."""
    return onset_score(reference_s, estimated_s, window_s).f1


def matched_lags_s(
    reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float
) -> NDArray[np.float64]:
    """Estimated minus true time of each pair of onsets that mir_eval.util.match_events matches.

    Arguments and errors are those of `onset_score`. The lags are in the order of the true times.
    """
    reference, estimated = _times(reference_s, "reference_s"), _times(estimated_s, "estimated_s")
    if not len(reference) or not len(estimated):
        return np.zeros(0)
    pairs = sorted(extra_package("mir_eval").util.match_events(reference, estimated, window_s))
    return np.array([estimated[e] - reference[r] for r, e in pairs], dtype=np.float64)


def matched_references(
    reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float
) -> NDArray[np.bool_]:
    """Which reference onsets `mir_eval.util.match_events` matches with an estimated one, (R,)."""
    reference, estimated = _times(reference_s, "reference_s"), _times(estimated_s, "estimated_s")
    matched = np.zeros(len(reference), bool)
    if len(reference) and len(estimated):
        pairs = extra_package("mir_eval").util.match_events(reference, estimated, window_s)
        matched[[index for index, _ in pairs]] = True
    return matched


def nearest_pairs(
    reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float
) -> list[tuple[int, int]]:
    """Indices (reference, estimated) of pairs within the window, each onset in one pair at most.

    The nearest pair comes first, then the nearest one of the remaining onsets and so on. In
    contrast to `matched_lags_s`, there may be fewer pairs than possible; an onset that could belong
    to two others belongs to the nearer one.
    """
    reference, estimated = _times(reference_s, "reference_s"), _times(estimated_s, "estimated_s")
    distances_s = np.abs(reference[:, None] - estimated[None, :])
    pairs: list[tuple[int, int]] = []
    free_rows, free_columns = np.ones(len(reference), bool), np.ones(len(estimated), bool)
    for flat in np.argsort(distances_s, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(estimated))
        if distances_s[row, column] > window_s:
            break
        if free_rows[row] and free_columns[column]:
            pairs.append((row, column))
            free_rows[row] = free_columns[column] = False
    return pairs


def median_lag(lags_s: ArrayLike) -> float | None:
    """The median of matched lags in seconds; None if there are none."""
    lags = np.asarray(lags_s, dtype=np.float64)
    return float(np.median(lags)) if len(lags) else None


def lag_histogram(lags_s: ArrayLike, *, range_s: float = 0.100) -> LagHistogram:
    """Count lags in bins of 10 ms centred on 0, plus or minus 10 ms, plus or minus 20 ms and so on.

    `range_s` is the centre of the last bin on either side; lags beyond it are not counted.
    """
    half = round(range_s / LAG_BIN_S)
    centres = np.arange(-half, half + 1, dtype=np.float64)
    edges = (np.arange(-half, half + 2) - 0.5) * LAG_BIN_S
    counts, _ = np.histogram(np.asarray(lags_s, dtype=np.float64), bins=edges)
    return LagHistogram(centres_s=centres * LAG_BIN_S, counts=counts.astype(np.int64))


def f1_against_each(
    references_s: NDArray[np.float64],
    estimated_s: NDArray[np.float64],
    ends_s: NDArray[np.float64],
    window_s: float,
) -> NDArray[np.float64]:
    """`onset_f1`, (N,), of one clip against each of N references, both cut at the N ends.

    One merge of sorted lists, which is optimal in one dimension, serves all references at the same
    time, since N clips have N * N shuffled pairs.

    Args:
        references_s: (N, K) true times, padded with infinity.
        estimated_s: (E,) ascending times.
        ends_s: (N,) only earlier onsets count.
        window_s: largest distance of a match.
    """
    reference_counts = (references_s < ends_s[:, None]).sum(1)
    estimated_counts = np.searchsorted(estimated_s, ends_s)
    total = reference_counts + estimated_counts
    hits, i, j = (np.zeros(len(references_s), dtype=np.int64) for _ in range(3))
    open_pairs = np.flatnonzero((reference_counts > 0) & (estimated_counts > 0))
    while len(open_pairs):
        true, found = references_s[open_pairs, i[open_pairs]], estimated_s[j[open_pairs]]
        hit = np.abs(true - found) <= window_s
        hits[open_pairs] += hit
        i[open_pairs] += hit | (true < found)
        j[open_pairs] += hit | (true >= found)
        left = (i[open_pairs] < reference_counts[open_pairs]) & (
            j[open_pairs] < estimated_counts[open_pairs]
        )
        open_pairs = open_pairs[left]
    return np.where(total, 2 * hits / np.maximum(total, 1), 1.0)


def _times(times_s: ArrayLike, name: str) -> NDArray[np.float64]:
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or (times < 0).any() or not np.isfinite(times).all():
        raise ValueError(f"{name}: got {times_s!r}, expected (K,) seconds >= 0")
    if (np.diff(times) < 0).any():
        raise ValueError(f"{name}: got {times_s!r}, expected ascending times")
    return times
