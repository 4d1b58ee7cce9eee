"""What the flow is trained on, with exact networks: their errors are zero, others' are known."""

from __future__ import annotations

import math

import pytest
import torch
from support.gaussian_mixture import GaussianMap

from foleyflow.errors import ConfigError
from foleyflow.flow.objective import (
    LARGEST_SLOPE,
    ObjectiveConfig,
    _slope,
    balanced,
    bounded,
    flow_matching_loss,
    masked_error,
    one_step_loss,
    sample_dropout,
    sample_intervals,
)
from foleyflow.flow.path import PATHS
from foleyflow.flow.transformer import DROP_ALL, DROP_TIMING, KEEP_ALL, Condition

CPU = torch.device("cpu")


def condition(batch: int = 3, frames: int = 8, known: int = 0) -> Condition:
    return Condition(
        video=torch.zeros(batch, frames, 4),
        states=torch.zeros(batch, frames // 4, 4),
        events=torch.zeros(batch, frames),
        material=torch.zeros(batch, dtype=torch.int64),
        context=torch.zeros(batch, frames, 2),
        known=(torch.arange(frames) < known).expand(batch, -1),
    )


class Exact:
    """The flow of audio that is always `mean`: straight lines, so u = (x - mean) / tau for all r.

    `shift` is a constant error. With a condition, guidance w is answered as it should be where the
    velocity without condition is off by `off`: v + (1 - w) off.
    """

    mean = 0.5

    def __init__(self, *, shift: float = 0.0, off: float = 0.0) -> None:
        self.shift, self.off = shift, off

    def embed(self, condition: Condition, drop: torch.Tensor | None = None) -> torch.Tensor:
        """1 where the condition is dropped."""
        dropped = torch.zeros(len(condition.known)) if drop is None else (drop == DROP_ALL).float()
        return dropped[:, None, None].expand(-1, condition.known.shape[1], 1)

    def __call__(self, x, *, r, tau, guidance_scale, embedded, condition):
        with_condition = (1 - guidance_scale)[:, None, None] * self.off
        away = torch.where(embedded > 0, self.off, with_condition)
        return (x - self.mean) / tau[:, None, None] + self.shift + away


AUDIO = torch.full((64, 8, 2), Exact.mean)


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_network_has_no_error(seed):
    torch.manual_seed(seed)
    for value, figures in (
        flow_matching_loss(Exact(), AUDIO, condition(64), ObjectiveConfig()),
        one_step_loss(Exact(), AUDIO, condition(64), ObjectiveConfig(), progress=1.0),
    ):
        assert figures["error"] < 1e-5
        assert float(value) < 1e-3


def test_a_constant_error_costs_its_square():
    torch.manual_seed(0)
    network, config = Exact(shift=0.3), ObjectiveConfig(balance=0.0)
    value, figures = flow_matching_loss(network, AUDIO, condition(64), config)
    assert figures["error"] == pytest.approx(0.09, rel=1e-3)
    assert float(value) == pytest.approx(0.09, rel=1e-3)


def test_the_guided_field_is_the_fixed_point():
    # On the diagonal the target is v + (1 - 1/w)(v_c - v_0); for this network v_c is that field.
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.0, drop_all=0.0, drop_timing=0.0, balance=0.0)
    _, guided = one_step_loss(Exact(off=0.6), AUDIO, condition(64), config, progress=1.0)
    assert guided["error"] < 1e-5
    # Without guidance (early in this stage) the same network is right as well: w is 1.
    _, plain = one_step_loss(Exact(off=0.6), AUDIO, condition(64), config, progress=0.1)
    assert plain["error"] < 1e-5


def test_rows_without_condition_are_not_guided():
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.0, drop_all=1.0, balance=0.0)
    _, figures = one_step_loss(Exact(off=0.6), AUDIO, condition(64), config, progress=1.0)
    assert figures["error"] == pytest.approx(0.36, rel=1e-3)


@pytest.mark.parametrize("path", PATHS)
def test_the_meanflow_identity_holds_for_the_exact_map(path):
    torch.manual_seed(0)
    network = GaussianMap(path)
    tau = torch.tensor([0.9, 0.6, 0.3, 0.2], dtype=torch.float64)
    r = torch.tensor([0.1, 0.5, 0.05, 0.8], dtype=torch.float64)  # the last one leads to noise
    x = torch.randn(4, 8, 2, dtype=torch.float64)
    velocity = network.velocity(x, tau[:, None, None])
    slope = _slope(
        network,
        x,
        velocity,
        r=r,
        tau=tau,
        guidance_scale=torch.ones(4),
        embedded=torch.zeros(4, 8, 1),
        condition=condition(4),
        half=1e-4,
    )
    rest = dict(guidance_scale=None, embedded=None, condition=None)
    compound = network(x, r=r, tau=tau, **rest) + (tau - r)[:, None, None] * slope
    assert float((compound - velocity).abs().max()) < 1e-5


def test_context_has_no_tangent_and_no_error():
    class OwnFrame:
        """u is x itself, so that its slope is the tangent."""

        def __call__(self, x, *, r, tau, guidance_scale, embedded, condition):
            return x

    one = torch.ones(2)
    slope = _slope(
        OwnFrame(),
        torch.randn(2, 8, 2, dtype=torch.float64),
        torch.full((2, 8, 2), 3.0, dtype=torch.float64),
        r=0 * one,
        tau=one,
        guidance_scale=one,
        embedded=torch.zeros(2, 8, 1),
        condition=condition(2, known=5),
        half=2e-3,
    )
    assert float(slope[:, :5].abs().max()) == 0.0
    torch.testing.assert_close(slope[:, 5:], torch.full((2, 3, 2), 3.0, dtype=torch.float64))


def test_errors_are_means_over_frames_that_are_not_known():
    predicted, target = torch.zeros(2, 4, 3), torch.zeros(2, 4, 3)
    predicted[:, 0], predicted[:, 3] = 100.0, 2.0
    known = torch.tensor([[True, False, False, False], [True, True, True, False]])
    wanted = torch.tensor([4.0 / 3, 4.0])
    torch.testing.assert_close(masked_error(predicted, target, known), wanted)
    assert masked_error(predicted, target, torch.ones(2, 4, dtype=torch.bool)).tolist() == [0, 0]


def test_balanced_losses():
    errors = torch.tensor([0.01, 1.0, 4.0], requires_grad=True)
    plain = balanced(errors, ObjectiveConfig(balance=0.0))
    assert float(plain.detach()) == pytest.approx(5.01 / 3)
    even = balanced(errors, ObjectiveConfig(balance=1.0, floor=0.01))
    assert float(even.detach()) == pytest.approx((0.5 + 1 / 1.01 + 4 / 4.01) / 3)
    even.backward()
    # The weight is a constant to the gradient.
    wanted = [1 / (e + 0.01) / 3 for e in (0.01, 1.0, 4.0)]
    assert errors.grad.tolist() == pytest.approx(wanted)


def test_shares_of_dropped_conditions():
    torch.manual_seed(0)
    drops = sample_dropout(40_000, ObjectiveConfig(drop_all=0.1, drop_timing=0.05), CPU)
    shares = [float((drops == kind).float().mean()) for kind in (KEEP_ALL, DROP_TIMING, DROP_ALL)]
    assert shares == pytest.approx([0.85, 0.05, 0.1], abs=0.01)


def test_intervals_grow_in_number_and_end_where_generation_begins():
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.5, endpoint_share=0.2)
    tau, r = sample_intervals(20_000, config, 0.0, CPU)
    assert torch.equal(tau, r)
    for progress, share in ((0.05, 0.25), (0.1, 0.5), (1.0, 0.5)):
        tau, r = sample_intervals(20_000, config, progress, CPU)
        assert bool((r <= tau).all())
        wide = r < tau
        assert float(wide.float().mean()) == pytest.approx(share, abs=0.02)
        ends = wide & (r == 0)
        assert float(ends.float().mean()) == pytest.approx(0.2 * share, abs=0.02)
        assert float(tau[ends].min()) >= 0.98 and float(tau.max()) <= 1.0


def test_guidance_is_drawn_from_one_to_the_largest():
    seen = []

    class Watching(Exact):
        def __call__(self, x, *, guidance_scale, **rest):
            seen.append(guidance_scale)
            return super().__call__(x, guidance_scale=guidance_scale, **rest)

    torch.manual_seed(0)
    config = ObjectiveConfig(largest_guidance=3.0)
    one_step_loss(Watching(), AUDIO, condition(64), config, progress=0.5)
    guidance_scale = seen[-1]
    assert float(guidance_scale.min()) == 1.0  # rows without condition
    assert 2.0 < float(guidance_scale.max()) <= 3.0
    one_step_loss(Watching(), AUDIO, condition(64), config, progress=0.1)
    assert torch.equal(seen[-1], torch.ones(64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"largest_guidance": 0.5}, r"largest_guidance=0.5 \(>= 1\)"),
        ({"interval_share": 1.5}, r"interval_share=1.5 \(0..1\)"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**settings)


def test_velocities_of_the_loss_are_those_of_the_path():
    # A network that knows audio and noise would be needed for zero error on random audio; the mean
    # of the squared velocity is known, though: E (eps - x)^2 = 1 + E x^2 for a network that says 0.
    class Zero(Exact):
        def __call__(self, x, **rest):
            return torch.zeros_like(x)

    torch.manual_seed(0)
    audio = 2.0 * torch.randn(256, 8, 2)
    _, figures = flow_matching_loss(Zero(), audio, condition(256), ObjectiveConfig(path="linear"))
    assert figures["error"] == pytest.approx(5.0, rel=0.05)
    config = ObjectiveConfig(path="gvp")
    _, figures = flow_matching_loss(Zero(), audio, condition(256), config)
    tau = torch.sigmoid(config.tau_mean + config.tau_deviation * torch.randn(10_000))
    speed = (math.pi / 2) ** 2 * (
        4 * (math.pi / 2 * tau).sin() ** 2 + (math.pi / 2 * tau).cos() ** 2
    )
    assert figures["error"] == pytest.approx(float(speed.mean()), rel=0.1)


def test_derivatives_are_bounded_row_by_row_and_keep_their_direction():
    torch.manual_seed(0)
    slope = torch.randn(3, 40, 8) * torch.tensor([0.5, 2.0, 500.0])[:, None, None]
    kept = bounded(slope)
    assert torch.equal(kept[:2], slope[:2])
    assert float(kept[2].square().mean().sqrt()) == pytest.approx(LARGEST_SLOPE, rel=1e-5)
    torch.testing.assert_close(kept[2] / kept[2].norm(), slope[2] / slope[2].norm())
    assert torch.equal(bounded(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))
