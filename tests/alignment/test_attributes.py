"""Attributes of cues: shapes, where targets count, and that an aligner can learn them."""

from __future__ import annotations

import math

import pytest
import torch

from foleyflow.alignment.attributes import AttributeHead, CueAttributes, attribute_losses

BATCH, SEGMENTS, WIDTH, MATERIALS = 2, 5, 16, 3
FRAMES = 4 * SEGMENTS


def targets(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    shape = (BATCH, FRAMES)
    return {
        "cue_levels_db": torch.full(shape, math.nan),
        "cue_materials": torch.full(shape, -1),
        "cue_strikers": torch.full(shape, -1),
        "friction": torch.zeros(shape, dtype=torch.int64),
        "friction_levels_db": torch.full(shape, math.nan),
        **changed,
    }


def predicted(level_db: float = 0.0) -> CueAttributes:
    shape = (BATCH, FRAMES)
    return CueAttributes(
        levels_db=torch.full(shape, level_db),
        materials=torch.zeros(*shape, MATERIALS),
        strikers=torch.zeros(*shape, MATERIALS),
        friction=torch.zeros(*shape, 3),
        friction_levels_db=torch.full(shape, level_db),
    )


def test_losses_of_uninformative_attributes_in_closed_form():
    levels, materials = targets()["cue_levels_db"], targets()["cue_materials"]
    levels[0, 3], levels[1, 5] = -6.0, -12.0
    materials[0, 3] = 2
    losses = attribute_losses(predicted(), targets(cue_levels_db=levels, cue_materials=materials))
    assert float(losses["cue_level"]) == pytest.approx(9.0 / 60.0)
    assert float(losses["cue_material"]) == pytest.approx(math.log(MATERIALS))
    assert float(losses["friction"]) == pytest.approx(math.log(3))


def test_without_any_target_the_losses_are_zero_and_have_gradients():
    head = AttributeHead(WIDTH, latents_per_segment=4, materials=MATERIALS)
    found = head(
        torch.randn(BATCH, FRAMES, WIDTH),
        torch.randn(BATCH, SEGMENTS, WIDTH),
        torch.randn(BATCH, WIDTH),
    )
    losses = attribute_losses(found, targets(friction=torch.full((BATCH, FRAMES), -1)))
    assert all(float(value.detach()) == 0.0 for value in losses.values())
    sum(losses.values()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in head.parameters() if p.grad is not None)


def test_a_head_learns_attributes_from_its_inputs():
    torch.manual_seed(0)
    head = AttributeHead(WIDTH, latents_per_segment=4, materials=MATERIALS)
    video = torch.randn(8, FRAMES, WIDTH)
    states, clip = torch.randn(8, SEGMENTS, WIDTH), torch.randn(8, WIDTH)
    wanted = {
        "cue_levels_db": -10.0 + 5.0 * video[..., 0],
        "cue_materials": video[..., 1:4].argmax(-1),
        "cue_strikers": states[..., :3].argmax(-1).repeat_interleave(4, dim=1),
        "friction": clip[:, :3].argmax(-1)[:, None].expand(-1, FRAMES),
        "friction_levels_db": torch.full((8, FRAMES), -30.0),
    }
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for _ in range(300):
        losses = attribute_losses(head(video, states, clip), wanted)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    with torch.no_grad():
        found = head(video, states, clip)
    for logits, classes in (
        (found.materials, wanted["cue_materials"]),
        (found.strikers, wanted["cue_strikers"]),
        (found.friction, wanted["friction"]),
    ):
        assert float((logits.argmax(-1) == classes).float().mean()) > 0.9
    assert float((found.levels_db - wanted["cue_levels_db"]).abs().mean()) < 2.0
