"""The training loop: load, step, log, validate, save. It knows no model and no task by name.

To resume a run, give the same command again. All randomness is a function of (seed, rank, step),
so a run that was killed and resumed gives the same losses as one that ran through.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foleyflow.errors import TrainingError
from foleyflow.precision import fast_autocast
from foleyflow.training.checkpoint import load_state, save_state
from foleyflow.training.journal import Journal
from foleyflow.training.optimiser import MovingAverage, learning_rate_at, make_optimiser
from foleyflow.training.task import Batch, Task, TrainConfig

log = logging.getLogger(__name__)


def train(
    task: Task,
    config: TrainConfig,
    *,
    folder: Path,
    device: torch.device,
    rank: int = 0,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, torch.nn.Module]:
    """Trains a task to `config.steps` steps, from where `folder` stands.

    Args:
        task: what to train; its modules are moved to `device`.
        config: the loop's settings.
        folder: gets `state.safetensors` and `journal.jsonl`; made if missing.
        device: CPU or one CUDA device.
        rank: which process this is, in training on many.
        progress: called after each logged step with the step and its figures.

    Returns:
        turn -> module with the averaged weights.

    Raises:
        TrainingError: a loss or gradient is not finite; the last good state is kept.
        CheckpointError: the folder's state does not fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    modules = {name: module.to(device) for name, module in task.modules.items()}
    averages = {turn: MovingAverage(modules[turn], config.ema) for turn in task.turns}
    optimisers = {turn: make_optimiser(modules[turn], config) for turn in task.turns}
    state = {"modules": modules, "averages": averages, "optimisers": optimisers}
    done = load_state(folder, **state)
    log.info("%s: %d of %d steps done", folder, done, config.steps)
    with (
        Journal(folder / "journal.jsonl", keep_to_step=done) as journal,
        closing(_batches_ahead(task, config, first_step=done, rank=rank)) as batches,
    ):
        mark_s, waited_s = time.perf_counter(), 0.0
        for step in range(done, config.steps):
            asked_s = time.perf_counter()
            batch = {key: value.to(device) for key, value in next(batches).items()}
            waited_s += time.perf_counter() - asked_s
            torch.manual_seed(_seed_of(config.seed, rank, step))
            figures: dict[str, float] = {}
            for turn in task.begin_step(step, {t: a.module for t, a in averages.items()}):
                figures |= _take_turn(
                    task, turn, batch, step, config, optimisers[turn], modules[turn]
                )
                averages[turn].update_(modules[turn], step)
            number = step + 1
            if number % config.log_every == 0 or number == config.steps:
                now_s = time.perf_counter()
                entry = {"step": number, **figures, "took_s": now_s - mark_s, "waited_s": waited_s}
                mark_s, waited_s = now_s, 0.0
                journal.write(entry)
                if progress:
                    progress(number, entry)
            if number % config.validate_every == 0 or number == config.steps:
                torch.manual_seed(_seed_of(config.seed, rank, -1))
                with torch.no_grad():
                    results = task.validate({t: a.module for t, a in averages.items()})
                journal.write(
                    {"step": number, **{f"validation/{k}": v for k, v in results.items()}}
                )
                if progress:
                    progress(number, results)
            if number % config.save_every == 0 or number == config.steps:
                save_state(folder, step=number, **state)
    return {turn: average.module for turn, average in averages.items()}


def _take_turn(
    task: Task,
    turn: str,
    batch: Batch,
    step: int,
    config: TrainConfig,
    optimiser: torch.optim.Optimizer,
    module: torch.nn.Module,
) -> dict[str, float]:
    module.train()
    optimiser.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    for part in _parts(batch, config.accumulate):
        device = next(iter(part.values())).device
        with fast_autocast(device, enabled=config.bf16):
            loss, figures = task.loss(turn, part, step)
        (loss / config.accumulate).backward()
        for key, value in {f"{turn}/loss": float(loss.detach()), **figures}.items():
            sums[key] = sums.get(key, 0.0) + value / config.accumulate
    norm = float(torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm))
    if not (math.isfinite(norm) and math.isfinite(sums[f"{turn}/loss"])):
        raise TrainingError(
            f"step {step + 1}, turn {turn!r}: loss {sums[f'{turn}/loss']}, gradient norm {norm}"
            f"; {_described(batch)}",
            hint="the last good state is kept; lower train.learning_rate, say the command again",
        )
    rate = learning_rate_at(step, config)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return {**sums, f"{turn}/gradient_norm": norm, f"{turn}/learning_rate": rate}


def _described(batch: Batch) -> str:
    """Which clips a batch holds, and what of them is not finite before any network saw it."""
    count = len(next(iter(batch.values())))
    clips = batch["clip"].tolist() if "clip" in batch else list(range(count))
    broken = [
        f"{name!r} of clip {clips[row]}"
        for name, value in batch.items()
        if value.is_floating_point()
        for row in (~value.isfinite().flatten(1 if value.ndim > 1 else 0)).nonzero()[:, 0].unique()
    ]
    said = f"clips {', '.join(map(str, clips))}" if "clip" in batch else "rows without indices"
    return f"{said}; {', '.join(broken)} not finite" if broken else f"{said}; all input is finite"


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    rows = len(next(iter(batch.values())))
    if rows % count:
        raise TrainingError(
            f"a batch of {rows} clips can't be cut in {count} equal parts",
            hint="set train.accumulate to a divisor of it, or give more clips",
        )
    chunks: dict[str, tuple[Tensor, ...]] = {k: v.chunk(count) for k, v in batch.items()}
    for index in range(count):
        yield {key: parts[index] for key, parts in chunks.items()}


def _batches_ahead(
    task: Task, config: TrainConfig, *, first_step: int, rank: int
) -> Generator[Batch, None, None]:
    """Batches in the order of steps, each drawn while the step before it runs."""

    def draw(step: int) -> Batch:
        rng = np.random.default_rng([config.seed, rank, step])
        return task.draw(rng, config.batch_clips)

    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(draw, first_step)
        for step in range(first_step, config.steps):
            batch = ahead.result()
            if step + 1 < config.steps:
                ahead = pool.submit(draw, step + 1)
            yield batch


def _seed_of(seed: int, rank: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, rank, step + 1]).generate_state(1, np.uint64)[0] >> 1)
