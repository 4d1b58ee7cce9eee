"""Attributes of cues in the aligner's task: targets, terms, gradients and settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.cues.arrays import ROLL, CueArrays, hits
from foleyflow.cues.targets import NO_FRICTION, ROLLING
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask

CLIPS, FRAMES, SEGMENTS = 5, 30, 10
LOSSES = AlignLossConfig(material=0.1, cue_level=0.5, cue_material=0.3, friction=0.2)
TERMS = {"cue_level", "cue_material", "friction"}


def clip_cues(clip: int) -> CueArrays:
    """A hit at 0.3 s and later, and in every second clip a roll."""
    one = hits(
        np.array([0.3 + 0.1 * clip, 0.6 + 0.1 * clip]),
        levels_db=np.array([-6.0, -20.0]),
        materials=np.array([clip % 3, 2]),
    )
    kinds = np.array([0, ROLL if clip % 2 else 0])
    ends_s = np.where(kinds == ROLL, one.times_s + 0.3, one.times_s)
    return replace(one, kinds=kinds, ends_s=ends_s, strikers=np.array([1, 0]))


def source(*, has_cues: bool = True) -> WindowSource:
    rng = np.random.default_rng(0)
    clips = ClipArrays(
        frames=rng.integers(0, 256, (CLIPS * FRAMES, 32, 32, 3)).astype(np.uint8),
        times_s=np.tile(np.arange(FRAMES) / 25.0, CLIPS),
        offsets=np.arange(CLIPS + 1) * FRAMES,
        sounds=rng.integers(-9000, 9000, (CLIPS, round(1.2 * 48_000))).astype(np.int16),
        rate_hz=48_000,
        event_times_s=[np.array([0.3 + 0.1 * clip]) for clip in range(CLIPS)],
        materials=np.array([0, 1, 2, 0, 1]),
        cues=[clip_cues(clip) for clip in range(CLIPS)] if has_cues else (),
    )
    latents = rng.normal(size=(CLIPS, 60, 64)).astype(np.float16)
    return WindowSource(clips, latents, WindowConfig(segments=SEGMENTS))


def task(*, predicts: bool = True, losses: AlignLossConfig = LOSSES) -> AlignTask:
    torch.manual_seed(0)
    config = AlignmentConfig(
        width=16,
        heads=2,
        video_layers=1,
        audio_layers=1,
        decoder_layers=1,
        predicts_attributes=predicts,
    )
    encoder = MotionEncoder(MotionEncoderConfig(size=32, widths=(4, 4, 8), dim=16))
    windows = source()
    return AlignTask(
        Alignment(config, encoder=encoder), losses, windows=windows, held_out_windows=windows
    )


def test_targets_move_with_the_start_of_a_window():
    windows = source()
    chosen, starts = np.array([1, 1, 2]), np.array([0, 3, 0])
    batch = windows.cut(chosen, starts, None)
    assert batch["cue_levels_db"].shape == (3, 4 * SEGMENTS)
    # Clip 1: the hit at 0.4 s is in frame 20, and 0.24 s earlier in frame 8 of the later window
    for row, frame in ((0, 20), (1, 8)):
        known = (~batch["cue_levels_db"][row].isnan()).nonzero()[:, 0].tolist()
        assert known == [frame - 1, frame, frame + 1]
        assert batch["cue_materials"][row, frame] == 1 and batch["cue_strikers"][row, frame] == 1
    assert (batch["friction"][0] == ROLLING).nonzero()[0] == 35
    assert bool((batch["friction"][2] == NO_FRICTION).all())
    assert "cue_materials" not in source(has_cues=False).cut(chosen, starts, None)


def test_terms_of_cues_are_part_of_the_loss_and_reach_all_their_parameters():
    aligned = task()
    torch.manual_seed(1)
    loss, figures = aligned.loss("align", aligned.sample_batch(np.random.default_rng(0), 4), 0)
    terms = TERMS | {"latent", "mel", "energy", "onset", "material"}
    assert figures.keys() == terms | {"visible_fraction"}
    wanted = sum(getattr(LOSSES, name) * figures[name] for name in terms)
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-4)
    loss.backward()
    model = aligned.modules["align"]
    assert all(
        p.grad is not None and float(p.grad.abs().max()) > 0
        for p in model.attribute_head.parameters()
    )


def test_attributes_are_predicted_in_the_condition_of_the_flow():
    for predicts in (True, False):
        model = task(predicts=predicts, losses=AlignLossConfig()).modules["align"].eval()
        with torch.no_grad():
            found = model.flow_condition(
                torch.randn(1, 20, 16), torch.arange(20)[None] / 25.0, segments=SEGMENTS
            )
        assert (found.attributes is not None) == predicts
        if found.attributes is not None:
            assert found.attributes.levels_db.shape == (1, 4 * SEGMENTS)
            assert found.attributes.materials.shape == (1, 4 * SEGMENTS, 9)
            assert found.attributes.friction.shape == (1, 4 * SEGMENTS, 3)


def test_terms_of_cues_need_a_model_that_predicts_them():
    with pytest.raises(ConfigError, match="does not predict attributes of cues"):
        task(predicts=False)
