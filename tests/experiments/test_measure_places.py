"""Places of contacts in simulated pictures, from the seeds of clips and from motion in them."""

from __future__ import annotations

import pytest
from support.cli_model import check_refusal, run_cli

pytest.importorskip("mujoco", reason="simulated clips need the extra 'physics' (mujoco)")

from support import bouncing_ball

from foleyflow.experiments.measure_places import measure_places


def test_the_places_of_a_ball_are_found(simulated_data):
    """Two independent ways to the same places: the projected contact, and motion in the frames."""
    figures = measure_places(
        simulated_data, split="train", clips=6, sample_scene=bouncing_ball.sample_scene
    )
    assert figures["contacts"] == 12
    assert figures["mean_error"] < 0.15 and figures["near"] > 0.8
    assert figures["mean_error"] < figures["mean_error_of_centre"]
    assert figures["off_centre"]["other_side"] in (0.0, None)


def test_clips_of_another_simulation_are_refused(simulated_data):
    outcome = run_cli("measure", "places", simulated_data, "--split", "train")
    assert "its seed gives a scene" in check_refusal(outcome, status=outcome.status)
    assert outcome.status
