"""The loop on a linear regression; the schedule and the averages in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from foleyflow.errors import ConfigError, TrainingError
from foleyflow.parallel.precision import PRECISION_VARIABLE
from foleyflow.training.checkpoint import TrainState, load_state
from foleyflow.training.journal import read_journal
from foleyflow.training.loop import train
from foleyflow.training.optimiser import MovingAverage, learning_rate_at, make_optimiser
from foleyflow.training.task import Task, TrainConfig

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    steps=10, batch_clips=4, warmup_steps=1, bf16=False, log_every=1, validate_every=5, save_every=2
)


class Line(Task):
    """A linear regression; the loss is NaN at step `broken_at`; `noise` uses torch's generator."""

    phases = ("line",)

    def __init__(self, *, broken_at: int | None = None, noise: float = 0.0, one_batch=False):
        torch.manual_seed(0)
        self.modules = {"line": nn.Linear(3, 1)}
        self.broken_at = broken_at
        self.noise = noise
        self.one_batch = one_batch
        self.sampled: list[torch.Tensor] = []

    def sample_batch(self, rng, clips):
        if self.one_batch:
            rng = type(rng)(type(rng.bit_generator)(0))
        x = torch.from_numpy(rng.normal(size=(clips, 3))).float()
        self.sampled.append(x)
        return {"x": x, "y": x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3}

    def loss(self, phase, batch, step):
        out = self.modules["line"](batch["x"] + self.noise * torch.randn_like(batch["x"]))
        value = (out - batch["y"]).square().mean()
        if step == self.broken_at:
            value = value * float("nan")
        return value, {"error": float(value.detach())}

    def validate(self, modules):
        return {"bias": float(modules["line"].bias)}

    def export(self, modules):
        return {"line": (modules["line"], {})}


def run(task, config, folder, **settings):
    entries = []
    average = train(
        task,
        config,
        folder=folder,
        device=CPU,
        progress=lambda step, figures: entries.append((step, figures)),
        **settings,
    )
    return entries, average["line"]


def stored_state(folder) -> tuple[int, nn.Module]:
    """The step and the weights of a run's checkpoint."""
    module = nn.Linear(3, 1)
    state = TrainState(
        modules={"line": module},
        averages={"line": MovingAverage(module, CONFIG.ema)},
        optimisers={"line": make_optimiser(module, CONFIG)},
    )
    return load_state(folder, state), module


def test_one_batch_is_fitted_exactly(tmp_path):
    config = replace(
        CONFIG, steps=300, learning_rate=0.05, weight_decay=0.0, log_every=100, decay_fraction=0.3
    )
    task = Line(one_batch=True)
    entries, _ = run(task, config, tmp_path)
    logged = [figures["line/loss"] for _, figures in entries if "line/loss" in figures]
    assert logged[-1] < 1e-5
    weight = task.modules["line"].weight
    torch.testing.assert_close(weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.02, rtol=0)


def test_precision_follows_setting_and_recipe(tmp_path, monkeypatch):
    losses = {}
    for precision in ("fp32", "bf16"):
        for bf16 in (True, False):
            monkeypatch.setenv(PRECISION_VARIABLE, precision)
            entries, _ = run(Line(), replace(CONFIG, bf16=bf16), tmp_path / f"{precision}-{bf16}")
            losses[precision, bf16] = [figures.get("line/loss") for _, figures in entries]
    assert losses["fp32", True] == losses["fp32", False] == losses["bf16", False]
    assert losses["bf16", True] != losses["fp32", True]


def test_logging_and_validation_steps(tmp_path):
    entries, average = run(Line(), replace(CONFIG, steps=7, log_every=3), tmp_path)
    assert [step for step, figures in entries if "line/loss" in figures] == [3, 6, 7]
    assert [step for step, figures in entries if "bias" in figures] == [5, 7]
    # The averaged weights are validated and returned.
    assert entries[-1][1]["bias"] == float(average.bias)
    assert not average.bias.requires_grad


def test_seed_determines_all_randomness(tmp_path):
    def losses(name, *, seed=0):
        config = replace(CONFIG, steps=4, seed=seed)
        entries, _ = run(Line(noise=0.5), config, tmp_path / name)
        return [figures["line/loss"] for _, figures in entries if "line/loss" in figures]

    plain = losses("a")
    torch.manual_seed(99)
    assert losses("b") == plain
    assert losses("c", seed=1)[1:] != plain[1:]


def test_batches_do_not_depend_on_interruptions(tmp_path):
    uninterrupted, cut = Line(), Line()
    run(uninterrupted, CONFIG, tmp_path / "uninterrupted")
    run(cut, replace(CONFIG, steps=4), tmp_path / "cut")
    run(cut, CONFIG, tmp_path / "cut")
    assert len(uninterrupted.sampled) == len(cut.sampled) == 10
    assert all(torch.equal(a, b) for a, b in zip(uninterrupted.sampled, cut.sampled, strict=True))


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_gives_the_same_steps(tmp_path, parts):
    one, other = Line(), Line()
    plain, _ = run(one, CONFIG, tmp_path / "one")
    cut, _ = run(other, replace(CONFIG, accumulate=parts), tmp_path / "other")
    for (_, figures), (_, same) in zip(plain, cut, strict=True):
        for key in figures.keys() - {"took_s", "waited_s"}:
            assert same[key] == pytest.approx(figures[key], rel=1e-4, abs=1e-6), key
    torch.testing.assert_close(one.modules["line"].weight, other.modules["line"].weight)


def test_indivisible_batch_is_rejected(tmp_path):
    class Short(Line):
        def sample_batch(self, rng, clips):
            return super().sample_batch(rng, 3)

    with pytest.raises(
        TrainingError, match="a batch of 3 clips cannot be divided into 2 equal parts"
    ):
        run(Short(), replace(CONFIG, accumulate=2), tmp_path)


def test_nan_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    broken = Line(broken_at=5)
    with pytest.raises(TrainingError, match=r"step 6, phase 'line': loss nan.*input is finite"):
        run(broken, CONFIG, tmp_path)
    assert bool(torch.isfinite(broken.modules["line"].weight).all())  # not updated
    step, module = stored_state(tmp_path)
    assert step == 4
    assert bool(torch.isfinite(module.weight).all())
    # Without the cause, the run resumes from that state.
    entries, _ = run(Line(), CONFIG, tmp_path)
    assert entries[0][0] == 5


@pytest.mark.parametrize("parts", [1, 2])
def test_error_names_the_clip_that_is_not_finite(tmp_path, parts):
    class Spoilt(Line):
        def sample_batch(self, rng, clips):
            batch = super().sample_batch(rng, clips)
            batch["clip"] = torch.from_numpy(rng.permutation(20)[:clips])
            batch["x"][batch["clip"] == 7, 1] = float("inf")
            return batch

    config = replace(CONFIG, steps=40, accumulate=parts, save_every=1)
    task = Spoilt()
    sampled = []
    with pytest.raises(TrainingError) as caught:
        run(task, config, tmp_path)
    # Batches are sampled one step ahead; the message is about the first one with clip 7.
    for step in range(40):
        rng = np.random.default_rng([config.seed, 0, step])
        sampled.append(Spoilt().sample_batch(rng, 4)["clip"].tolist())
    first = next(step for step, clips in enumerate(sampled) if 7 in clips)
    message = str(caught.value)
    assert message.startswith(f"step {first + 1}, phase 'line': loss ")
    assert f"; clips {', '.join(map(str, sampled[first]))}; 'x' of clip 7" in message
    assert all(f"of clip {clip}" not in message for clip in sampled[first] if clip != 7)
    assert bool(torch.isfinite(task.modules["line"].weight).all())
    assert [e["step"] for e in read_journal(tmp_path / "journal.jsonl")][-1] == first
    step, module = stored_state(tmp_path)
    assert step == first
    assert torch.equal(module.weight, task.modules["line"].weight)


def test_gradients_are_clipped(tmp_path):
    config = replace(CONFIG, steps=1, clip_norm=1e-3, learning_rate=1.0, weight_decay=0.0)
    task = Line()
    entries, _ = run(task, config, tmp_path)
    assert entries[0][1]["line/gradient_norm"] > 1e-3  # before clipping
    norms = [p.grad.norm() for p in task.modules["line"].parameters()]
    assert float(torch.stack(norms).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_phases_are_updated_in_order(tmp_path):
    class Two(Line):
        phases = ("critic", "line")

        def __init__(self):
            super().__init__()
            self.modules = {"critic": nn.Linear(3, 1), **self.modules}
            self.taken = []

        def loss(self, phase, batch, step):
            self.taken.append((step, phase))
            out = self.modules[phase](batch["x"])
            return (out - batch["y"]).square().mean(), {}

    task = Two()
    before = {turn: m.weight.clone() for turn, m in task.modules.items()}
    averages = train(task, replace(CONFIG, steps=2), folder=tmp_path, device=CPU)
    assert task.taken == [(0, "critic"), (0, "line"), (1, "critic"), (1, "line")]
    assert averages.keys() == before.keys()
    assert all(not torch.equal(task.modules[t].weight, before[t]) for t in before)


# ---------------------------------------------------------------------------------- schedule


def test_learning_rate_schedule():
    config = TrainConfig(
        steps=100, batch_clips=1, learning_rate=2.0, warmup_steps=10, decay_fraction=0.4
    )
    for step in range(100):
        rise, fall = (step + 1) / 10, (100 - step) / 40
        wanted = 2.0 * min(1.0, rise, fall)
        assert learning_rate_at(step, config) == pytest.approx(wanted)
    assert learning_rate_at(100, config) == 0.0
    flat = replace(config, decay_fraction=0.0, warmup_steps=0)
    assert {learning_rate_at(step, flat) for step in range(100)} == {2.0}


def test_moving_average_of_weights():
    module = nn.Linear(1, 1, bias=False)
    module.register_buffer("count", torch.tensor(0))
    module.weight.requires_grad_(False)
    module.weight.fill_(5.0)
    average, wanted = MovingAverage(module, 0.9), 5.0
    for step in range(200):
        module.weight.fill_(float(step))
        module.count += 1
        average.update_(module, step)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
        assert float(average.module.weight) == pytest.approx(wanted, rel=1e-4)
    # Its lag behind a ramp approaches decay / (1 - decay) steps.
    assert wanted == pytest.approx(199 - 9, abs=0.1)
    assert int(average.module.count) == 200
    assert float(module.weight) == 199.0


def test_weight_decay_applies_to_matrices_only():
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    module[1].bias.requires_grad_(False)
    optimiser = make_optimiser(module, replace(CONFIG, weight_decay=0.1))
    decayed, others = optimiser.param_groups
    assert [p.shape for p in decayed["params"]] == [(2, 3)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 2


# ---------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, r"train.steps=0: expected at least 1"),
        ({"save_every": 0}, r"train.save_every=0: expected at least 1"),
        ({"batch_clips": 3, "accumulate": 2}, r"batch_clips=3: expected a multiple of"),
        ({"learning_rate": 0.0}, r"learning_rate=0.0 \(> 0\)"),
        ({"learning_rate": float("nan")}, r"learning_rate=nan \(> 0\)"),
        ({"decay_fraction": 1.5}, r"decay_fraction=1.5"),
        ({"ema": 1.0}, r"ema=1.0 \(0..1\)"),
    ],
)
def test_settings_out_of_range_are_rejected(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**{"steps": 10, "batch_clips": 2, **settings})
