"""Progressive distillation: against the exact map, and against the teacher's sampler."""

from __future__ import annotations

import pytest
import torch
from support.flow_networks import (
    Unconditional,
    random_condition,
    random_flow,
    zero_condition,
)
from support.gaussian_mixture import GaussianMap, Mixture
from torch import nn

from foleyflow.flow.guided_model import velocity_field
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.path import PATHS, SMALLEST_TAU
from foleyflow.flow.progressive_distillation import (
    INTERVAL_FRACTION,
    Teacher,
    progressive_distillation_loss,
)
from foleyflow.flow.samplers import apply_flow_map, euler, uniform_grid
from foleyflow.flow.transformer import FlowConfig, FlowTransformer

CONFIG = ObjectiveConfig()
ROWS, FRAMES, CHANNELS = 64, 8, 2


class Network(Unconditional):
    """Any u(x, r, tau), called like the network of the flow."""

    def __init__(self, mean_velocity) -> None:
        super().__init__()
        self.mean_velocity = mean_velocity

    def forward(self, x, *, r, tau, **rest):
        return self.mean_velocity(x, r, tau)


def velocity_alone(mixture: Mixture) -> Network:
    """A flow that is no map: its mean velocity is the velocity at the start of the step."""
    return Network(lambda x, r, tau: mixture.velocity(x.double(), tau[:, None, None]).float())


def audio() -> torch.Tensor:
    return 0.7 + 0.4 * torch.randn(ROWS, FRAMES, CHANNELS)


def merge_error(student, teacher, *, steps: int, config: ObjectiveConfig = CONFIG) -> float:
    return progressive_distillation_loss(
        student, teacher, audio(), zero_condition(ROWS), config, teacher_steps=steps
    )[1]["merge_error"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [2, 4])
def test_several_steps_of_an_exact_map_equal_one(path, steps):
    torch.manual_seed(0)
    config = ObjectiveConfig(path=path)
    exact = GaussianMap(path)
    assert merge_error(exact, exact, steps=steps, config=config) < 1e-9
    # A constant error of every step is the error of their mean
    off = Network(lambda x, r, tau: 0.3 + exact(x, r=r, tau=tau))
    error = merge_error(off, exact, steps=steps, config=config)
    assert error == pytest.approx(0.09, rel=1e-3)


@pytest.mark.parametrize("steps", [2, 5])
def test_the_target_is_the_sampler_result_after_the_same_steps(steps):
    teacher = velocity_alone(Mixture())

    def several_steps(x, r, tau):
        rows = []
        for row, end, start in zip(x, r.tolist(), tau.tolist(), strict=True):
            if end == start:
                rows.append(teacher.mean_velocity(row[None], r, torch.tensor([start]))[0])
                continue
            result = apply_flow_map(
                lambda at, after, now: teacher.mean_velocity(at, None, torch.tensor([now])),
                row[None],
                uniform_grid(steps, start=start, end=end),
            )
            rows.append((row - result[0]) / (start - end))
        return torch.stack(rows)

    torch.manual_seed(0)
    assert merge_error(Network(several_steps), teacher, steps=steps) < 1e-9
    # One step of a plain velocity ends elsewhere
    assert merge_error(teacher, teacher, steps=steps) > 0.01


def test_a_teacher_without_a_map_takes_guided_euler_steps():
    torch.manual_seed(0)
    config = FlowConfig(channels=CHANNELS, width=16, layers=1, heads=2, condition_width=4)
    teacher = random_flow(config, deviation=0.2)
    teacher.trained_intervals.zero_()
    teacher.trained_guidance.zero_()
    chosen = random_condition(1, FRAMES, width=4, channels=CHANNELS)
    asked = []

    class Student(Unconditional):
        def forward(self, x, *, r, tau, guidance_scale, **rest):
            asked.append((x, r, tau, guidance_scale))
            return torch.zeros_like(x)

    settings = ObjectiveConfig(drop_all=0.0, drop_timing=0.0)
    for _ in range(20):
        _, figures = progressive_distillation_loss(
            Student(), teacher, torch.randn(1, FRAMES, CHANNELS), chosen, settings, teacher_steps=3
        )
        x, r, tau, scale = asked[-1]
        velocity = velocity_field(teacher, chosen, guidance=float(scale))
        grid = uniform_grid(3, start=float(tau), end=float(r))
        # Where the interval is empty, the target is the velocity
        target = velocity(x, float(tau))
        if float(tau) > float(r):
            target = (x - euler(velocity, x, grid)) / (tau - r)
        assert figures["merge_error"] == pytest.approx(float(target.square().mean()), rel=1e-3)


@pytest.mark.parametrize("path", PATHS)
def test_a_student_of_four_steps_learns_a_quarter_of_the_path_at_most(path):
    """Its targets are exact too, and none of its intervals is longer than one of its steps."""
    torch.manual_seed(0)
    config, exact, lengths = ObjectiveConfig(path=path), GaussianMap(path), []

    def student(x, r, tau):
        lengths.append(tau - r)
        return exact(x, r=r, tau=tau)

    _, figures = progressive_distillation_loss(
        Network(student),
        exact,
        audio(),
        zero_condition(ROWS),
        config,
        teacher_steps=6,
        student_steps=4,
    )
    assert figures["merge_error"] < 1e-9
    steps = torch.cat(lengths) / (1 - SMALLEST_TAU[path])
    assert float(steps.max()) == pytest.approx(0.25, abs=1e-5)
    # 60 % of the 80 % with an interval have that of generation, and a sixth of the others
    share = float((steps > 0.249).float().mean())
    assert share == pytest.approx(0.8 * (0.6 + 0.4 / 6), abs=0.2)


def test_samples_without_an_interval_preserve_the_velocity():
    torch.manual_seed(0)
    exact = GaussianMap()

    def wrong_off_the_diagonal(x, r, tau):
        away = 9.0 * (tau > r).float()
        return exact(x, r=r, tau=tau) + away[:, None, None]

    network = Network(wrong_off_the_diagonal)
    errors = [merge_error(network, exact, steps=2) for _ in range(40)]
    assert sum(errors) / 40 == pytest.approx(81 * INTERVAL_FRACTION, rel=0.05)


def test_known_frames_are_placed_on_the_path_and_have_no_loss():
    torch.manual_seed(0)
    calls, true = [], torch.full((ROWS, FRAMES, CHANNELS), 2.0)

    def teacher(x, r, tau):
        calls.append((x, tau))
        return torch.full_like(x, 5.0)

    def network(x, r, tau):
        return torch.where(torch.arange(FRAMES)[None, :, None] < 5, 99.0, 5.0).expand_as(x)

    _, figures = progressive_distillation_loss(
        Network(network),
        Network(teacher),
        true,
        zero_condition(ROWS, known=5),
        CONFIG,
        teacher_steps=3,
    )
    assert figures["merge_error"] == pytest.approx(0.0, abs=1e-9)
    # The noise of a known frame is the same at every step: (x - (1 - tau) audio) / tau.
    noises = [(x - (1 - t) * 2.0) / t for x, t in ((x, tau[:, None, None]) for x, tau in calls)]
    assert len(noises) == 3
    for noise in noises[1:]:
        torch.testing.assert_close(noise[:, :5], noises[0][:, :5], atol=1e-3, rtol=1e-3)
        assert not torch.isclose(noise[:, 5:], noises[0][:, 5:], atol=1e-3).all()


def test_only_the_student_is_trained():
    class Shift(Unconditional):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(()))

        def forward(self, x, **rest):
            return x + self.shift

    network, teacher = Shift(), Shift()
    progressive_distillation_loss(
        network, teacher, audio(), zero_condition(ROWS), CONFIG, teacher_steps=2
    )[0].backward()
    assert network.shift.grad is not None and teacher.shift.grad is None


def test_a_teacher_is_a_copy_of_the_network_it_started_from():
    torch.manual_seed(0)
    config = FlowConfig(channels=CHANNELS, width=16, layers=1, heads=2, condition_width=4)
    first, second = FlowTransformer(config), FlowTransformer(config)
    teacher = Teacher(first)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert int(teacher.started) == 0
    teacher.start_from_(second)
    assert int(teacher.started) == 1
    for name, value in second.state_dict().items():
        assert torch.equal(teacher.flow.state_dict()[name], value)
    assert not torch.equal(teacher.flow.input_conv.weight, first.input_conv.weight)
