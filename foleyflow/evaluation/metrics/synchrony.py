"""Does the sound happen when it should? Onsets found in sound, compared with the true moments.

Arrays in, numbers out: no files, no devices, no networks. Conventions:

- Times are seconds from the start of the clip, ascending, float64.
- A lag is generated minus true: positive means the generated sound is late.
- Two clips without any onset agree (F1 1.0); if only one of them has onsets, F1 is 0.0.
- At its best lag: one constant lag of up to 120 ms, the one that suits a pair best, is taken out
  before its onsets are matched; shuffled pairs have the same freedom. Recordings from the web have
  their sound up to that much before or after their picture, which no picture tells.
- Shuffled: each generated clip against the true onsets of every *other* clip, both cut to the
  shorter of the two. It is what a system that ignores the picture would get; `gain` is the rest.

Onsets are maxima of spectral flux (librosa). The flux is taken on a mel spectrogram in dB whose
floor lies 60 dB below the clip's maximum, so that what a lossy codec leaves in pauses starts
no onset. A maximum counts if it stands out from its surroundings by a tenth of the clip's
largest flux, and by 0.6 dB in any case, more than steady noise fluctuates. Onsets nearer than
30 ms to the one before are one. Both ends are mirrored before the analysis and the outermost
15 ms are left out: a recording that is cut in the middle of a sound has no onset there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.metric import Interval, Metric, bootstrap_mean, extra_package

DETECTION_RATE_HZ = 22050
HOP_SAMPLES = 128  # 5.8 ms
WINDOW_SAMPLES = 1024
BAND_COUNT = 64
FLOOR_DB = 60.0  # below the clip's maximum
RELATIVE_THRESHOLD = 0.10  # of the clip's largest flux
THRESHOLD_DB = 0.6  # at least, mean over bands, per hop
SHORTEST_GAP_S = 0.030
EDGE_HOPS = 16  # mirrored at either end
EDGE_S = 0.015  # nearer to an end, a hit can't be told from the cut
# The detector is late by 4 to 8 ms on clicks, rings and thuds at known times; removed.
DETECTOR_LAG_S = 0.006
SILENCE_DBFS = -70.0  # a clip whose peak lies below has no onsets

WINDOWS_S = (0.05, 0.10)
LARGEST_LAG_S = 0.12
LAG_STEP_S = 0.02

ONSET_F1 = Metric(
    name="onset_f1",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference="mir_eval.onset.f_measure (Raffel et al., ISMIR 2014), matched one to one",
)
SHUFFLED_F1 = Metric(
    name="shuffled_f1",
    unit="1",
    direction="lower",
    range=(0.0, 1.0),
    reference="ours: onset_f1 of each clip against the true onsets of all other clips",
)
GAIN = Metric(
    name="gain",
    unit="1",
    direction="higher",
    range=(-1.0, 1.0),
    reference="ours: onset_f1 - shuffled_f1; 0 is what chance gives",
)
LAG_FREE_F1 = Metric(
    name="lag_free_f1",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference="ours: onset_f1 of each pair at its best constant lag within 120 ms",
)
LAG_FREE_GAIN = Metric(
    name="lag_free_gain",
    unit="1",
    direction="higher",
    range=(-1.0, 1.0),
    reference="ours: lag_free_f1 - the same of shuffled pairs, each at its own best lag",
)
MEDIAN_LAG = Metric(
    name="median_lag",
    unit="s",
    direction="zero",
    range=(-0.1, 0.1),
    reference="ours: median of (generated - true) over matched onsets; positive is late",
)


@dataclass(frozen=True, kw_only=True)
class Onsets:
    """Where a sound has its onsets.

    Attributes:
        times_s: (K,) float64, ascending seconds.
        strengths: (K,) float64, 0..1, flux relative to the clip's largest.
    """

    times_s: NDArray[np.float64]
    strengths: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClipOnsets:
    """The onsets of one clip and how long the clip is (what comes later can't be compared).

    Attributes:
        times_s: (K,) float64, ascending seconds.
        duration_s: length of the clip.
    """

    times_s: NDArray[np.float64]
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class OnsetScore:
    """Agreement of two lists of onsets, each number 0..1."""

    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class LagHistogram:
    """How many matched onsets lie how late; bins are centred on multiples of their width.

    Attributes:
        centres_s: (B,) float64.
        counts: (B,) int64.
    """

    centres_s: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class WindowScore:
    """The scores of a set of clips at one tolerance.

    Attributes:
        window_s: onsets match within plus or minus this.
        f1: mean over clips.
        shuffled_f1: the same against other clips; None for a single clip.
        gain: f1 - shuffled_f1, clip by clip; None for a single clip.
        per_clip_f1: (N,) float64.
    """

    window_s: float
    f1: Interval
    shuffled_f1: Interval | None
    gain: Interval | None
    per_clip_f1: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LagFreeScore:
    """The scores of a set of clips where every pair's best constant lag is taken out.

    Attributes:
        window_s: onsets match within plus or minus this, after that.
        f1: mean over clips.
        shuffled_f1: the same against other clips; None for a single clip.
        gain: f1 - shuffled_f1, clip by clip; None for a single clip.
        per_clip_f1: (N,) float64.
        lags_s: (N,) float64, generated minus true; of lags as good as each other the smallest.
    """

    window_s: float
    f1: Interval
    shuffled_f1: Interval | None
    gain: Interval | None
    per_clip_f1: NDArray[np.float64]
    lags_s: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Synchrony:
    """All synchrony figures of a set of clips.

    Attributes:
        windows: one entry per tolerance.
        lag_free: at the narrowest tolerance, at each pair's best lag.
        median_lag_s: over all matched onsets at the widest tolerance; None without any.
        matched: number of those.
        lags: their histogram.
        reference_onsets: true onsets in all.
        generated_onsets: generated onsets in all.
        clips_without_onsets: clips whose reference has none (F1 is 0 or 1 by convention).
    """

    windows: tuple[WindowScore, ...]
    lag_free: LagFreeScore
    median_lag_s: float | None
    matched: int
    lags: LagHistogram
    reference_onsets: int
    generated_onsets: int
    clips_without_onsets: int

    @property
    def lines(self) -> tuple[WindowScore | LagFreeScore, ...]:
        """What a table has a line for: all tolerances, then the best lag."""
        return (*self.windows, self.lag_free)


def is_silent(samples: NDArray[np.float32]) -> bool:
    """Whether no sample of a mono sound reaches -70 dBFS.

    Args:
        samples: (N,) float32, full scale at -1..1.

    Source: ours.
    """
    return not len(samples) or float(np.abs(samples).max()) < 10 ** (SILENCE_DBFS / 20)


def detect_onsets(samples: NDArray[np.float32], rate_hz: int) -> Onsets:
    """Find the moments where something starts to sound.

    Args:
        samples: (N,) float32 mono, finite, full scale at -1..1.
        rate_hz: samples per second.

    Returns:
        times and relative strengths; none for sound whose peak is below -70 dBFS or
        that is shorter than 30 ms.

    Raises:
        ValueError: not mono, not finite, a rate that is not positive.
        MissingExtra: librosa is not installed.

    Source: librosa.onset.onset_strength / onset_detect (Böck and Widmer, DAFx 2013), with the
    parameters at the top of this file; the thresholds in dB and the lag are ours.
    """
    if samples.ndim != 1 or rate_hz <= 0 or not np.isfinite(samples).all():
        raise ValueError(
            f"samples {samples.shape} at {rate_hz} Hz: expected (N,) finite mono sound, rate > 0"
        )
    nothing = Onsets(times_s=np.zeros(0), strengths=np.zeros(0))
    if is_silent(samples) or len(samples) < rate_hz * SHORTEST_GAP_S:
        return nothing
    librosa = extra_package("librosa")
    flux_db = _flux_db(samples, rate_hz)
    rise_db = float(flux_db.max() - flux_db.min())
    if rise_db < THRESHOLD_DB:
        return nothing
    frames_per_s = DETECTION_RATE_HZ / HOP_SAMPLES
    frames = librosa.onset.onset_detect(
        onset_envelope=flux_db,
        sr=DETECTION_RATE_HZ,
        hop_length=HOP_SAMPLES,
        backtrack=False,
        normalize=False,
        delta=max(THRESHOLD_DB, RELATIVE_THRESHOLD * rise_db),
        wait=int(SHORTEST_GAP_S * frames_per_s),
        pre_max=int(0.03 * frames_per_s),
        post_max=1,
        pre_avg=int(0.10 * frames_per_s),
        post_avg=int(0.10 * frames_per_s) + 1,
    )
    times_s = (np.asarray(frames) - EDGE_HOPS) / frames_per_s - DETECTOR_LAG_S
    inside = (times_s >= EDGE_S) & (times_s < len(samples) / rate_hz - EDGE_S)
    strengths = (flux_db[frames] / flux_db.max()).astype(np.float64)
    return Onsets(times_s=times_s[inside], strengths=strengths[inside])


def onset_score(reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float) -> OnsetScore:
    """F1, precision and recall of estimated onsets, matched one to one within a window.

    Args:
        reference_s: (R,) true times, ascending seconds, >= 0.
        estimated_s: (E,) times to judge, ascending seconds, >= 0.
        window_s: largest distance of a match, > 0.

    Returns:
        (1, 1, 1) if both are empty, zeros if one is.

    Raises:
        ValueError: times that are negative or out of order, a window that is not positive.
        MissingExtra: mir_eval is not installed.

    Source: mir_eval.onset.f_measure; the convention for empty lists is ours.
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
    """The F1 of `onset_score` alone.

    Source: mir_eval.onset.f_measure.
    """
    return onset_score(reference_s, estimated_s, window_s).f1


def matched_lags_s(
    reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float
) -> NDArray[np.float64]:
    """Estimated minus true time of each matched pair of onsets.

    Args:
        reference_s: (R,) true times, ascending seconds.
        estimated_s: (E,) times to judge, ascending seconds.
        window_s: largest distance of a match.

    Returns:
        (M,) float64 within plus or minus window_s, in the order of the true times.

    Raises:
        ValueError: times that are negative or out of order.
        MissingExtra: mir_eval is not installed.

    Source: mir_eval.util.match_events (maximum matching).
    """
    reference, estimated = _times(reference_s, "reference_s"), _times(estimated_s, "estimated_s")
    if not len(reference) or not len(estimated):
        return np.zeros(0)
    pairs = sorted(extra_package("mir_eval").util.match_events(reference, estimated, window_s))
    return np.array([estimated[e] - reference[r] for r, e in pairs], dtype=np.float64)


def median_lag(lags_s: ArrayLike) -> float | None:
    """The median of matched lags in seconds; None without any.

    Source: ours.
    """
    lags = np.asarray(lags_s, dtype=np.float64)
    return float(np.median(lags)) if len(lags) else None


def lag_histogram(
    lags_s: ArrayLike, *, bin_s: float = 0.010, range_s: float = 0.100
) -> LagHistogram:
    """Count lags in bins centred on 0, plus or minus 10 ms, plus or minus 20 ms and so on.

    Args:
        lags_s: (M,) seconds.
        bin_s: width of a bin.
        range_s: centre of the last bin on either side; lags beyond it are not counted.

    Source: ours.
    """
    half = round(range_s / bin_s)
    centres = np.arange(-half, half + 1, dtype=np.float64)
    edges = (np.arange(-half, half + 2) - 0.5) * bin_s
    counts, _ = np.histogram(np.asarray(lags_s, dtype=np.float64), bins=edges)
    return LagHistogram(centres_s=centres * bin_s, counts=counts.astype(np.int64))


def shuffled_f1(
    reference: Sequence[ClipOnsets], generated: Sequence[ClipOnsets], window_s: float
) -> NDArray[np.float64]:
    """Mean F1 of each generated clip against the true onsets of all other clips.

    Args:
        reference: N clips, N >= 2.
        generated: the N clips made for them, in the same order.
        window_s: largest distance of a match.

    Returns:
        (N,) float64, 0..1.

    Raises:
        ValueError: fewer than two clips, or lists of different length.

    Source: ours.
    """
    _check_pairs(reference, generated)
    if len(reference) < 2:
        raise ValueError(f"shuffled pairs need two clips or more, got {len(reference)}")
    true_s, durations_s = _stacked(reference)
    means = np.zeros(len(generated))
    for i, clip in enumerate(generated):
        ends_s = np.minimum(durations_s, clip.duration_s)
        scores = np.delete(_f1_of_many(true_s, clip.times_s, ends_s, window_s), i)
        means[i] = scores.mean()
    return means


def lag_free_score(
    reference: Sequence[ClipOnsets],
    generated: Sequence[ClipOnsets],
    window_s: float,
    *,
    seed: int = 0,
) -> LagFreeScore:
    """F1, shuffled F1 and gain with every pair at the constant lag that suits it best.

    Args:
        reference: N clips, N >= 1.
        generated: the N clips made for them, in the same order.
        window_s: largest distance of a match.
        seed: of the bootstrap intervals.

    Raises:
        ValueError: lists of different length.

    Source: ours.
    """
    _check_pairs(reference, generated)
    true_s, durations_s = _stacked(reference)
    steps = round(LARGEST_LAG_S / LAG_STEP_S)
    lags_s = np.array(sorted(range(-steps, steps + 1), key=abs)) * LAG_STEP_S  # smallest first
    count = len(generated)
    f1, chance, best_s = np.zeros(count), np.zeros(count), np.zeros(count)
    for i, clip in enumerate(generated):
        ends_s = np.minimum(durations_s, clip.duration_s)
        scores = np.stack(
            [_f1_of_many(true_s, clip.times_s - lag_s, ends_s, window_s) for lag_s in lags_s]
        )
        best_s[i] = lags_s[scores[:, i].argmax()]
        highest = scores.max(0)
        f1[i] = highest[i]
        chance[i] = np.delete(highest, i).mean() if count > 1 else 0.0
    return LagFreeScore(
        window_s=window_s,
        f1=bootstrap_mean(f1, seed=seed),
        shuffled_f1=bootstrap_mean(chance, seed=seed) if count > 1 else None,
        gain=bootstrap_mean(f1 - chance, seed=seed) if count > 1 else None,
        per_clip_f1=f1,
        lags_s=best_s,
    )


def common_onsets(
    reference: ClipOnsets, generated: ClipOnsets
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The onsets of both clips that lie within the shorter of their durations.

    Args:
        reference: one clip.
        generated: the other.

    Returns:
        their times in seconds, in this order.

    Source: ours.
    """
    end_s = min(reference.duration_s, generated.duration_s)
    return (
        reference.times_s[reference.times_s < end_s],
        generated.times_s[generated.times_s < end_s],
    )


def compare(
    reference: Sequence[ClipOnsets],
    generated: Sequence[ClipOnsets],
    *,
    windows_s: Sequence[float] = WINDOWS_S,
    seed: int = 0,
) -> Synchrony:
    """Score generated clips against the true ones: F1, shuffled F1, gain and lags.

    Each pair is compared over the shorter of its two durations.

    Args:
        reference: N clips, N >= 1.
        generated: the N clips made for them, in the same order.
        windows_s: tolerances, ascending.
        seed: of the bootstrap intervals.

    Raises:
        ValueError: no clips, lists of different length, no tolerance.
        MissingExtra: mir_eval is not installed.

    Source: ours, on mir_eval.
    """
    _check_pairs(reference, generated)
    if not reference or not windows_s:
        raise ValueError("compare needs at least one pair of clips and one window")
    pairs = [common_onsets(true, made) for true, made in zip(reference, generated, strict=True)]
    lags_s = np.concatenate([matched_lags_s(*pair, max(windows_s)) for pair in pairs])
    return Synchrony(
        windows=tuple(
            _window_score(reference, generated, pairs, window_s, seed) for window_s in windows_s
        ),
        lag_free=lag_free_score(reference, generated, min(windows_s), seed=seed),
        median_lag_s=median_lag(lags_s),
        matched=len(lags_s),
        lags=lag_histogram(lags_s, range_s=max(windows_s)),
        reference_onsets=sum(len(true) for true, _ in pairs),
        generated_onsets=sum(len(made) for _, made in pairs),
        clips_without_onsets=sum(not len(true) for true, _ in pairs),
    )


def _window_score(
    reference: Sequence[ClipOnsets],
    generated: Sequence[ClipOnsets],
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    window_s: float,
    seed: int,
) -> WindowScore:
    f1 = np.array([onset_f1(*pair, window_s) for pair in pairs])
    chance = shuffled_f1(reference, generated, window_s) if len(pairs) > 1 else None
    return WindowScore(
        window_s=window_s,
        f1=bootstrap_mean(f1, seed=seed),
        shuffled_f1=None if chance is None else bootstrap_mean(chance, seed=seed),
        gain=None if chance is None else bootstrap_mean(f1 - chance, seed=seed),
        per_clip_f1=f1,
    )


def _flux_db(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Spectral flux, (frames,), mean rise over mel bands in dB per hop."""
    import soxr

    librosa = extra_package("librosa")
    sound = soxr.resample(samples, rate_hz, DETECTION_RATE_HZ, quality="VHQ")
    # Mirrored ends: where a recording is cut, nothing starts.
    sound = np.pad(sound, EDGE_HOPS * HOP_SAMPLES, mode="reflect")
    mel = librosa.feature.melspectrogram(
        y=sound,
        sr=DETECTION_RATE_HZ,
        n_fft=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        n_mels=BAND_COUNT,
    )
    level_db = librosa.power_to_db(mel, ref=np.max, top_db=FLOOR_DB)
    flux: NDArray[np.float32] = librosa.onset.onset_strength(
        S=level_db, sr=DETECTION_RATE_HZ, hop_length=HOP_SAMPLES, n_fft=WINDOW_SAMPLES
    )
    return flux


def _stacked(clips: Sequence[ClipOnsets]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, K) times, filled up with infinity, and (N,) durations, both in seconds."""
    longest = max(len(clip.times_s) for clip in clips)
    times_s = np.full((len(clips), longest), np.inf)
    for row, clip in zip(times_s, clips, strict=True):
        row[: len(clip.times_s)] = clip.times_s
    return times_s, np.array([clip.duration_s for clip in clips])


def _f1_of_many(
    true_s: NDArray[np.float64],
    made_s: NDArray[np.float64],
    ends_s: NDArray[np.float64],
    window_s: float,
) -> NDArray[np.float64]:
    """`onset_f1` of one clip against each of N, of what lies before N ends.

    One merge of sorted lists (optimal in one dimension) for all of them at once: N * N pairs are
    many. True times are (N, K), filled up with infinity.
    """
    true_counts = (true_s < ends_s[:, None]).sum(1)
    made_counts = np.searchsorted(made_s, ends_s)
    both = true_counts + made_counts
    hits, i, j = (np.zeros(len(true_s), dtype=np.int64) for _ in range(3))
    open_rows = np.flatnonzero((true_counts > 0) & (made_counts > 0))
    while len(open_rows):
        true, made = true_s[open_rows, i[open_rows]], made_s[j[open_rows]]
        hit = np.abs(true - made) <= window_s
        hits[open_rows] += hit
        i[open_rows] += hit | (true < made)
        j[open_rows] += hit | (true >= made)
        left = (i[open_rows] < true_counts[open_rows]) & (j[open_rows] < made_counts[open_rows])
        open_rows = open_rows[left]
    return np.where(both, 2 * hits / np.maximum(both, 1), 1.0)


def _times(times_s: ArrayLike, name: str) -> NDArray[np.float64]:
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or (times < 0).any() or not np.isfinite(times).all():
        raise ValueError(f"{name}: got {times_s!r}, expected (K,) seconds >= 0")
    if (np.diff(times) < 0).any():
        raise ValueError(f"{name}: got {times_s!r}, expected ascending times")
    return times


def _check_pairs(reference: Sequence[ClipOnsets], generated: Sequence[ClipOnsets]) -> None:
    if len(reference) != len(generated):
        raise ValueError(f"{len(reference)} reference clips for {len(generated)} generated ones")


def matched_references(
    reference_s: ArrayLike, estimated_s: ArrayLike, window_s: float
) -> NDArray[np.bool_]:
    """Which reference onsets are matched by an estimated one, (R,); see `matched_lags_s`."""
    reference, estimated = _times(reference_s, "reference_s"), _times(estimated_s, "estimated_s")
    matched = np.zeros(len(reference), bool)
    if len(reference) and len(estimated):
        pairs = extra_package("mir_eval").util.match_events(reference, estimated, window_s)
        matched[[index for index, _ in pairs]] = True
    return matched
