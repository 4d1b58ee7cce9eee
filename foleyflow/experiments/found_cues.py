"""Figures of cues that an aligner finds in simulated clips, against the exact impacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.cues.sheet import CueSheet
from foleyflow.data.clip_types import ClipLabels
from foleyflow.evaluation.metrics.synchrony import onset_score
from foleyflow.evaluation.metrics.synchrony.matching import OnsetScore, nearest_pairs
from foleyflow.experiments.measure_aligner import WINDOW_S
from foleyflow.experiments.reliability import reliability_table
from foleyflow.features.cue_labels import sheet_of_labels

FEWEST_HITS = 4  # whose levels are correlated
FoundCues = Sequence[tuple[ClipLabels, CueSheet]]


def cue_figures(found: FoundCues) -> dict[str, Any]:
    """Figures of found cues against the exact impacts.

    Returns:
        those of `hit_figures` and of `attribute_figures`; "confidence": per bin, [mean confidence,
        fraction of hits that are impacts (see `are_impacts`), number], also of disabled hits.
    """
    confidences: list[float] = []
    labels_of_hits: list[bool] = []
    for labels, sheet in found:
        hits = [cue for cue in sheet.hits if cue.confidence is not None]
        confidences += [cue.confidence for cue in hits if cue.confidence is not None]
        labels_of_hits += are_impacts([cue.time_s for cue in hits], labels).tolist()
    return {
        **hit_figures(found),
        **attribute_figures(found),
        "confidence": [
            each.rounded() for each in reliability_table(confidences, labels_of_hits).values()
        ],
    }


def hit_figures(found: FoundCues) -> dict[str, float | None]:
    """Figures of the times of enabled hits.

    Returns:
        "f1", "precision" and "recall" at 50 ms, each the mean over clips with impacts, where a clip
        without enabled hits counts as 0; and "false_hits", the mean number of enabled hits in clips
        without impacts.
    """
    scores = hit_scores(found)
    false = [float(len(s.enabled.hits)) for labels, s in found if not len(impact_times_s(labels))]
    return {
        "f1": rounded_mean([score.f1 for score in scores]),
        "precision": rounded_mean([score.precision for score in scores]),
        "recall": rounded_mean([score.recall for score in scores]),
        "false_hits": rounded_mean(false),
    }


def hit_scores(found: FoundCues) -> list[OnsetScore]:
    """The score of the enabled hits at 50 ms of each clip with impacts."""
    return [
        onset_score(times_s, [cue.time_s for cue in sheet.enabled.hits], WINDOW_S)
        for labels, sheet in found
        if len(times_s := impact_times_s(labels))
    ]


def attribute_figures(found: FoundCues) -> dict[str, float | None]:
    """Figures of the attributes of enabled hits within 50 ms of an impact, against the nearest one.

    Returns:
        "material", the fraction that name its material, and "level_correlation" of their levels,
        None if there are too few.
    """
    materials, levels = [], []
    for labels, sheet in found:
        exact = sheet_of_labels(labels).hits
        times_s = np.array([cue.time_s for cue in exact])
        for cue in sheet.enabled.hits:
            distances_s = np.abs(times_s - cue.time_s)
            if distances_s.min(initial=np.inf) > WINDOW_S:
                continue
            nearest = exact[int(distances_s.argmin())]
            materials.append(float(cue.material == nearest.material))
            if cue.level_db is not None and nearest.level_db is not None:
                levels.append((nearest.level_db, cue.level_db))
    return {
        "material": rounded_mean(materials),
        "level_correlation": round(float(np.corrcoef(np.array(levels).T)[0, 1]), 3)
        if len(levels) > FEWEST_HITS
        else None,
    }


def impact_times_s(labels: ClipLabels) -> NDArray[np.float64]:
    """Times of the impacts of a clip that are cues, (K,)."""
    return np.array([cue.time_s for cue in sheet_of_labels(labels).hits], np.float64)


def are_impacts(times_s: ArrayLike, labels: ClipLabels) -> NDArray[np.bool_]:
    """Which of the ascending times (H,) of hits are within 50 ms of an impact, (H,).

    An impact counts for one hit, the nearest one.
    """
    times = np.asarray(times_s, np.float64)
    near = np.zeros(len(times), bool)
    near[[index for _, index in nearest_pairs(impact_times_s(labels), times, WINDOW_S)]] = True
    return near


def rounded_mean(values: Sequence[float]) -> float | None:
    """The mean to three decimals; None of no values."""
    return round(float(np.mean(values)), 3) if len(values) else None
