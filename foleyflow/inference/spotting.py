"""Proposes the cues of a clip from its analysis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_covering
from foleyflow.cues.cue import Cue, CueKind
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.tracks import QUIETEST_DB
from foleyflow.inference.analysis import Analysis, HitCandidate
from foleyflow.inference.calibration import Calibration
from foleyflow.inference.sensitivity import DEFAULT_SENSITIVITY, check_sensitivity

LISTED_CONFIDENCE = 0.1  # less confident cues are in the sheet only if they are enabled
# Without a confident cue, peaks this much above the median probability stand out; those below a
# fraction of the highest one do not.
PROMINENCE, FRACTION_OF_HIGHEST = 6.0, 0.35
DECIMALS = 4  # of seconds in a sheet: 0.1 ms
LOUDEST_DB = 6.0  # of proposed levels

IN_A_SHEET = "in a cue sheet: `foleyflow spot` writes it, `foleyflow generate --cues` takes it"

# Friction
FRICTION_PROBABILITY = 0.5
SHORTEST_FRICTION_S = 0.2
LONGEST_BREAK_S = 0.12
CURVE_STEP_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Spotting:
    """The proposed cues, and warnings for the user."""

    cues: CueSheet
    warnings: tuple[str, ...]


def spot_cues(
    analysis: Analysis,
    *,
    materials: Sequence[str],
    calibration: Calibration,
    sensitivity: float = DEFAULT_SENSITIVITY,
) -> Spotting:
    """The cues of a clip; uncertain ones are disabled.

    A higher sensitivity enables the same hits and more. If no hit and no friction is certain, the
    hits that stand out from the clip are enabled, unless the sensitivity is below its default.

    Args:
        analysis: of the clip.
        materials: names of the aligner's materials.
        calibration: of the aligner.
        sensitivity: above 0 and below 1.

    Raises:
        ConfigError: the sensitivity is out of range.
    """
    check_sensitivity(sensitivity)
    # Hits that are certain enough, or else those that stand out
    candidates, frictions = analysis.candidates, _find_frictions(analysis)
    confidences = [calibration.confidence(each.probability) for each in candidates]
    enabled = [calibration.enables(each, sensitivity) for each in confidences]
    certain = any(calibration.enables(each, DEFAULT_SENSITIVITY) for each in confidences)
    warnings: list[str] = []
    if not certain and not frictions and sensitivity >= DEFAULT_SENSITIVITY:
        enabled = [on or out for on, out in zip(enabled, _prominent(analysis), strict=True)]
        if count := sum(enabled):
            warnings.append(
                f"no hit was found with confidence, so the most prominent movements count as hits "
                f"({count}; check them {IN_A_SHEET})"
            )
    if not any(enabled) and not frictions:
        warnings.append(
            "no hit was found, so nothing will sound (raise --sensitivity, or enable or add cues "
            f"{IN_A_SHEET})"
        )
    # Levels relative to the loudest hit, and materials
    chosen = [each for each, on in zip(candidates, enabled, strict=True) if on]
    loudest_db = max((each.level_db for each in chosen if each.level_db is not None), default=0.0)
    name_of_hit = _material_namer(chosen, materials)
    cues = [
        Cue(
            time_s=_rounded_s(candidate.time_s, analysis.duration_s),
            level_db=None if candidate.level_db is None else _level(candidate.level_db, loudest_db),
            material=name_of_hit(candidate),
            pan=analysis.motion.pan(candidate.time_s),
            enabled=on,
            confidence=round(confidence, 3),
        )
        for candidate, confidence, on in zip(candidates, confidences, enabled, strict=True)
        if on or confidence >= LISTED_CONFIDENCE
    ]
    cues += [_friction_cue(analysis, *each, materials, loudest_db) for each in frictions]
    sheet = CueSheet(cues=tuple(cues), duration_s=analysis.duration_s)
    return Spotting(cues=sheet, warnings=tuple(warnings))


def _prominent(analysis: Analysis) -> list[bool]:
    """Which candidates stand out from the probability of the complete clip."""
    probabilities = [each.probability for each in analysis.candidates]
    floor = PROMINENCE * float(np.median(analysis.curves.onsets))
    limit = max(floor, FRACTION_OF_HIGHEST * max(probabilities, default=0.0))
    return [probability >= limit for probability in probabilities]


def _material_namer(
    hits: Sequence[HitCandidate], names: Sequence[str]
) -> Callable[[HitCandidate], str | None]:
    """A function that names the material of a hit; None without names or predictions.

    Most clips have one or two materials. If each hit were named by its own probabilities alone, the
    timbre of an object would change from hit to hit. So those of all enabled hits are added.
    """
    of_all = np.mean([hit.materials for hit in hits], axis=0) if hits else 0.0

    def name_of(hit: HitCandidate) -> str | None:
        if not names or not len(hit.materials):
            return None
        return names[int(np.argmax(hit.materials + of_all))]

    return name_of


def _find_frictions(analysis: Analysis) -> list[tuple[int, int]]:
    """First and last latent frame of each rolling or scraping within the clip."""
    rate_hz = analysis.rate_hz
    frames = count_covering(analysis.duration_s, rate_hz)
    active = analysis.curves.friction[:frames, 1:].sum(1) >= FRICTION_PROBABILITY
    stretches = _stretches(active, longest_break=round(LONGEST_BREAK_S * rate_hz))
    shortest = SHORTEST_FRICTION_S * rate_hz
    return [(first, last) for first, last in stretches if last + 1 - first >= shortest]


def _friction_cue(
    analysis: Analysis, first: int, last: int, names: Sequence[str], loudest_db: float
) -> Cue:
    """The cue of a friction, with its level at steps of about `CURVE_STEP_S`."""
    inside, curves = slice(first, last + 1), analysis.curves
    _, roll, scrape = curves.friction[inside].sum(0)
    kind: CueKind = "roll" if roll >= scrape else "scrape"
    start_s, end_s = first / analysis.rate_hz, (last + 1) / analysis.rate_hz
    steps_s = np.linspace(start_s, end_s, max(2, round((end_s - start_s) / CURVE_STEP_S) + 1))
    centres_s = (np.arange(first, last + 1) + 0.5) / analysis.rate_hz
    levels_db = np.interp(steps_s, centres_s, curves.friction_levels_db[inside])
    likely = curves.materials[inside].astype(np.float32).mean(0)
    return Cue(
        time_s=_rounded_s(start_s, analysis.duration_s),
        end_s=_rounded_s(end_s, analysis.duration_s),
        kind=kind,
        level_curve_db=tuple(_level(float(level_db), loudest_db) for level_db in levels_db),
        material=names[int(np.argmax(likely))] if names else None,
        pan=analysis.motion.pan(start_s, end_s),
        confidence=round(float(curves.friction[inside, 1:].sum(1).mean()), 3),
    )


def _rounded_s(time_s: float, duration_s: float) -> float:
    """The time to 0.1 ms, within the clip."""
    return min(round(time_s, DECIMALS), duration_s)


def _level(level_db: float, loudest_db: float) -> float:
    """A predicted level relative to the loudest hit of the clip.

    Predictions say more about differences within a clip than about its absolute level.
    """
    return round(min(max(level_db - loudest_db, QUIETEST_DB), LOUDEST_DB), 1)


def _stretches(active: NDArray[np.bool_], *, longest_break: int) -> list[tuple[int, int]]:
    """First and last index of each stretch, where short breaks do not count."""
    indices = np.flatnonzero(active)
    if not len(indices):
        return []
    borders = np.flatnonzero(np.diff(indices) > longest_break + 1)
    firsts = [indices[0], *indices[borders + 1]]
    lasts = [*indices[borders], indices[-1]]
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


def place_warnings(cues: CueSheet) -> list[str]:
    """A warning if there are enabled cues, but none has a place in the picture."""
    if not len(cues.enabled) or any(cue.pan is not None for cue in cues.enabled):
        return []
    return [
        f"no cue has a clear place in the picture, so all are in the centre (set pan {IN_A_SHEET})"
    ]
