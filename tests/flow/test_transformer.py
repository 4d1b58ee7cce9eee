"""The flow's network: which inputs its output depends on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.flow_networks import random_condition, random_flow

from foleyflow.errors import ConfigError
from foleyflow.flow.objective import predict
from foleyflow.flow.transformer import (
    DROP_ALL,
    DROP_TIMING,
    KEEP_ALL,
    Condition,
    FlowConfig,
    FlowTransformer,
)

MATERIALS = ("wood", "metal", "glass")
CONFIG = FlowConfig(channels=6, width=16, layers=2, heads=2, condition_width=8)
FACTORISED = replace(CONFIG, factorised=True)
BATCH, FRAMES = 2, 16


def build(config: FlowConfig = CONFIG) -> FlowTransformer:
    return random_flow(config, deviation=0.3, zero=("interval", "guidance_scale"))


@pytest.fixture(scope="module")
def network():
    return build()


def condition(seed: int = 0, *, known: int = 0) -> Condition:
    return random_condition(BATCH, FRAMES, width=8, channels=6, seed=seed, known=known)


def latents() -> torch.Tensor:
    return torch.randn(BATCH, FRAMES, 6, generator=torch.Generator().manual_seed(1))


def changed(chosen: Condition, **fields: torch.Tensor) -> Condition:
    return Condition(**{**vars(chosen), **fields})


def run(network, chosen: Condition, *, r=0.0, tau=1.0, guidance_scale=1.0, drop=KEEP_ALL):
    one, drops = torch.ones(BATCH), torch.full((BATCH,), drop)
    return predict(network, latents(), one * tau, chosen, drops, one * guidance_scale, r=one * r)


def differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    return not torch.allclose(one, other, atol=1e-4)


def test_a_new_network_outputs_zero():
    torch.manual_seed(0)
    out = run(FlowTransformer(CONFIG), condition())
    assert out.shape == (BATCH, FRAMES, 6)
    assert torch.equal(out, torch.zeros_like(out))


def test_a_new_network_ignores_interval_and_guidance(network):
    plain = run(network, condition(), r=1.0)
    for r, guidance_scale in ((0.0, 1.0), (0.5, 1.0), (1.0, 3.0), (0.2, 4.0)):
        assert torch.equal(run(network, condition(), r=r, guidance_scale=guidance_scale), plain)
    assert differ(run(network, condition(), r=0.5, tau=0.5), plain)


def test_trained_interval_and_guidance_embeddings_change_the_output():
    network = build()
    network.interval.net[2].weight.normal_()
    plain = run(network, condition(), r=0.5)
    assert differ(run(network, condition(), r=0.0), plain)
    # On the diagonal the interval is the same for all flow times
    network.guidance_scale.net[2].weight.normal_()
    assert differ(
        run(network, condition(), r=0.5, guidance_scale=3.0), run(network, condition(), r=0.5)
    )


def test_dropped_conditions_have_no_influence(network):
    one, other = (run(network, condition(seed), drop=DROP_ALL) for seed in (0, 5))
    assert torch.equal(one, other)
    assert differ(run(network, condition(0)), run(network, condition(5)))
    assert differ(run(network, condition(0)), one)


def test_dropped_timing_keeps_the_global_condition(network):
    chosen = condition(0)
    order = torch.randperm(FRAMES, generator=torch.Generator().manual_seed(0))
    shuffled = changed(chosen, video=chosen.video[:, order], states=chosen.states.flip(1))
    plain = run(network, chosen, drop=DROP_TIMING)
    torch.testing.assert_close(run(network, shuffled, drop=DROP_TIMING), plain)
    assert differ(run(network, shuffled), run(network, chosen))
    assert differ(run(network, condition(5), drop=DROP_TIMING), plain)


def test_known_latents_differ_from_silence_and_from_no_context(network):
    plain, with_context = run(network, condition()), run(network, condition(known=4))
    assert differ(plain, with_context)
    silent = condition(known=4)
    silent.context.zero_()
    assert differ(run(network, silent), plain)


def test_a_change_of_the_condition_is_local_in_time(network):
    chosen = condition()
    for name, at, frames in (("video", 9, {9}), ("states", 2, {8, 9, 10, 11})):
        value = getattr(chosen, name).clone()
        value[:, at] += 1.0
        if name == "video":  # the mean over the clip must not change
            value[:, 0] -= 1.0
            frames = frames | {0}
        moved = network.embed(changed(chosen, **{name: value})) - network.embed(chosen)
        moved = moved.abs().amax((0, 2))
        # Two convolutions of three frames reach two frames at most
        allowed = {f for m in frames for f in range(m - 2, m + 3) if 0 <= f < FRAMES}
        assert set((moved > 1e-4).nonzero()[:, 0].tolist()) <= allowed
        assert all(float(moved[m]) > 1e-4 for m in frames)


def test_a_static_condition_is_the_same_at_all_frames():
    network = build(replace(CONFIG, static=True))
    chosen = condition()
    order = torch.randperm(FRAMES, generator=torch.Generator().manual_seed(0))
    shuffled = changed(chosen, video=chosen.video[:, order])
    torch.testing.assert_close(network.embed(shuffled), network.embed(chosen))
    inner = network.embed(chosen)[:, 2:-2]
    torch.testing.assert_close(inner, inner[:, :1].expand_as(inner))
    assert differ(network.embed(condition(5)), network.embed(chosen))


def changed_frames(one: torch.Tensor, other: torch.Tensor) -> list[int]:
    return ((one - other).abs().amax((0, 2)) > 1e-4).nonzero()[:, 0].tolist()


@pytest.mark.parametrize("name", ["video", "states", "x"])
def test_factorised_segments_are_independent(name):
    network = build(FACTORISED)
    joint, one = build(), torch.ones(BATCH)

    def out(model, segment=None):
        chosen, x = condition(known=2), torch.randn(BATCH, FRAMES, 6)
        if segment is not None:
            value = x if name == "x" else getattr(chosen, name)
            per = value.shape[1] // (FRAMES // 4)
            value[:, segment * per : (segment + 1) * per] += 1.0
        return predict(model, x, one, chosen, guidance_scale=2 * one, r=0 * one)

    for segment in range(FRAMES // 4):
        outs = []
        for model in (network, joint):
            torch.manual_seed(0)
            plain = out(model)
            torch.manual_seed(0)
            outs.append(changed_frames(out(model, segment), plain))
        own = set(range(4 * segment, 4 * segment + 4))
        assert outs[0] and set(outs[0]) <= own
        assert not set(outs[1]) <= own  # generation is joint by default


def test_a_factorised_segment_can_be_generated_alone():
    network, chosen = build(FACTORISED), condition(known=3)
    batch = run(network, chosen, guidance_scale=2.0)
    segments = chosen.split_segments()
    for index in range(BATCH * FRAMES // 4):
        row, segment = divmod(index, FRAMES // 4)
        frames = slice(4 * segment, 4 * segment + 4)
        alone, one = segments.rows(torch.tensor([index])), torch.ones(1)
        assert torch.equal(alone.video[0], chosen.video[row, frames])
        x = latents()[row : row + 1, frames]
        result = predict(network, x, one, alone, guidance_scale=2 * one, r=0 * one)
        torch.testing.assert_close(result[0], batch[row, frames], atol=1e-5, rtol=1e-4)


def test_factorised_segments_support_dropped_conditions():
    network = build(FACTORISED)
    one = run(network, condition(0), drop=DROP_ALL)
    assert torch.equal(one, run(network, condition(5), drop=DROP_ALL))
    assert differ(one, run(network, condition(0)))


def test_static_and_factorised_are_mutually_exclusive():
    with pytest.raises(ConfigError, match="static and factorised are both set: expected at most"):
        FlowConfig(static=True, factorised=True)


def test_samples_of_a_batch_are_independent(network):
    chosen = condition(known=3)
    batch, one = run(network, chosen), torch.ones(1)
    for row in range(BATCH):
        alone = chosen.rows(torch.tensor([row]))
        out = predict(network, latents()[row : row + 1], one, alone, r=0 * one)
        torch.testing.assert_close(out[0], batch[row], atol=1e-5, rtol=1e-4)


def test_samples_are_selected_by_mask_or_index():
    chosen = condition(known=3)
    by_mask, by_index = chosen.rows(torch.tensor([False, True])), chosen.rows(torch.tensor([1]))
    for name, value in vars(by_mask).items():
        assert torch.equal(value, getattr(by_index, name))
        assert torch.equal(value[0], getattr(chosen, name)[1])


def test_restore_inverts_standardise():
    network = build()
    network.latent_mean.normal_()
    network.latent_deviation.uniform_(0.5, 2.0)
    raw = torch.randn(3, 5, 6)
    torch.testing.assert_close(network.restore(network.standardise(raw)), raw)
    wanted = (raw - network.latent_mean) / network.latent_deviation
    torch.testing.assert_close(network.standardise(raw), wanted)


def test_the_tiny_flow_has_fewer_than_6_million_parameters():
    assert sum(p.numel() for p in FlowTransformer(FlowConfig()).parameters()) < 6e6


def test_heads_of_odd_width_are_refused():
    with pytest.raises(ConfigError, match="width=18, heads=6: expected heads of even width"):
        FlowConfig(width=18, heads=6)


# ---------------------------------------------------------------------------------- cues


CUES = replace(CONFIG, cue_materials=MATERIALS, frames_per_token=2)


def cue_condition(seed: int = 0) -> Condition:
    return random_condition(
        BATCH, FRAMES, width=8, channels=6, seed=seed, cue_channels=CUES.cue_channels
    )


@pytest.fixture(scope="module")
def cue_network():
    return build(CUES)


def test_cues_are_used_with_the_video_and_without_it(cue_network):
    chosen, other = cue_condition(), cue_condition(5)
    with_other_cues = changed(chosen, cues=other.cues)
    without_video = torch.zeros(BATCH, dtype=torch.bool)
    for has_video in (chosen.has_video, without_video):
        outs = [
            run(cue_network, changed(c, has_video=has_video)) for c in (chosen, with_other_cues)
        ]
        assert outs[0].shape == (BATCH, FRAMES, 6) and differ(*outs)
    # Video and states matter only where they are given
    with_other_video = changed(chosen, video=other.video, states=other.states)
    assert differ(run(cue_network, with_other_video), run(cue_network, chosen))
    blind = [changed(c, has_video=without_video) for c in (chosen, with_other_video)]
    assert torch.equal(*(run(cue_network, each) for each in blind))
    assert differ(run(cue_network, blind[0]), run(cue_network, chosen))


def test_a_network_that_uses_no_video_works_as_if_it_had_none(cue_network):
    network = FlowTransformer(replace(CUES, uses_video=False))
    network.load_state_dict(cue_network.state_dict())
    chosen = cue_condition()
    without = changed(chosen, has_video=torch.zeros(BATCH, dtype=torch.bool))
    torch.testing.assert_close(run(network, chosen), run(cue_network, without))
    assert differ(run(network, chosen), run(network, changed(chosen, cues=cue_condition(5).cues)))
    with pytest.raises(ConfigError, match="uses_video=false without cue_materials"):
        replace(CONFIG, uses_video=False)


def test_rows_with_and_without_video_do_not_mix(cue_network):
    chosen = cue_condition()
    mixed = run(cue_network, changed(chosen, has_video=torch.tensor([True, False])))
    torch.testing.assert_close(mixed[:1], run(cue_network, chosen)[:1])
    without = changed(chosen, has_video=torch.zeros(BATCH, dtype=torch.bool))
    torch.testing.assert_close(mixed[1:], run(cue_network, without)[1:])


def test_dropped_conditions_include_cues(cue_network):
    outs = [run(cue_network, cue_condition(seed), drop=DROP_ALL) for seed in (0, 5)]
    assert torch.equal(*outs)


def test_a_cue_changes_the_condition_of_its_neighbourhood_only(cue_network):
    chosen = cue_condition()
    cues = chosen.cues.clone()
    cues[:, 2] += 1.0
    moved = cue_network.embed(changed(chosen, cues=cues)) - cue_network.embed(chosen)
    tokens = {int(t) for t in (moved.abs().amax((0, 2)) > 1e-5).nonzero()[:, 0]}
    # Frames 0 to 4 after the first convolution, tokens 0 to 3 and 0 to 4 after the others
    assert tokens <= set(range(5)) and 1 in tokens
    assert moved.shape[1] == FRAMES // CUES.frames_per_token


def test_tokens_must_divide_a_segment():
    with pytest.raises(ConfigError, match="frames_per_token=3: expected a divisor"):
        replace(CONFIG, frames_per_token=3)
