"""The diffusion baseline on mixtures with exact noise, and with the flow's network."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from support.flow_networks import Unconditional, random_condition, random_flow, zero_condition
from support.gaussian_mixture import GaussianMap, Mixture, measured_order

from foleyflow.errors import ConfigError
from foleyflow.flow.diffusion import (
    DIFFUSION_SAMPLERS,
    LEVELS,
    ddim,
    diffusion_loss,
    dpm_solver_2m,
    log_snr_grid,
)
from foleyflow.flow.guided_model import noise_prediction, velocity_field
from foleyflow.flow.objective import ObjectiveConfig, predict
from foleyflow.flow.path import PATHS
from foleyflow.flow.samplers import heun, uniform_grid
from foleyflow.flow.sampling import SOLVERS, sample
from foleyflow.flow.transformer import DROP_ALL, FlowConfig, FlowTransformer

ORDERS = {"ddim": 1, "dpm": 2}
NORMAL = Mixture("vp", means=(0.7,), deviations=(0.4,), weights=(1.0,))
TWO_MODES = Mixture("vp")


def test_every_solver_has_a_tested_order_and_can_be_selected():
    assert ORDERS.keys() == DIFFUSION_SAMPLERS.keys() == set(SOLVERS["noise"])


def test_log_snr_grids_have_equal_steps():
    times = log_snr_grid(6, start=0.9, end=0.01)
    assert times[0] == pytest.approx(0.9) and times[-1] == pytest.approx(0.01)
    c = PATHS["vp"](torch.tensor(times, dtype=torch.float64))
    levels = (c.alpha / c.sigma).log()
    torch.testing.assert_close(levels.diff(), levels.diff()[:1].expand(6))
    assert sorted(times, reverse=True) == times


@pytest.mark.parametrize("name", DIFFUSION_SAMPLERS)
def test_measured_order_on_normal_audio(name):
    torch.manual_seed(0)
    noise = torch.randn(1, 50, 2, dtype=torch.float64)
    exact = noise - 0.99 * GaussianMap("vp").at(noise, 0.01, 1.0)
    solver, grid = DIFFUSION_SAMPLERS[name], partial(log_snr_grid, end=0.01)
    order = measured_order(solver, NORMAL.noise, noise, exact, (16, 32, 64, 128), grid)
    assert order == pytest.approx(ORDERS[name], abs=0.2)


@pytest.mark.parametrize("name", DIFFUSION_SAMPLERS)
def test_a_mixture_is_generated_from_noise(name):
    torch.manual_seed(0)
    noise = torch.randn(1, 200, 2, dtype=torch.float64)
    result = DIFFUSION_SAMPLERS[name](TWO_MODES.noise, noise, [*log_snr_grid(200), 0.0])
    exact = TWO_MODES.generated(noise)
    assert float((result - exact).abs().median()) < 0.02
    # The same flow, integrated from its velocity.
    velocity = heun(TWO_MODES.velocity, noise, uniform_grid(400, end=1e-3))
    assert float((result - velocity).abs().median()) < 0.02


@pytest.mark.parametrize("name", DIFFUSION_SAMPLERS)
def test_exact_noise_gives_the_audio_in_any_number_of_steps(name):
    torch.manual_seed(0)
    audio, noise = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    c = PATHS["vp"](torch.tensor(0.8, dtype=torch.float64))
    x = c.alpha * audio + c.sigma * noise
    for grid in ([0.8, 0.0], [0.8, 0.5, 0.1, 0.0]):
        result = DIFFUSION_SAMPLERS[name](lambda x, tau: noise, x, grid)
        torch.testing.assert_close(result, audio, atol=1e-5, rtol=1e-5)


def test_a_single_second_order_step_is_of_first_order():
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    for grid in ([0.7, 0.3], [0.7, 0.0]):
        torch.testing.assert_close(
            dpm_solver_2m(TWO_MODES.noise, x, grid), ddim(TWO_MODES.noise, x, grid)
        )


def condition():
    return random_condition(2, 8, width=4, channels=2, seed=3)


class Exact(Unconditional):
    """The expected noise of `NORMAL`, with a constant error."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift, self.taus = shift, []

    def forward(self, x, *, tau, **rest):
        self.taus.append(tau)
        return NORMAL.noise(x, tau[:, None, None]) + self.shift


def test_the_loss_is_the_mean_noise_error_over_all_levels():
    torch.manual_seed(0)
    audio, chosen = NORMAL.sample(4096, 8, 2), zero_condition(4096)
    network = Exact()
    value, figures = diffusion_loss(network, audio, chosen, ObjectiveConfig())
    # The variance of noise given x_tau is alpha^2 s^2 / (alpha^2 s^2 + sigma^2), tau uniform.
    c = PATHS["vp"](torch.arange(1, LEVELS + 1, dtype=torch.float64) / LEVELS)
    wanted = (0.16 * c.alpha**2 / (0.16 * c.alpha**2 + c.sigma**2)).mean()
    assert float(value) == figures["error"] == pytest.approx(float(wanted), rel=0.1)
    tau = network.taus[0]
    assert float(tau.min()) >= 1 / LEVELS and float(tau.max()) == 1.0
    torch.manual_seed(0)
    audio = NORMAL.sample(4096, 8, 2)
    shifted, _ = diffusion_loss(Exact(shift=0.5), audio, chosen, ObjectiveConfig())
    assert float(shifted - value) == pytest.approx(0.25, abs=0.01)


# ---------------------------------------------------------------------------------- a network


@pytest.fixture(scope="module")
def network():
    config = FlowConfig(
        channels=2, width=16, layers=1, heads=2, condition_width=4, predicts="noise", static=True
    )
    return random_flow(config, deviation=0.1)


def test_guidance_extrapolates_from_the_unconditional_prediction(network):
    chosen, x, tau = condition(), torch.randn(2, 8, 2), torch.full((2,), 0.4)
    conditional, unconditional = (
        predict(network, x, tau, chosen, drop) for drop in (None, torch.full((2,), DROP_ALL))
    )
    for guidance in (1.0, 3.0):
        result = noise_prediction(network, chosen, guidance=guidance)(x, 0.4)
        torch.testing.assert_close(result, unconditional + guidance * (conditional - unconditional))


@pytest.mark.parametrize("solver", SOLVERS["noise"])
def test_a_network_that_predicts_noise_is_sampled_by_diffusion(network, solver):
    chosen, noise = condition(), torch.randn(2, 8, 2)
    result = sample(network, chosen, noise, steps=8, guidance=2.0, solver=solver)
    predict = noise_prediction(network, chosen, guidance=2.0)
    grid = [*log_snr_grid(7), 0.0]
    assert torch.equal(result, DIFFUSION_SAMPLERS[solver](predict, noise, grid))
    one = sample(network, chosen, noise, steps=1, guidance=2.0, solver=solver)
    assert torch.equal(one, DIFFUSION_SAMPLERS[solver](predict, noise, [1.0, 0.0]))
    default = sample(network, chosen, noise, steps=8, guidance=2.0)
    assert torch.equal(default, result) == (solver == "dpm")


def test_solvers_for_the_other_prediction_are_refused(network):
    with pytest.raises(ValueError, match="predicts noise: expected one that predicts velocity"):
        velocity_field(network, condition())
    with pytest.raises(ConfigError, match="'heun': expected one of dpm, ddim for a network"):
        sample(network, condition(), torch.randn(2, 8, 2), steps=2, guidance=1.0, solver="heun")
    flow = FlowTransformer(FlowConfig(channels=2, width=16, layers=1, heads=2, condition_width=4))
    with pytest.raises(ValueError, match="predicts velocity: expected one that predicts noise"):
        noise_prediction(flow, condition())
    with pytest.raises(ConfigError, match="predicts='score': expected 'velocity' or 'noise'"):
        FlowConfig(predicts="score")


def test_the_vp_path_ends_with_less_than_one_percent_of_audio():
    assert float(PATHS["vp"](torch.tensor(1.0)).alpha) == pytest.approx(math.exp(-5.025), rel=1e-4)
