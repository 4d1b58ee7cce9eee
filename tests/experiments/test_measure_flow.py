"""Measurements of a flow: closed forms of likelihood and time, and the noise of samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from foleyflow.experiments.measure_flow import (
    DIFFUSION,
    MAP,
    VELOCITY,
    Sampling,
    _samplings_of,
    flow_seconds,
    measure_density,
    sample_latents,
)
from foleyflow.flow.guided_model import velocity_field
from foleyflow.flow.likelihood import encode
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer
from foleyflow.inference.windows import WindowPlan
from foleyflow.judges.audio_judges import TaggerJudge
from foleyflow.judges.networks.tagger import NOTHING, Tagger, TaggerConfig
from foleyflow.simulation.materials import MATERIAL_NAMES

ITEMS, SEGMENTS, CHANNELS = 6, 3, 4
FRAMES = 4 * SEGMENTS


def small_flow(
    predicts: str = "velocity", network: type[FlowTransformer] = FlowTransformer
) -> FlowTransformer:
    torch.manual_seed(0)
    config = FlowConfig(
        channels=CHANNELS,
        width=16,
        layers=1,
        heads=2,
        condition_width=8,
        predicts=predicts,
    )
    flow = network(config).eval().requires_grad_(False)
    flow.record_training_(guidance=True)
    return flow


def condition() -> Condition:
    rng = torch.Generator().manual_seed(1)
    return Condition(
        video=torch.randn(ITEMS, FRAMES, 8, generator=rng),
        states=torch.randn(ITEMS, SEGMENTS, 8, generator=rng),
        cues=torch.zeros(ITEMS, FRAMES, 0),
        has_video=torch.ones(ITEMS, dtype=torch.bool),
        context=torch.zeros(ITEMS, FRAMES, CHANNELS),
        known=torch.zeros(ITEMS, FRAMES, dtype=torch.bool),
    )


def normal_bits(noise: torch.Tensor) -> float:
    """Mean bits per dimension of a standard normal, in closed form."""
    nats = 0.5 * (noise.double().square() + math.log(2 * math.pi))
    return float(nats.mean()) / math.log(2)


def test_density_of_a_flow_with_zero_velocity_is_that_of_the_noise():
    audio = torch.randn(ITEMS, FRAMES, CHANNELS)
    found = measure_density(small_flow(), audio, condition(), steps=5)
    for name in ("bits_per_dimension", "bits_per_dimension_other"):
        assert found[name]["mean"] == pytest.approx(normal_bits(audio), rel=1e-5)
    assert found["matched_likelier"]["mean"] == 0.0  # neither is
    for name in ("round_trip_error", "inverse_error"):
        assert found[name] == pytest.approx(0.0, abs=1e-6)


def test_density_of_a_flow_that_depends_only_on_its_condition_has_a_closed_form():
    flow = small_flow()
    with torch.no_grad():  # (1 + scale) = 0: the output depends on the condition, not on x
        torch.nn.init.normal_(flow.final_modulation.weight, std=2.0)
        flow.final_modulation.weight[:16] = 0
        flow.final_modulation.bias[:16] = -1
        torch.nn.init.normal_(flow.output_conv.weight, std=0.5)
    given = condition()
    zeros = torch.zeros(ITEMS, FRAMES, CHANNELS)
    displacement = encode(velocity_field(flow, given), zeros, steps=25)
    noise = 0.5 * torch.randn(ITEMS, FRAMES, CHANNELS)
    found = measure_density(flow, noise - displacement, given, steps=25)
    assert found["bits_per_dimension"]["mean"] == pytest.approx(normal_bits(noise), rel=1e-4)
    others = noise - displacement + displacement.roll(-1, 0)
    expected = normal_bits(others)
    assert found["bits_per_dimension_other"]["mean"] == pytest.approx(expected, rel=1e-4)
    assert found["matched_likelier"]["mean"] == 1.0
    assert found["round_trip_error"] < 1e-5
    assert found["inverse_error"] < 1e-5
    # With swapped videos no sound is likelier given its own video.
    wrong = measure_density(flow, noise - displacement.roll(-1, 0), given, steps=25)
    assert wrong["matched_likelier"]["mean"] == 0.0


def test_a_likelihood_that_is_not_finite_gives_a_remark():
    audio = torch.full((ITEMS, FRAMES, CHANNELS), math.inf)
    found = measure_density(small_flow(), audio, condition(), steps=2)
    assert "not finite" in found["remark"]
    assert "bits_per_dimension" not in found


@pytest.mark.parametrize("segments", [7, 10, 40])
def test_flow_seconds_are_summed_over_all_windows(segments):
    ticks = iter(range(10_000))
    took_s = flow_seconds(
        small_flow(), MAP[0], segments=segments, duration_s=10.0, clock=lambda: next(ticks)
    )
    # Every sample takes one tick, so the clip takes as many as it has windows.
    assert took_s == len(list(WindowPlan.of_length(segments).cut(125)))


def test_noise_depends_only_on_seed_and_item():
    flow = small_flow()  # zero velocity: the sample is the noise
    with torch.no_grad():
        flow.latent_mean += 3.0
        flow.latent_deviation *= 2.0
    samples = sample_latents(flow, condition(), MAP[0], seed=5)
    for sampling in (MAP[-1], VELOCITY[2], Sampling(solver="heun", steps=2)):
        torch.testing.assert_close(sample_latents(flow, condition(), sampling, seed=5), samples)
    assert not torch.allclose(sample_latents(flow, condition(), MAP[0], seed=6), samples)
    plain = torch.randn(ITEMS, FRAMES, CHANNELS, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(samples, 2 * plain + 3)


def test_evaluations_equal_the_calls_of_the_network():
    calls = 0

    class Counted(FlowTransformer):
        def forward(self, *arguments, **named):
            nonlocal calls
            calls += 1
            return super().forward(*arguments, **named)

    for predicts, samplings in (("velocity", (*MAP, *VELOCITY)), ("noise", DIFFUSION)):
        flow = small_flow(predicts, Counted)
        heun = (Sampling(solver="heun", steps=3),) if predicts == "velocity" else ()
        for sampling in (*samplings, *heun):
            calls = 0
            with torch.no_grad():
                sample_latents(flow, condition(), sampling)
            assert calls == sampling.evaluations


def test_a_tagger_classifies_the_material_with_the_largest_probability():
    torch.manual_seed(2)
    config = TaggerConfig(
        materials=(*MATERIAL_NAMES, NOTHING), kinds=("x", "y"), widths=(4, 4, 8, 8), embedding=8
    )
    judge = TaggerJudge(Tagger(config).eval().requires_grad_(False), "0" * 64)
    named = set()
    for seed in range(8):
        sound = np.random.default_rng(seed).standard_normal(24_000).astype(np.float32)
        sound *= np.exp(-np.arange(24_000) / 300 / (1 + seed)).astype(np.float32)
        joint = judge.logits(sound).reshape(len(config.materials), len(config.kinds))
        best = int(np.exp(joint).sum(1).argmax())
        assert judge.material(sound) == config.materials[best]
        named.add(judge.material(sound))
    assert named <= set(config.materials)


def test_a_flow_without_a_map_is_sampled_along_its_velocity_only():
    flow = small_flow()
    assert _samplings_of(flow) == (MAP, VELOCITY)
    flow.trained_intervals.zero_()
    assert _samplings_of(flow) == (VELOCITY,)
    assert _samplings_of(small_flow("noise")) == (DIFFUSION,)
