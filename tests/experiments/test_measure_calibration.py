"""Calibration of confidences: labels, threshold and figures of hand-made clips, and the command."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from matplotlib.image import imread
from support.cli_model import make_model, run_cli
from support.hand_made_analysis import MATERIALS, analysis_of, attributes_of, bumps

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.data.clip_types import ClipEvent, ClipFriction, ClipLabels
from foleyflow.errors import DataError
from foleyflow.experiments.found_cues import are_impacts, cue_figures
from foleyflow.experiments.measure_calibration import (
    AnalysedClip,
    calibration_figures,
    fit_calibration,
)
from foleyflow.features.cue_labels import sheet_of_labels
from foleyflow.inference.calibration import Calibration, read_calibration
from foleyflow.weights import CALIBRATION_NAME


def impact(time_s: float, *, level_db: float = -6.0, material: str = "wood") -> ClipEvent:
    return ClipEvent(
        time_s=time_s,
        strength=0.5,
        kind="impact",
        material=material,
        other_material="wood",
        impulse_ns=0.1,
        level_db=level_db,
        pitch_hz=300.0,
        decay_s=0.2,
    )


def labels_of(*events: ClipEvent, frictions: tuple[ClipFriction, ...] = ()) -> ClipLabels:
    return ClipLabels(
        name="test/clip",
        kind="strikes",
        duration_s=2.0,
        material="wood",
        striker_material="wood",
        events=events,
        frictions=frictions,
    )


def clip_of(labels: ClipLabels, *peaks: tuple[float, float], **attributes) -> AnalysedClip:
    """A clip whose onset probability has peaks at (time in seconds, height)."""
    curve = bumps(2.0, *peaks)
    found = attributes_of(len(curve), **attributes) if attributes else None
    analysis = analysis_of(curve, duration_s=2.0, attributes=found)
    return AnalysedClip(
        labels=labels,
        analysis=analysis,
        impacts_s=labels.event_times_s,
        correct=are_impacts([each.time_s for each in analysis.candidates], labels),
    )


def test_of_two_candidates_at_one_impact_the_nearer_one_counts():
    labels = labels_of(impact(0.5), impact(1.0))
    found = are_impacts([0.46, 0.52, 0.96, 1.2], labels)
    assert found.tolist() == [False, True, True, False]
    assert are_impacts([], labels).tolist() == []
    assert are_impacts([0.5], labels_of()).tolist() == [False]


def test_frictions_and_faint_impacts_are_not_impacts():
    rolling = ClipFriction(
        kind="roll",
        start_s=1.5,
        end_s=1.52,
        material="wood",
        other_material="stone",
        level_db=(-20.0,),
        step_s=0.02,
        pitch_hz=300.0,
        decay_s=0.2,
    )
    labels = labels_of(impact(0.5), impact(1.0, level_db=-58.0), frictions=(rolling,))
    assert are_impacts([0.5, 1.0, 1.5], labels).tolist() == [True, False, False]
    # A friction of one level has no curve
    (friction,) = sheet_of_labels(labels).frictions
    assert (friction.level_db, friction.level_curve_db) == (-20.0, ())


def test_the_threshold_separates_true_from_false_candidates():
    # Candidates up to 0.3 are false, those from 0.6 on are impacts
    clips = []
    for shift_s in np.linspace(0, 0.1, 6):
        true_s = [0.3 + shift_s, 0.8 + shift_s, 1.3 + shift_s]
        false_s = [0.5 + shift_s, 1.05 + shift_s, 1.6 + shift_s]
        peaks = [*zip(true_s, (0.6, 0.7, 0.9), strict=True)]
        peaks += zip(false_s, (0.1, 0.2, 0.3), strict=True)
        clips.append(clip_of(labels_of(*map(impact, true_s)), *peaks))
    found = fit_calibration(clips)
    assert found.slope > 1  # more certain than the probabilities
    confidences = {True: [], False: []}
    for clip in clips:
        for candidate, correct in zip(clip.analysis.candidates, clip.correct, strict=True):
            confidences[bool(correct)].append(found.confidence(candidate.probability))
    assert max(confidences[False]) < found.threshold < min(confidences[True])
    figures = calibration_figures(clips, found, MATERIALS)
    assert (figures["f1"], figures["precision"], figures["recall"]) == (1.0, 1.0, 1.0)
    assert figures["false_hits"] is None
    plain = calibration_figures(clips, Calibration(), MATERIALS)
    assert figures["brier"] < plain["brier"]
    assert figures["calibration_error"] < plain["calibration_error"]
    assert sum(count for _, _, count in figures["bins"].values()) == 36


def test_clips_without_impacts_or_candidates_can_not_be_fitted():
    for clip in (clip_of(labels_of(), (0.5, 0.9)), clip_of(labels_of(impact(0.5)))):
        with pytest.raises(DataError, match="expected impacts, and onset probabilities"):
            fit_calibration([clip])


def test_false_hits_are_those_of_clips_without_impacts():
    clips = [
        clip_of(labels_of(impact(0.5)), (0.5, 0.9), (1.0, 0.9)),
        clip_of(labels_of(), (0.5, 0.9), (1.0, 0.9), (1.5, 0.9)),
        clip_of(labels_of(), (0.5, 0.9), (1.0, 0.1)),
    ]
    figures = calibration_figures(clips, Calibration(), MATERIALS)
    assert (figures["precision"], figures["recall"], figures["false_hits"]) == (0.5, 1.0, 2.0)


def test_attributes_are_compared_with_those_of_the_nearest_impact():
    labels = labels_of(
        *(impact(0.3 * k, level_db=-3.0 * k, material="glass") for k in range(1, 6)),
        impact(1.8, material="wood"),
    )
    hits = [
        Cue(time_s=0.3 * k + 0.01, level_db=-6.0 * k, material="glass", confidence=0.8)
        for k in range(1, 6)
    ]
    away = Cue(time_s=1.65, level_db=0.0, material="wood", confidence=0.7)
    disabled = Cue(time_s=1.8, material="metal", enabled=False, confidence=0.3)
    sheet = CueSheet(cues=(*hits, away, disabled), duration_s=2.0)
    figures = cue_figures([(labels, sheet)])
    assert figures["material"] == 1.0 and figures["level_correlation"] == 1.0
    assert figures["precision"] == figures["recall"] == 0.833
    # Five of the six confident hits are impacts; so is the disabled one
    assert figures["confidence"] == [[0.3, 1.0, 1], [0.7, 0.0, 1], [0.8, 1.0, 5]]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("calibrated") / "model", certainty=3.0)


def test_the_command_writes_what_the_model_then_uses(untouched, simulated_data, tmp_path):
    model = shutil.copytree(untouched, tmp_path / "model")
    plot, out = tmp_path / "plot.png", tmp_path / "report.json"
    arguments = ("measure", "calibration", simulated_data, "--model", model, "--clips", "4")
    outcome = run_cli(*arguments, "--json", "--plot", plot, "--out", out)
    assert outcome.status == 0, outcome.stderr
    assert outcome.answer["written"] is None and not (model / CALIBRATION_NAME).exists()
    assert json.loads(out.read_text()) == outcome.answer
    assert imread(plot).ndim == 3
    # With --write
    outcome = run_cli(*arguments, "--write")
    assert outcome.status == 0, outcome.stderr
    assert f"written: {model / CALIBRATION_NAME}" in outcome.stdout.splitlines()
    first = run_cli(*arguments, "--json").answer
    written = json.loads((model / CALIBRATION_NAME).read_text())
    fitted = first["calibrations"]["after"]
    assert first["calibrations"]["before"] == fitted == {name: written[name] for name in fitted}
    assert Calibration(**fitted) == read_calibration(model)
    assert first["fit"]["before"] == first["fit"]["after"]
    assert (written["split"], written["clips"]) == ("validation", 4)
    assert written["candidates"] == first["fit"]["candidates"] > 0
    assert first["test"]["split"] == "test" and first["test"]["clips"] == 4


def test_a_test_on_the_clips_of_the_fit_is_refused(untouched, simulated_data):
    outcome = run_cli(
        *("measure", "calibration", simulated_data, "--model", untouched),
        *("--split", "test"),
    )
    assert outcome.status == 2 and "both splits are 'test'" in outcome.error_lines[0]
