"""Batches of the flow: windows of sounds, cue tracks, and known latents on both sides."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from foleyflow.cues.arrays import CueArrays, hits
from foleyflow.cues.tracks import TrackLayout, condition_tracks
from foleyflow.cues.variation import CueVariation
from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.features.sound_windows import SoundWindows
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.training.tasks.flow_batches import (
    ContextConfig,
    FlowBatches,
    FlowData,
    prepare,
    read_windows,
)

ROWS, FRAMES, CHANNELS, WIDTH, RATE_HZ = 8, 40, 6, 16, 50.0
CONFIG = FlowConfig(
    channels=CHANNELS,
    width=16,
    layers=1,
    heads=2,
    condition_width=WIDTH,
    cue_materials=("a", "b", "c"),
)
LAYOUT = TrackLayout(materials=3)
EXACT = CueVariation(**{each.name: 0.0 for each in fields(CueVariation)} | {"body_fraction": 1.0})


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float16)


def clip_cues(index: int) -> CueArrays:
    times_s = 0.1 + 0.02 * index + np.arange(5) * 0.4
    return hits(times_s, levels_db=np.full(5, -6.0), materials=np.full(5, index % 3))


def windows() -> ConditionWindows:
    """Two windows of each clip, the second one 0.4 s later."""
    return ConditionWindows(
        video=random(0, ROWS, FRAMES, WIDTH),
        states=random(1, ROWS, FRAMES // 4, WIDTH),
        latents=random(3, ROWS, FRAMES, CHANNELS),
        clip=np.arange(ROWS) // 2,
        start_s=np.arange(ROWS) % 2 * 0.4,
    )


def batches(
    *,
    variation: CueVariation = EXACT,
    sound_fraction: float = 0.0,
    no_video_fraction: float = 0.0,
    config: FlowConfig = CONFIG,
    **context: float,
) -> FlowBatches:
    sounds = SoundWindows(
        latents=(100 + np.arange(5)[:, None, None] + np.zeros((5, 60, CHANNELS))).astype(
            np.float16
        ),
        cues=[clip_cues(index) for index in range(5)],
    )
    data = FlowData(
        windows=windows(), cues=[clip_cues(index) for index in range(ROWS // 2)], sounds=sounds
    )
    return FlowBatches(
        data,
        config,
        context=ContextConfig(**{"context_fraction": 0.0, **context}),
        variation=variation,
        sound_fraction=sound_fraction,
        no_video_fraction=no_video_fraction,
    )


def sample(source: FlowBatches, count: int = 400) -> dict[str, torch.Tensor]:
    return source.sample(np.random.default_rng(0), count, np.arange(count))


def test_tracks_are_those_of_the_window_in_its_clip():
    batch = sample(batches(), 30)
    stored = windows()
    for row in range(30):
        index = next(
            i for i in range(ROWS) if np.array_equal(batch["latents"][row], stored.latents[i])
        )
        cues = clip_cues(int(stored.clip[index])).shift(-float(stored.start_s[index]))
        expected = condition_tracks(cues, FRAMES, rate_hz=RATE_HZ, layout=LAYOUT)
        np.testing.assert_array_equal(batch["cues"][row], expected)


def test_windows_of_sounds_have_their_own_latents_and_cues_and_no_video():
    batch = sample(batches(sound_fraction=0.5))
    is_sound = batch["latents"][:, 0, 0] >= 100
    assert float(is_sound.float().mean()) == pytest.approx(0.5, abs=0.08)
    assert torch.equal(batch["has_video"], ~is_sound)
    # The material of the cues shows which sound it is
    for latents, tracks in zip(batch["latents"][is_sound], batch["cues"][is_sound], strict=True):
        material = int(latents[0, 0] - 100) % 3
        struck = tracks[:, LAYOUT.slices["struck"]]
        assert bool(struck[:, material].any()) and int((struck.sum(0) > 0).sum()) == 1


def test_some_windows_do_not_use_their_video():
    batch = sample(batches(no_video_fraction=0.3))
    assert float(batch["has_video"].float().mean()) == pytest.approx(0.7, abs=0.08)
    assert not bool((batch["latents"] >= 100).any())


def test_a_part_of_a_batch_equals_its_rows():
    source = batches(variation=CueVariation(), sound_fraction=0.5, tail_fraction=0.5)
    rows = np.array([3, 7, 20])
    complete = source.sample(np.random.default_rng(4), 24, np.arange(24))
    part = source.sample(np.random.default_rng(4), 24, rows)
    for name, values in part.items():
        assert torch.equal(values, complete[name][rows]), name


def test_known_latents_at_the_end_leave_a_gap():
    batch = sample(batches(context_fraction=0.4, tail_fraction=0.3, shortest_gap=6), 4000)
    heads, tails = batch["context_length"], batch["tail_length"]
    assert float((tails > 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert int((heads + tails)[tails > 0].max()) <= FRAMES - 6
    assert int(heads.max()) > 20 and int(tails.max()) > 20
    network = FlowTransformer(CONFIG)
    few = {name: values[:50] for name, values in batch.items()}
    audio, condition = prepare(network, few)
    for row in range(50):
        head, tail = int(heads[row]), int(tails[row])
        expected = [1] * head + [0] * (FRAMES - head - tail) + [1] * tail
        assert condition.known[row].int().tolist() == expected
    quiet = few["context_noise"] == 0
    shown = torch.where(condition.known[..., None], audio, 0.0)
    assert torch.equal(condition.context[quiet], shown[quiet])


def test_without_cue_materials_there_are_no_tracks_and_every_window_has_its_video():
    config = replace(CONFIG, cue_materials=())
    batch = sample(batches(config=config, no_video_fraction=0.5), 50)
    assert batch["cues"].shape == (50, FRAMES, 0) and bool(batch["has_video"].all())


def test_exact_windows_have_all_attributes():
    source = batches(variation=CueVariation())
    batch = source.exact(np.arange(ROWS))
    expected = read_windows(windows(), np.arange(ROWS))
    for name in ("latents", "video", "states", "context_length", "tail_length"):
        assert torch.equal(batch[name], expected[name])
    assert bool(batch["cues"][..., LAYOUT.slices["struck"]].any())
    assert not bool(batch["cues"][..., LAYOUT.slices["struck"]][..., 3].any())


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="shortest_context=0"):
        ContextConfig(shortest_context=0)
    with pytest.raises(ConfigError, match="shortest_gap=0"):
        ContextConfig(shortest_gap=0)
