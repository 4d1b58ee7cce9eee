"""Isolated hits of simulated clips, and how similar generated hits are to recorded ones.

Dimension letters: N samples, K hits, R references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.cues.arrays import CueArrays
from foleyflow.data.clip_types import ClipLabels
from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import DataError
from foleyflow.features.cue_labels import cues_of_labels
from foleyflow.judges.interface import MaterialJudge
from foleyflow.judges.networks.log_mel import RANGE, JudgeLogMel, normalise_to_peak
from foleyflow.simulation.materials import MATERIAL_NAMES

# A hit stands alone if no other sound is closer, and it is loud enough.
ALONE_BEFORE_S, ALONE_AFTER_S = 0.15, 0.25
FAINTEST_DB = -20.0
COMPARED_BEFORE_S, COMPARED_AFTER_S = 0.02, 0.25  # of the spectra
TAGGED_BEFORE_S, TAGGED_AFTER_S = 0.1, 0.38  # of the sound that the tagger gets
LOWEST_HZ, HIGHEST_HZ = 30.0, 14_000.0  # of the strongest partial

_LEVEL_DB = 20 / np.log(10) * RANGE / 2  # per unit of the normalised levels
_front_end = JudgeLogMel()


@dataclass(frozen=True, kw_only=True, eq=False)
class IsolatedHit:
    """A hit of a clip that stands alone.

    Attributes:
        clip: index in the split.
        cues: of the clip.
        index: of the hit in `cues`.
        sound: (N,) of the clip.
    """

    clip: int
    cues: CueArrays
    index: int
    sound: NDArray[np.float32]

    @property
    def time_s(self) -> float:
        """Time of the hit in the clip."""
        return float(self.cues.times_s[self.index])

    @property
    def material(self) -> str:
        """Material of the struck body."""
        return MATERIAL_NAMES[self.cues.materials[self.index]]


@dataclass(frozen=True, kw_only=True)
class SoundedHit:
    """A sound (N,) with a hit at `time_s`."""

    sound: NDArray[np.float32]
    time_s: float


def isolated_hits(source: SimulatedClips, clips: int) -> list[IsolatedHit]:
    """The hit of each of the first `clips` clips that has the most time to itself, if any.

    Raises:
        DataError: fewer than two clips have one.
    """
    hits = []
    for clip in range(min(clips, len(source))):
        labels = source.labels(clip)
        cues = cues_of_labels(labels)
        index = _most_isolated(cues, labels)
        if index is not None:
            sound = source.load_sound(clip).mono()
            hits.append(IsolatedHit(clip=clip, cues=cues, index=index, sound=sound))
    if len(hits) < 2:
        raise DataError(
            f"{source.root}: {len(hits)} clips of {source.split} with a hit that stands alone, "
            "expected at least two",
            hint="give more --clips, or simulate more of them",
        )
    return hits


def _most_isolated(cues: CueArrays, labels: ClipLabels) -> int | None:
    """The isolated hit with the longest time up to the next sound; the louder one of equals."""
    best: tuple[float, float, int] | None = None
    for index in np.flatnonzero(cues.is_hit):
        time_s, level_db = float(cues.times_s[index]), float(cues.levels_db[index])
        others = np.arange(len(cues)) != index
        near = (cues.times_s < time_s + ALONE_AFTER_S) & (cues.ends_s > time_s - ALONE_BEFORE_S)
        ends_s = time_s + ALONE_AFTER_S + COMPARED_BEFORE_S
        if (near & others).any() or level_db < FAINTEST_DB or ends_s > labels.duration_s:
            continue
        later_s = [*cues.times_s[cues.times_s > time_s], labels.duration_s]
        rank = (min(min(later_s) - time_s, TAGGED_AFTER_S), level_db, int(index))
        best = rank if best is None else max(best, rank)
    return None if best is None else best[2]


def references_of(hits: Sequence[IsolatedHit], seed: int) -> list[IsolatedHit]:
    """A hit of another clip for each hit, at random; each is used once."""
    order = np.random.default_rng(seed).permutation(len(hits))
    chosen = dict(zip(order.tolist(), np.roll(order, -1).tolist(), strict=True))
    return [hits[chosen[index]] for index in range(len(hits))]


def similarity(
    made: Sequence[SoundedHit],
    references: Sequence[IsolatedHit],
    judge: MaterialJudge,
    rate_hz: int,
) -> dict[str, Any]:
    """How similar hits are to their references, one for each.

    Returns:
        "material", the fraction whose material the judge recognises as that of the reference;
        "own_db" and "other_db", the distance of log-mel spectra to the own reference and the mean
        one to those of other clips, and "ratio", the first by the second; "ratio_in_material", the
        same among references of one material; "rank", the mean fraction of the other references
        that are nearer; "octaves", the median distance of the strongest partial.
    """
    recognised = [
        judge.material(excerpt(each, TAGGED_BEFORE_S, TAGGED_AFTER_S, rate_hz)) == other.material
        for each, other in zip(made, references, strict=True)
    ]
    recorded = [SoundedHit(sound=each.sound, time_s=each.time_s) for each in references]
    distances = spectral_distances_db(made, recorded, rate_hz)
    count = len(references)
    own, is_own = np.diagonal(distances), np.eye(count, dtype=bool)
    names = np.array([each.material for each in references])
    is_rival = (names[:, None] == names[None]) & ~is_own
    has_rival = is_rival.any(1)
    rivals = [row[mask].mean() for row, mask in zip(distances, is_rival, strict=True) if mask.any()]
    partials = [
        [strongest_partial_hz(each, rate_hz) for each in sounds] for sounds in (made, recorded)
    ]
    octaves = np.abs(np.diff(np.log2(partials), axis=0))[0]
    return {
        "material": round(float(np.mean(recognised)), 3),
        "own_db": round(float(own.mean()), 2),
        "other_db": round(float(distances[~is_own].mean()), 2),
        "ratio": round(float(own.mean() / distances[~is_own].mean()), 3),
        "ratio_in_material": round(float(own[has_rival].mean() / np.mean(rivals)), 3)
        if rivals
        else None,
        "rank": round(float((distances < own[:, None]).sum(1).mean() / (count - 1)), 3),
        "octaves": round(float(np.median(octaves)), 2),
    }


def excerpt(hit: SoundedHit, before_s: float, after_s: float, rate_hz: int) -> NDArray[np.float32]:
    """The samples around a hit, with zeros outside of the sound."""
    first = round((hit.time_s - before_s) * rate_hz)
    samples = np.zeros(round((before_s + after_s) * rate_hz), np.float32)
    found = hit.sound[max(first, 0) : first + len(samples)]
    start = max(-first, 0)
    samples[start : start + len(found)] = found
    return samples


@torch.no_grad()
def spectral_distances_db(
    made: Sequence[SoundedHit], recorded: Sequence[SoundedHit], rate_hz: int
) -> NDArray[np.float64]:
    """Root mean square differences of log-mel levels, (K, R) in dB.

    Levels are relative to the peak of each hit, and at least -70 dB.
    """
    spectra = []
    for sounds in (made, recorded):
        pieces = [excerpt(e, COMPARED_BEFORE_S, COMPARED_AFTER_S, rate_hz) for e in sounds]
        levels = normalise_to_peak(_front_end(torch.from_numpy(np.stack(pieces))))
        spectra.append(_LEVEL_DB * levels.double().flatten(1).numpy())
    return np.stack([np.sqrt(np.square(row - spectra[1]).mean(1)) for row in spectra[0]])


def strongest_partial_hz(hit: SoundedHit, rate_hz: int) -> float:
    """The frequency of the highest magnitude in the spectrum after the onset."""
    samples = excerpt(hit, 0.0, COMPARED_AFTER_S, rate_hz)
    magnitudes = np.abs(np.fft.rfft(samples * np.hanning(2 * len(samples))[len(samples) :]))
    hertz = np.fft.rfftfreq(len(samples), 1 / rate_hz)
    magnitudes[(hertz < LOWEST_HZ) | (hertz > HIGHEST_HZ)] = 0.0
    return float(hertz[int(magnitudes.argmax())] or LOWEST_HZ)
