"""Several takes of a video, in the order of how well they fit their cues and the video."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.cue import NOMINAL_PEAK
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError
from foleyflow.inference.cue_levels import EARLY_S, FAINTEST, LARGEST_GAIN_DB, PEAK_S, RAMP_S
from foleyflow.inference.result import Generated
from foleyflow.inference.sound_onsets import find_onsets
from foleyflow.media import MediaInfo

MOST_CANDIDATES = 32
HIT_WINDOW_S = 0.05  # largest distance of an onset from its hit
AFTER_FRICTION_S = 0.1  # onsets until then may belong to the friction


@dataclass(frozen=True, kw_only=True)
class CandidateScores:
    """How well a take fits; each value 0..1, or None where it can't be measured.

    Attributes:
        onsets: F1 of the onsets of the sound against the enabled hits, within 50 ms. Onsets during
            rolls and scrapes count only if they match a hit. None without enabled hits.
        levels: mean over the hits with a level of 1 - e / 12 dB, where e is the error of the peak
            level, at most 12 dB. None without such hits.
        synchrony: of the sound and the video, by the judge `sync-sim`. None for clips below 2.56 s.
    """

    onsets: float | None
    levels: float | None
    synchrony: float | None

    @property
    def total(self) -> float:
        """The mean of the values that are not None; 0 if all are."""
        known = [value for value in vars(self).values() if value is not None]
        return sum(known) / len(known) if known else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One of several takes of a video.

    Attributes:
        result: the take.
        seed: with which it can be generated again.
        scores: of the take.
    """

    result: Generated
    seed: int
    scores: CandidateScores

    @classmethod
    def unscored(cls, result: Generated) -> Candidate:
        """The only take of a video, which needs no scores."""
        scores = CandidateScores(onsets=None, levels=None, synchrony=None)
        return cls(result=result, seed=int(str(result.settings["seed"])), scores=scores)


def check_count(count: int) -> None:
    """Raises a ConfigError if the number of takes is not within 1 to 32."""
    if not 1 <= count <= MOST_CANDIDATES:
        raise ConfigError(
            f"count={count}: expected 1 to {MOST_CANDIDATES} takes",
            hint="generate more by another call with another seed",
        )


def rank_candidates(results: Sequence[Generated], info: MediaInfo) -> list[Candidate]:
    """Takes with their scores, by descending `CandidateScores.total`, then by seed.

    Args:
        results: of the video, with different seeds.
        info: the video.

    Raises:
        MediaError: the video can't be read again.
    """
    from foleyflow.inference.take_synchrony import synchrony_scores  # judges take time to import

    candidates = [
        Candidate(
            result=result,
            seed=int(str(result.settings["seed"])),
            scores=CandidateScores(
                onsets=onset_agreement(
                    find_onsets(result.mono_blocks, result.sample_rate_hz), result.cues
                ),
                levels=level_agreement(result),
                synchrony=synchrony,
            ),
        )
        for result, synchrony in zip(results, synchrony_scores(results, info), strict=True)
    ]
    return sorted(candidates, key=lambda each: (-each.scores.total, each.seed))


def onset_agreement(onsets_s: NDArray[np.float64], cues: CueSheet) -> float | None:
    """See `CandidateScores.onsets`.

    Pairs are found in one merge of both sorted lists, which is optimal in one dimension.
    """
    hits_s = [cue.time_s for cue in cues.enabled.hits]
    frictions = list(cues.enabled.frictions)
    if not hits_s:
        return None
    matched = extra = index = 0
    for onset_s in onsets_s:
        while index < len(hits_s) and hits_s[index] < onset_s - HIT_WINDOW_S:
            index += 1
        if index < len(hits_s) and hits_s[index] <= onset_s + HIT_WINDOW_S:
            matched, index = matched + 1, index + 1
        elif not any(
            cue.time_s - HIT_WINDOW_S <= onset_s <= (cue.end_s or 0.0) + AFTER_FRICTION_S
            for cue in frictions
        ):
            extra += 1
    return 2 * matched / (len(hits_s) + matched + extra)


def level_agreement(result: Generated) -> float | None:
    """See `CandidateScores.levels`."""
    rate_hz, hits = result.sample_rate_hz, list(result.cues.enabled.hits)
    starts = [max(round((hit.time_s - EARLY_S) * rate_hz), 0) for hit in hits]
    # Until the attack of the next hit, if it is not too close
    ends = [
        max(
            min(round((hit.time_s + PEAK_S) * rate_hz), after),
            round((hit.time_s + RAMP_S) * rate_hz),
        )
        for hit, after in zip(hits, [*starts[1:], result.sample_count], strict=False)
    ]
    peaks, position = np.zeros(len(hits)), 0
    for block in result.mono_blocks():
        end = position + block.shape[1]
        index = bisect.bisect_right(ends, position)
        while index < len(hits) and starts[index] < end:
            own = block[0, max(starts[index] - position, 0) : max(ends[index] - position, 0)]
            peaks[index] = max(peaks[index], float(np.abs(own).max(initial=0.0)))
            index += 1
        position = end
    errors_db = [
        abs(20 * np.log10(max(peak, FAINTEST) / (NOMINAL_PEAK * result._take.gain)) - hit.level_db)
        for hit, peak in zip(hits, peaks, strict=True)
        if hit.level_db is not None
    ]
    if not errors_db:
        return None
    return float(np.mean(1 - np.minimum(errors_db, LARGEST_GAIN_DB) / LARGEST_GAIN_DB))
