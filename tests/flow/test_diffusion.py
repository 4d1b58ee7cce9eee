"""The diffusion baseline on mixtures whose noise and map are known, and with the flow's network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.gaussian_mixture import Mixture

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
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.path import PATHS
from foleyflow.flow.samplers import heun, uniform_grid
from foleyflow.flow.sampling import SOLVERS, sample
from foleyflow.flow.transformer import DROP_ALL, Condition, FlowConfig, FlowTransformer

ORDERS = {"ddim": 1, "dpm": 2}
NORMAL = Mixture("vp", means=(0.7,), deviations=(0.4,), weights=(1.0,))
TWO_MODES = Mixture("vp")


def test_all_solvers_have_a_stated_order_and_can_be_chosen():
    assert ORDERS.keys() == DIFFUSION_SAMPLERS.keys() == set(SOLVERS["noise"])


def test_grids_of_equal_log_snr():
    times = log_snr_grid(6, start=0.9, end=0.01)
    assert times[0] == pytest.approx(0.9) and times[-1] == pytest.approx(0.01)
    c = PATHS["vp"](torch.tensor(times, dtype=torch.float64))
    levels = (c.alpha / c.sigma).log()
    torch.testing.assert_close(levels.diff(), levels.diff()[:1].expand(6))
    assert sorted(times, reverse=True) == times


def normal_at(x: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """Where the flow of `NORMAL` leads x from one time to another."""
    (mean, spread), (mean_end, spread_end) = (
        (c.alpha * 0.7, (c.alpha**2 * 0.4**2 + c.sigma**2).sqrt())
        for c in map(NORMAL.coefficients, (start, end))
    )
    return mean_end + spread_end / spread * (x - mean)


@pytest.mark.parametrize("name", DIFFUSION_SAMPLERS)
def test_measured_order_on_normal_audio(name):
    torch.manual_seed(0)
    noise = torch.randn(1, 50, 2, dtype=torch.float64)
    exact = normal_at(noise, 1.0, 0.01)
    counts = np.array([16, 32, 64, 128])
    errors = [
        float(
            (
                DIFFUSION_SAMPLERS[name](NORMAL.noise, noise, log_snr_grid(int(n), end=0.01))
                - exact
            ).norm()
        )
        for n in counts
    ]
    slope, _ = np.polyfit(np.log(1 / counts), np.log(errors), 1)
    assert slope == pytest.approx(ORDERS[name], abs=0.2)


@pytest.mark.parametrize("name", DIFFUSION_SAMPLERS)
def test_a_mixture_is_made_from_noise(name):
    torch.manual_seed(0)
    noise = torch.randn(1, 200, 2, dtype=torch.float64)
    made = DIFFUSION_SAMPLERS[name](TWO_MODES.noise, noise, [*log_snr_grid(200), 0.0])
    exact = TWO_MODES.generated(noise)
    assert float((made - exact).abs().median()) < 0.02
    # The same flow as an equation of the velocity.
    velocity = heun(TWO_MODES.velocity, noise, uniform_grid(400, end=1e-3))
    assert float((made - velocity).abs().median()) < 0.02


@pytest.mark.parametrize("name", DIFFUSION_SAMPLERS)
def test_noise_that_is_known_leads_straight_to_its_audio(name):
    torch.manual_seed(0)
    audio, noise = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    c = PATHS["vp"](torch.tensor(0.8, dtype=torch.float64))
    x = c.alpha * audio + c.sigma * noise
    for grid in ([0.8, 0.0], [0.8, 0.5, 0.1, 0.0]):
        made = DIFFUSION_SAMPLERS[name](lambda x, tau: noise, x, grid)
        torch.testing.assert_close(made, audio, atol=1e-5, rtol=1e-5)


def test_one_step_of_the_second_order_is_one_of_the_first():
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    for grid in ([0.7, 0.3], [0.7, 0.0]):
        torch.testing.assert_close(
            dpm_solver_2m(TWO_MODES.noise, x, grid), ddim(TWO_MODES.noise, x, grid)
        )


def condition(batch: int = 2, frames: int = 8) -> Condition:
    random = torch.Generator().manual_seed(3)
    return Condition(
        video=torch.randn(batch, frames, 4, generator=random),
        states=torch.randn(batch, frames // 4, 4, generator=random),
        events=torch.rand(batch, frames, generator=random),
        material=torch.zeros(batch, dtype=torch.int64),
        context=torch.zeros(batch, frames, 2),
        known=torch.zeros(batch, frames, dtype=torch.bool),
    )


class Exact:
    """Predicts the expected noise of a mixture, with a constant error."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift, self.asked = shift, []

    def embed(self, condition, drop=None):
        return drop

    def __call__(self, x, *, r, tau, guidance_scale, embedded, condition):
        self.asked.append(tau)
        return NORMAL.noise(x, tau[:, None, None]) + self.shift


def test_the_loss_is_the_error_of_the_noise_over_all_levels():
    torch.manual_seed(0)
    audio, chosen = NORMAL.draw(4096, 8, 2), condition(4096)
    network = Exact()
    value, figures = diffusion_loss(network, audio, chosen, ObjectiveConfig())
    # The variance of noise given x_tau is alpha^2 s^2 / (alpha^2 s^2 + sigma^2), tau uniform.
    c = PATHS["vp"](torch.arange(1, LEVELS + 1, dtype=torch.float64) / LEVELS)
    wanted = (0.16 * c.alpha**2 / (0.16 * c.alpha**2 + c.sigma**2)).mean()
    assert float(value) == figures["error"] == pytest.approx(float(wanted), rel=0.1)
    tau = network.asked[0]
    assert float(tau.min()) >= 1 / LEVELS and float(tau.max()) == 1.0
    torch.manual_seed(0)
    audio = NORMAL.draw(4096, 8, 2)
    shifted, _ = diffusion_loss(Exact(shift=0.5), audio, chosen, ObjectiveConfig())
    assert float(shifted - value) == pytest.approx(0.25, abs=0.01)


# ---------------------------------------------------------------------------------- a network


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    config = FlowConfig(
        channels=2, width=16, layers=1, heads=2, guide_width=4, predicts="noise", static=True
    )
    network = FlowTransformer(config).eval().requires_grad_(False)
    for value in network.parameters():
        if float(value.abs().max()) == 0:
            value.normal_(std=0.1)
    return network


def test_guidance_extrapolates_from_no_condition(network):
    chosen, x = condition(), torch.randn(2, 8, 2)
    one = torch.full((2,), 0.4)
    informed, blind = (
        network(
            x,
            r=one,
            tau=one,
            guidance_scale=torch.ones(2),
            embedded=network.embed(chosen, drop),
            condition=chosen,
        )
        for drop in (None, torch.full((2,), DROP_ALL))
    )
    for guidance in (1.0, 3.0):
        made = noise_prediction(network, chosen, guidance=guidance)(x, 0.4)
        torch.testing.assert_close(made, blind + guidance * (informed - blind))


@pytest.mark.parametrize("solver", SOLVERS["noise"])
def test_a_network_that_predicts_noise_is_sampled_by_diffusion(network, solver):
    chosen, noise = condition(), torch.randn(2, 8, 2)
    made = sample(network, chosen, noise, steps=8, guidance=2.0, solver=solver)
    predict = noise_prediction(network, chosen, guidance=2.0)
    assert torch.equal(made, DIFFUSION_SAMPLERS[solver](predict, noise, uniform_grid(8)))
    default = sample(network, chosen, noise, steps=8, guidance=2.0)
    assert torch.equal(default, made) == (solver == "dpm")


def test_velocity_and_noise_are_not_taken_for_each_other(network):
    with pytest.raises(ValueError, match="predicts noise: expected one that predicts velocity"):
        velocity_field(network, condition())
    with pytest.raises(ConfigError, match="'heun': expected one of dpm, ddim for a network"):
        sample(network, condition(), torch.randn(2, 8, 2), steps=2, guidance=1.0, solver="heun")
    flow = FlowTransformer(FlowConfig(channels=2, width=16, layers=1, heads=2, guide_width=4))
    with pytest.raises(ValueError, match="predicts velocity: expected one that predicts noise"):
        noise_prediction(flow, condition())
    with pytest.raises(ConfigError, match="predicts='score': expected 'velocity' or 'noise'"):
        FlowConfig(predicts="score")


def test_the_end_of_the_path_is_noise_to_the_last_part_in_a_hundred():
    assert float(PATHS["vp"](torch.tensor(1.0)).alpha) == pytest.approx(math.exp(-5.025), rel=1e-4)
