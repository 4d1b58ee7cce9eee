"""The training loop: load, step, log, validate, save. It knows no model and no task by name.

To resume a run, give the same command again. All randomness is a function of (seed, step) and the
place in the batch, so a run that was killed and resumed gives the same losses as one that ran
through, and so does one whose batches are shared out to more processes or fewer.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.errors import TrainingError
from foleyflow.parallel.precision import fast_autocast
from foleyflow.training.checkpoint import load_state, save_state
from foleyflow.training.journal import Journal
from foleyflow.training.optimiser import MovingAverage, learning_rate_at, make_optimiser
from foleyflow.training.processes import (
    SINGLE_PROCESS,
    Processes,
    Turn,
    UnshardedCopies,
    check_shardable,
    shard_,
    whole,
)
from foleyflow.training.task import Batch, Task, TrainConfig

log = logging.getLogger(__name__)


def train(
    task: Task,
    config: TrainConfig,
    *,
    folder: Path,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, torch.nn.Module]:
    """Trains a task to `config.steps` steps, from where `folder` stands.

    Args:
        task: what to train; its modules are moved to `device`.
        config: the loop's settings.
        folder: gets `state.safetensors` and `journal.jsonl`; made if missing.
        device: CPU or one CUDA device.
        processes: who trains together; each has its rows of every batch.
        progress: called after each logged step with the step and its figures, in the first
            process.

    Returns:
        turn -> module with the averaged weights.

    Raises:
        TrainingError: a loss or gradient is not finite; the last good state is kept.
        CheckpointError: the folder's state does not fit.
        ConfigError: batches can't be shared out evenly, or the weights can't.
    """
    rows = processes.rows(config)
    sharded = config.shard and processes.count > 1
    folder.mkdir(parents=True, exist_ok=True)
    modules = {name: module.to(device) for name, module in task.modules.items()}
    processes.same_weights_(*modules.values())
    averages = {turn: MovingAverage(modules[turn], config.ema) for turn in task.turns}
    averaged = UnshardedCopies(
        {turn: average.module for turn, average in averages.items()}, sharded=sharded
    )
    if sharded:
        check_shardable(task)
        for average in averages.values():
            shard_(average.module)
    turns = {turn: Turn(task, turn, modules[turn], processes, config) for turn in averages}
    optimisers = {turn: make_optimiser(modules[turn], config) for turn in task.turns}
    state = {"modules": modules, "averages": averages, "optimisers": optimisers}
    done = load_state(folder, **state)
    log.info("%s: %d of %d steps done", folder, done, config.steps)
    with (
        _journal(folder, done, processes) as journal,
        closing(_batches_ahead(task, config, first_step=done, rows=rows)) as batches,
    ):
        mark_s, waited_s = time.perf_counter(), 0.0
        for step in range(done, config.steps):
            asked_s = time.perf_counter()
            batch = {key: value.to(device) for key, value in next(batches).items()}
            waited_s += time.perf_counter() - asked_s
            torch.manual_seed(_seed_of(config.seed, step))
            figures: dict[str, float] = {}
            for turn in task.begin_step(step, {t: a.module for t, a in averages.items()}):
                figures |= _take_turn(
                    turns[turn],
                    turn,
                    batch,
                    step,
                    config,
                    optimisers[turn],
                    modules[turn],
                    processes,
                )
                averages[turn].update_(modules[turn], step)
            number = step + 1
            if number % config.log_every == 0 or number == config.steps:
                now_s = time.perf_counter()
                entry = {"step": number, **figures, "took_s": now_s - mark_s, "waited_s": waited_s}
                mark_s, waited_s = now_s, 0.0
                if journal:
                    journal.write(entry)
                if progress and processes.leads:
                    progress(number, entry)
            if number % config.validate_every == 0 or number == config.steps:
                shown = averaged(device)
                if journal:
                    torch.manual_seed(_seed_of(config.seed, -1))
                    with torch.no_grad():
                        results = task.validate(shown)
                    journal.write(
                        {"step": number, **{f"validation/{k}": v for k, v in results.items()}}
                    )
                    if progress:
                        progress(number, results)
            if number % config.save_every == 0 or number == config.steps:
                save_state(folder, step=number, writes=processes.leads, **state)
    return averaged(device)


def _journal(
    folder: Path, done: int, processes: Processes
) -> AbstractContextManager[Journal | None]:
    """The run's journal, in the process that writes it."""
    if not processes.leads:
        return nullcontext()
    return Journal(folder / "journal.jsonl", keep_to_step=done)


def _take_turn(
    losses: Turn,
    turn: str,
    batch: Batch,
    step: int,
    config: TrainConfig,
    optimiser: torch.optim.Optimizer,
    module: torch.nn.Module,
    processes: Processes,
) -> dict[str, float]:
    module.train()
    optimiser.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    for number, part in enumerate(_parts(batch, config.accumulate), start=1):
        with losses.part(last=number == config.accumulate) as loss_of:
            with fast_autocast(next(iter(part.values())).device, enabled=config.bf16):
                loss, figures = loss_of(part, step)
            (loss / config.accumulate).backward()
        for key, value in {f"{turn}/loss": float(loss.detach()), **figures}.items():
            sums[key] = sums.get(key, 0.0) + value / config.accumulate
    sums = processes.mean(sums)  # with a number of any process that is not finite, it isn't
    norm = float(whole(torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm)))
    if not (math.isfinite(norm) and math.isfinite(sums[f"{turn}/loss"])):
        raise TrainingError(
            f"step {step + 1}, turn {turn!r}: loss {sums[f'{turn}/loss']}, gradient norm {norm}"
            f"; {'; '.join(processes.gather_text(_described(batch)))}",
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
    task: Task, config: TrainConfig, *, first_step: int, rows: NDArray[np.int64]
) -> Generator[Batch, None, None]:
    """Batches in the order of steps, each drawn while the step before it runs."""

    def draw(step: int) -> Batch:
        rng = np.random.default_rng([config.seed, 0, step])
        if len(rows) == config.batch_clips:
            return task.draw(rng, config.batch_clips)
        return task.draw_rows(rng, config.batch_clips, rows)

    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(draw, first_step)
        for step in range(first_step, config.steps):
            batch = ahead.result()
            if step + 1 < config.steps:
                ahead = pool.submit(draw, step + 1)
            yield batch


def _seed_of(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, 0, step + 1]).generate_state(1, np.uint64)[0] >> 1)
