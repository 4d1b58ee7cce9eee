"""Calibrates an adapted aligner on simulated clips and on held-out recordings, half each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.adaptation.calibration_fit import JudgedCandidates, fit_to_candidates
from foleyflow.adaptation.recordings import analyse_recording
from foleyflow.adaptation.scoring import PIECE_S
from foleyflow.alignment.model import Alignment
from foleyflow.data.clips import SimulatedClips
from foleyflow.evaluation.metrics.synchrony import WINDOWS_S
from foleyflow.evaluation.metrics.synchrony.matching import nearest_pairs
from foleyflow.features.cue_labels import sheet_of_labels
from foleyflow.inference.analysis import Analysis
from foleyflow.inference.calibration import Calibration
from foleyflow.inference.windows import WindowPlan
from foleyflow.media import probe

CALIBRATION_CLIPS = 48


def simulated_candidates(
    aligner: Alignment,
    clips: SimulatedClips,
    plan: WindowPlan,
    progress: Callable[[int, int], None],
) -> list[JudgedCandidates]:
    """The candidates in simulated clips, against the exact impacts."""
    count = min(CALIBRATION_CLIPS, len(clips))
    judged = []
    for index in range(count):
        with clips.files(index) as (video, _):
            analysis = analyse_recording(probe(video), aligner, plan)
        impacts_s = [cue.time_s for cue in sheet_of_labels(clips.labels(index)).hits]
        judged.append(judge_candidates(analysis, np.array(impacts_s, np.float64)))
        progress(index + 1, count)
    return judged


def recorded_candidates(
    analysis: Analysis, onsets_s: NDArray[np.float64], lag_s: float
) -> list[JudgedCandidates]:
    """The candidates in pieces of a recording, against the onsets of its sound without its lag."""
    judged = judge_candidates(analysis, onsets_s - lag_s)
    count = max(1, round(analysis.duration_s / PIECE_S))
    edges_s = np.linspace(0.0, analysis.duration_s, count + 1)
    pieces = []
    for begin_s, end_s in pairwise(edges_s.tolist()):
        inside = (judged.times_s >= begin_s) & (judged.times_s < end_s)
        near = (judged.impacts_s >= begin_s) & (judged.impacts_s < end_s)
        pieces.append(
            JudgedCandidates(
                times_s=judged.times_s[inside],
                probabilities=judged.probabilities[inside],
                correct=judged.correct[inside],
                impacts_s=judged.impacts_s[near],
            )
        )
    return pieces


def judge_candidates(analysis: Analysis, impacts_s: NDArray[np.float64]) -> JudgedCandidates:
    """The candidates of an analysis; those nearest to an impact within 50 ms are correct."""
    times_s = np.array([each.time_s for each in analysis.candidates], np.float64)
    impacts_s = impacts_s[impacts_s >= 0]
    correct = np.zeros(len(times_s), bool)
    correct[[found for _, found in nearest_pairs(impacts_s, times_s, WINDOWS_S[0])]] = True
    return JudgedCandidates(
        times_s=times_s,
        probabilities=np.array([each.probability for each in analysis.candidates], np.float64),
        correct=correct,
        impacts_s=impacts_s,
    )


def fit_to_both(
    simulated: Sequence[JudgedCandidates], recorded: Sequence[JudgedCandidates]
) -> Calibration:
    """The calibration of both kinds of clips, which count half each in the threshold."""
    weighted = [
        replace(clip, weight=1.0 / max(1, sum(len(each.impacts_s) > 0 for each in kind)))
        for kind in (simulated, recorded)
        for clip in kind
    ]
    return fit_to_candidates(weighted)


def simulated_validation(data: Path) -> SimulatedClips:
    """The validation clips of a simulated data set, which have videos."""
    clips = SimulatedClips(data, "validation")
    clips.require_frames()
    return clips
