"""Calibrate the confidence of cues on simulated clips, and measure it on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.adaptation.calibration_fit import JudgedCandidates, fit_to_candidates
from foleyflow.alignment.model import Alignment
from foleyflow.data.clip_types import ClipLabels
from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError
from foleyflow.experiments.found_cues import (
    FoundCues,
    are_impacts,
    attribute_figures,
    hit_figures,
    impact_times_s,
)
from foleyflow.experiments.machine import code_commit
from foleyflow.experiments.reliability import (
    BINS,
    brier_score,
    calibration_error,
    reliability_table,
)
from foleyflow.inference.analysis import Analysis, analyse_video
from foleyflow.inference.calibration import (
    Calibration,
    CalibrationOrigin,
    read_calibration,
    write_calibration,
)
from foleyflow.inference.spotting import spot_cues
from foleyflow.inference.window_spool import WindowSpool
from foleyflow.inference.windows import WindowPlan, aligner_plan
from foleyflow.media import probe
from foleyflow.pretrained import load_aligner_with_encoder
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.system.stopwatch import Stopwatch
from foleyflow.weights import read_record


@dataclass(frozen=True, kw_only=True)
class AnalysedClip:
    """What an aligner found in a clip, without the conditions of the flow.

    Attributes:
        impacts_s: (K,) times of the impacts that are cues.
        correct: (C,) which candidates of hits are impacts.
    """

    labels: ClipLabels
    analysis: Analysis
    impacts_s: NDArray[np.float64]
    correct: NDArray[np.bool_]


def measure_calibration(
    model: Path,
    data: Path,
    *,
    split: str,
    test_split: str,
    clips: int,
    write: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Fit the calibration of an aligner on one split, and measure it on that and on another one.

    Args:
        model: a folder with an aligner.
        data: data set of simulated clips with videos.
        split, test_split: of the data set; they must differ.
        clips: largest number of clips of each split.
        write: write the fitted calibration into the model's folder.
        progress: called with the number of analysed and of all clips.

    Returns:
        "calibrations": "before", that of the model, and "after", the fitted one; "fit" and "test":
        figures of each split before and after (see `calibration_figures`); "written": the file.

    Raises:
        ConfigError: both splits are the same.
        DataError: the clips can't be used, or contain no impacts or candidates to fit to.
        CheckpointError: the aligner or its calibration can't be used.
    """
    if split == test_split:
        raise ConfigError(
            f"both splits are {split!r}: expected clips for the test that the fit does not use",
            hint="leave --test-split out, or give another one",
        )
    # Analyse both splits
    aligner = load_aligner_with_encoder(model)
    before, plan = read_calibration(model), aligner_plan(model)
    sources = {"fit": SimulatedClips(data, split), "test": SimulatedClips(data, test_split)}
    counts = {name: min(clips, len(source)) for name, source in sources.items()}
    total, done = sum(counts.values()), 0
    analysed: dict[str, list[AnalysedClip]] = {name: [] for name in sources}
    for name, source in sources.items():
        source.require_frames()
        for index in range(counts[name]):
            analysed[name].append(_analyse(aligner, source, index, plan))
            progress(done := done + 1, total)
    # Fit, and compare
    materials = MATERIAL_NAMES[: aligner.config.materials]
    after = fit_calibration(analysed["fit"])
    calibrations = {"before": before, "after": after}
    report: dict[str, Any] = {
        "model": str(model),
        "calibrations": {name: asdict(each) for name, each in calibrations.items()},
    }
    for name, source in sources.items():
        report[name] = {
            "split": source.split,
            "clips": counts[name],
            "candidates": sum(len(clip.correct) for clip in analysed[name]),
            **{
                when: calibration_figures(analysed[name], calibration, materials)
                for when, calibration in calibrations.items()
            },
        }
    # Write
    report["written"] = None
    if write:
        origin = CalibrationOrigin(
            data=data.resolve().name,
            fingerprint=sources["fit"].fingerprint,
            split=split,
            clips=counts["fit"],
            candidates=report["fit"]["candidates"],
            commit=code_commit(),
            aligner=read_record(model, "align").sha256,
        )
        report["written"] = str(write_calibration(model, after, origin))
    return report


def fit_calibration(clips: Sequence[AnalysedClip]) -> Calibration:
    """The calibration that fits the candidates of clips; see `fit_to_candidates`."""
    return fit_to_candidates(
        [
            JudgedCandidates(
                times_s=np.array([each.time_s for each in clip.analysis.candidates], np.float64),
                probabilities=np.array(_probabilities(clip), np.float64),
                correct=clip.correct,
                impacts_s=clip.impacts_s,
            )
            for clip in clips
        ]
    )


def calibration_figures(
    clips: Sequence[AnalysedClip], calibration: Calibration, materials: Sequence[str]
) -> dict[str, Any]:
    """Figures of a calibration.

    Returns:
        "calibration_error" and "brier" of all candidates; those of `hit_figures` and of
        `attribute_figures`; "bins": range of confidence -> [mean confidence, fraction of
        candidates that are impacts, number].
    """
    confidences = [calibration.confidence(p) for clip in clips for p in _probabilities(clip)]
    correct = _joined([clip.correct for clip in clips])
    table = reliability_table(confidences, correct)
    found = found_cues(clips, calibration, materials)
    return {
        "calibration_error": round(calibration_error(table), 4),
        "brier": round(brier_score(confidences, correct), 4) if len(correct) else None,
        **hit_figures(found),
        **attribute_figures(found),
        "bins": {
            f"{number / BINS:.1f} to {(number + 1) / BINS:.1f}": each.rounded()
            for number, each in table.items()
        },
    }


def found_cues(
    clips: Sequence[AnalysedClip], calibration: Calibration, materials: Sequence[str]
) -> FoundCues:
    """The cue sheets of clips at the default sensitivity, with their labels."""
    return [
        (
            clip.labels,
            spot_cues(clip.analysis, materials=materials, calibration=calibration).cues,
        )
        for clip in clips
    ]


def _analyse(
    aligner: Alignment, source: SimulatedClips, index: int, plan: WindowPlan
) -> AnalysedClip:
    """The analysis of a clip, whose candidates are compared with its impacts."""
    labels = source.labels(index)
    with source.files(index) as (video, _):
        analysis, _ = analyse_video(
            aligner, probe(video), plan, Stopwatch(), threads=torch.get_num_threads()
        )
    return AnalysedClip(
        labels=labels,
        analysis=replace(analysis, windows=WindowSpool()),
        impacts_s=impact_times_s(labels),
        correct=are_impacts([each.time_s for each in analysis.candidates], labels),
    )


def _probabilities(clip: AnalysedClip) -> list[float]:
    return [each.probability for each in clip.analysis.candidates]


def _joined(parts: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.concatenate([np.zeros(0, bool), *parts])
