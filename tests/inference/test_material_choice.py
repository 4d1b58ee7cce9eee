"""The material that is chosen if the user gives none."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.inference.material_choice import choose_material


@pytest.mark.parametrize(
    ("probabilities", "chosen"),
    [
        ((0.2, 0.5, 0.3), "stone"),  # glass rings and is not more likely than the others
        ((0.2, 0.55, 0.25), "glass"),
        ((0.2, 0.35, 0.45), "stone"),
        ((0.45, 0.35, 0.2), "wood"),
    ],
)
def test_a_ringing_material_must_be_more_likely_than_all_others(probabilities, chosen):
    names = ("wood", "glass", "stone")
    index = choose_material(np.array(probabilities, np.float32), names)
    assert names[index] == chosen
    assert choose_material(np.array([0.3, 0.7], np.float32), ("metal", "glass")) == 1
    assert choose_material(np.array([0.5, 0.5], np.float32), ("metal", "glass")) == 0
