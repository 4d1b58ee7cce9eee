"""Sampling with latents that are given as context."""

from __future__ import annotations

import pytest
import torch
from support.flow_networks import random_condition

from foleyflow.errors import ConfigError
from foleyflow.flow.path import PATHS
from foleyflow.flow.samplers import SAMPLERS
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition


def condition_and_noise() -> tuple[Condition, torch.Tensor]:
    noise = torch.randn(1, 40, 48, generator=torch.Generator().manual_seed(1))
    return random_condition(1, 40, width=16, channels=48, known=13), noise


@pytest.mark.parametrize("solver", ["map", *SAMPLERS])
@pytest.mark.parametrize("steps", [1, 4])
def test_context_latents_are_returned_unchanged(flow, steps, solver):
    condition, noise = condition_and_noise()
    latents = sample(flow, condition, noise, steps=steps, guidance=1.0, solver=solver)
    assert torch.equal(latents[:, :13], condition.context[:, :13])
    assert float(latents[:, 13:].abs().min()) > 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("solver", ["map", *SAMPLERS])
def test_context_latents_lie_on_the_path_at_every_step(flow, solver, path):
    condition, noise = condition_and_noise()
    inputs = []
    hook = flow.register_forward_pre_hook(
        lambda module, args, kwargs: inputs.append((args[0], float(kwargs["tau"]))),
        with_kwargs=True,
    )
    sample(flow, condition, noise, steps=3, guidance=1.0, solver=solver, path=path)
    hook.remove()
    assert len(inputs) >= 3
    for x, tau in inputs:
        c = PATHS[path](torch.tensor(tau))
        expected = (c.alpha * condition.context + c.sigma * noise)[:, :13]
        torch.testing.assert_close(x[:, :13], expected)


def test_solvers_differ_and_converge_to_the_same_latents(flow):
    condition, noise = condition_and_noise()

    def sampled(solver, steps):
        return sample(flow, condition, noise, steps=steps, guidance=2.0, solver=solver)

    fine = sampled("heun", 64)
    coarse = {solver: float((sampled(solver, 4) - fine).norm()) for solver in SAMPLERS}
    assert len(set(coarse.values())) == len(SAMPLERS)
    for solver in SAMPLERS:
        assert float((sampled(solver, 32) - fine).norm()) < 0.5 * coarse[solver]
    # The map jumps to r = 0; a solver only evaluates the velocity at tau.
    assert not torch.allclose(sampled("map", 4), sampled("euler", 4), atol=1e-3)


def test_an_unknown_solver_is_refused(flow):
    condition, noise = condition_and_noise()
    with pytest.raises(ConfigError, match="'rk45': expected one of map, euler, midpoint"):
        sample(flow, condition, noise, steps=1, guidance=1.0, solver="rk45")
