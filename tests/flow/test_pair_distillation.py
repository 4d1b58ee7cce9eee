"""Pair distillation: on modes with a known map, and as a training run from stored pairs."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.flow_networks import Unconditional, random_flow, zero_condition
from support.gaussian_mixture import Exact, Mixture, TwoModes

from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.pair_distillation import pair_distillation_loss
from foleyflow.flow.path import SMALLEST_TAU
from foleyflow.flow.samplers import heun, uniform_grid
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.training.loop import train
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.flow import prepare
from foleyflow.training.tasks.pair_distillation import DistilTask, PairConfig, Pairs, open_pairs

FRAMES, CHANNELS = 8, 2
MODES = Mixture(means=(-1.0, 1.0), deviations=(0.3, 0.3), weights=(0.5, 0.5))


def test_the_loss_is_the_squared_error_of_the_map():
    torch.manual_seed(0)
    noise = torch.randn(16, FRAMES, CHANNELS)
    result = MODES.generated(noise.double()).float()
    chosen = zero_condition(16, known=3)
    value, figures = pair_distillation_loss(Exact(MODES), noise, result, chosen)
    assert figures["error"] < 1e-10
    shifted = result.clone()
    shifted[:, 3:] += 0.2
    shifted[:, :3] += 9.0  # known frames are ignored
    value, figures = pair_distillation_loss(Exact(MODES), noise, shifted, chosen)
    assert float(value) == figures["error"] == pytest.approx(0.04, rel=1e-3)


def test_the_step_ends_where_the_path_ends():
    torch.manual_seed(0)
    noise, result = torch.randn(2, 16, FRAMES, CHANNELS)
    times = {}

    class Step(Unconditional):
        """The mean velocity from `noise` to `result` over the interval that it is asked for."""

        def forward(self, x, *, r, tau, **rest):
            times.update(r=r, tau=tau)
            return (x - result) / (tau - r)[:, None, None]

    _, figures = pair_distillation_loss(Step(), noise, result, zero_condition(16), path="vp")
    assert figures["error"] < 1e-10
    assert times["r"].tolist() == pytest.approx([SMALLEST_TAU["vp"]] * 16)


def test_the_student_gets_the_guidance_scale_of_its_teacher():
    calls = {}

    class Recorder(Exact):
        def forward(self, x, **inputs):
            calls.update(inputs)
            return super().forward(x, **inputs)

    noise = torch.randn(4, FRAMES, CHANNELS)
    pair_distillation_loss(Recorder(MODES), noise, noise, zero_condition(4), guidance=2.5)
    assert calls["guidance_scale"].tolist() == [2.5] * 4
    assert calls["r"].tolist() == [0.0] * 4 and calls["tau"].tolist() == [1.0] * 4


def test_a_student_learns_modes_from_solver_pairs():
    torch.manual_seed(0)
    student = TwoModes(0.6, 0.1)
    noise = torch.randn(512, FRAMES, CHANNELS, dtype=torch.float64)
    result = heun(MODES.velocity, noise, uniform_grid(25)).float()
    noise = noise.float()
    optimiser = torch.optim.Adam(student.parameters(), 2e-2)
    for step in range(100):
        rows = slice(64 * (step % 8), 64 * (step % 8) + 64)
        optimiser.zero_grad()
        batch = student, noise[rows], result[rows], zero_condition(64)
        pair_distillation_loss(*batch)[0].backward()
        optimiser.step()
    assert float(student.middle.detach()) == pytest.approx(1.0, abs=0.03)
    assert float(student.deviation.detach()) == pytest.approx(0.3, abs=0.03)


# ---------------------------------------------------------------------------------- a run

PAIRS = PairConfig(count=24, solver_steps=6, shortest_context=4, longest_context=12)


@pytest.fixture(scope="module")
def windows():
    def random(seed, *shape):
        return np.random.default_rng(seed).normal(size=shape).astype(np.float16)

    return ConditionWindows(
        video=random(0, 10, 40, 16),
        states=random(1, 10, 10, 16),
        latents=5 + 3 * random(3, 10, 40, 6),
        clip=np.arange(10),
        start_s=np.zeros(10),
    )


@pytest.fixture(scope="module")
def teacher():
    config = FlowConfig(channels=6, width=16, layers=1, heads=2, condition_width=16)
    network = random_flow(config, deviation=0.2, zero=("interval", "guidance_scale"))
    network.latent_mean.fill_(5.0)
    network.latent_deviation.fill_(3.0)
    return network


@pytest.fixture(scope="module")
def pairs(teacher, windows, tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / ".pairs"
    return open_pairs(path, teacher, windows, PAIRS)


def test_pairs_are_solved_once_and_do_not_depend_on_the_order(pairs, teacher, windows, tmp_path):
    numbers = np.array([20, 3])
    batch = pairs.batch(numbers)
    _, chosen = prepare(teacher, batch)
    result = sample(teacher, chosen, batch["noise"], steps=6, guidance=1.0, solver="heun")
    torch.testing.assert_close(batch["solution"], result, atol=5e-3, rtol=5e-3)
    # 24 pairs of 10 windows: a window is repeated with another noise
    assert batch["clip"].tolist() == [0, 3]
    other = pairs.batch(np.array([10, 13]))
    assert torch.equal(other["video"], batch["video"])
    assert not torch.allclose(other["noise"], batch["noise"])
    path = tmp_path / "pairs"
    open_pairs(path, teacher, windows, PAIRS)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    again = open_pairs(path, None, windows, PAIRS)  # opened without a teacher
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    np.testing.assert_array_equal(again.solutions, pairs.solutions)
    assert [p.name for p in tmp_path.iterdir()] == ["pairs"]


def test_some_pairs_have_context(windows):
    batch = Pairs(windows=windows, config=PAIRS).batch(np.arange(2000))
    lengths = batch["context_length"].numpy()
    assert (lengths > 0).mean() == pytest.approx(0.4, abs=0.04)
    assert set(lengths[lengths > 0]) == set(range(4, 13))
    assert float(batch["noise"].std()) == pytest.approx(1.0, abs=0.01)
    assert "solution" not in batch


def test_the_student_learns_the_teachers_map(pairs, teacher, tmp_path):
    task = DistilTask(
        copy.deepcopy(teacher), ObjectiveConfig(), pairs=pairs, validation_pairs=pairs
    )
    kept = copy.deepcopy(teacher.state_dict())
    with torch.no_grad():
        before = task.validate(task.modules)
    config = TrainConfig(
        steps=120, batch_clips=8, learning_rate=3e-3, warmup_steps=5, ema=0.95, bf16=False
    )
    averages = train(task, config, folder=tmp_path, device=torch.device("cpu"))
    with torch.no_grad():
        after = task.validate(averages)
    assert after["map_error"] < 0.6 * before["map_error"]
    torch.testing.assert_close(teacher.state_dict(), kept, rtol=0, atol=0)
    module, stored = task.export(averages)["flow"]
    FlowTransformer(FlowConfig(**stored)).load_state_dict(module.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "pairs: count=0.*expected at least 1"),
        ({"solver_steps": 0}, "solver_steps=0"),
        ({"guidance": 0.5}, "guidance=0.5"),
        ({"shortest_context": 60}, "shortest_context=60, longest_context=12: expected 0 <"),
    ],
)
def test_pairs_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(PAIRS, **settings)
