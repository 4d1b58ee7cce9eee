"""The training loop: sample, update, log, validate and save. It works with any `Task`.

A run is resumed by starting it again. All randomness is a function of (seed, step) and the position
in the batch. The losses therefore do not depend on interruptions, nor, up to rounding, on the
number of processes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import TrainingError
from foleyflow.parallel.precision import fast_autocast
from foleyflow.training.checkpoint import TrainState, load_state, save_state
from foleyflow.training.journal import Journal
from foleyflow.training.optimiser import MovingAverage, learning_rate_at, make_optimiser
from foleyflow.training.processes import (
    SINGLE_PROCESS,
    PhaseLoss,
    Processes,
    UnshardedCopies,
    check_shardable,
    shard_,
    unsharded,
)
from foleyflow.training.task import Batch, Task, TrainConfig

log = logging.getLogger(__name__)

Progress = Callable[[int, dict[str, float]], None]


def train(
    task: Task,
    config: TrainConfig,
    *,
    folder: Path,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
    progress: Progress | None = None,
) -> dict[str, nn.Module]:
    """Trains a task up to `config.steps` steps and resumes from the folder's checkpoint.

    Args:
        task: its modules are moved to `device`.
        config: settings of the loop.
        folder: receives `state.safetensors` and `journal.jsonl`; created if missing.
        device: CPU or one CUDA device.
        processes: that train together; each computes its items of every batch.
        progress: called in the first process with each logged step and its figures.

    Returns:
        Phase -> module with the averaged weights.

    Raises:
        TrainingError: a loss or gradient is not finite; the last good state is kept.
        CheckpointError: the folder's checkpoint does not fit.
        ConfigError: a batch or the weights cannot be divided between the processes.
    """
    items = processes.items(config)
    sharded = config.shard and processes.count > 1
    folder.mkdir(parents=True, exist_ok=True)

    # Modules, averages and optimisers, sharded if wanted
    modules = {name: module.to(device) for name, module in task.modules.items()}
    processes.broadcast_weights_(*modules.values())
    averages = {phase: MovingAverage(modules[phase], config.ema) for phase in task.phases}
    averaged = {phase: average.module for phase, average in averages.items()}
    unsharded_averages = UnshardedCopies(averaged, sharded=sharded)
    if sharded:
        check_shardable(task)
        for module in averaged.values():
            shard_(module)
    updates = {
        phase: _Update(
            phase=phase,
            module=modules[phase],
            loss=PhaseLoss(task, phase, modules[phase], processes, config),
            optimiser=make_optimiser(modules[phase], config),
            config=config,
            processes=processes,
        )
        for phase in averages
    }
    optimisers = {phase: update.optimiser for phase, update in updates.items()}

    # Resume from the checkpoint
    state = TrainState(modules=modules, averages=averages, optimisers=optimisers)
    first_step = load_state(folder, state)
    log.info("%s: %d of %d steps are done", folder, first_step, config.steps)
    with (
        _open_journal(folder, first_step, processes) as journal,
        closing(_batches_ahead(task, config, first_step=first_step, items=items)) as batches,
    ):
        logged_s, waited_s = time.perf_counter(), 0.0
        for step in range(first_step, config.steps):
            # Next batch
            asked_s = time.perf_counter()
            batch = {key: value.to(device) for key, value in next(batches).items()}
            waited_s += time.perf_counter() - asked_s

            # One update per phase
            torch.manual_seed(_step_seed(config.seed, step))
            figures: dict[str, float] = {}
            for phase in task.begin_step(step, averaged):
                figures |= updates[phase](batch, step)
                averages[phase].update_(modules[phase], step)

            # Log, validate and save
            number, is_last = step + 1, step + 1 == config.steps
            if number % config.log_every == 0 or is_last:
                now_s = time.perf_counter()
                entry = {
                    "step": number,
                    **figures,
                    "took_s": now_s - logged_s,
                    "waited_s": waited_s,
                }
                logged_s, waited_s = now_s, 0.0
                if journal:
                    journal.write(entry)
                    if progress:
                        progress(number, entry)
            if number % config.validate_every == 0 or is_last:
                validated = unsharded_averages(device)
                if journal:
                    torch.manual_seed(_step_seed(config.seed, -1))
                    with torch.no_grad():
                        results = task.validate(validated)
                    prefixed = {f"validation/{key}": value for key, value in results.items()}
                    journal.write({"step": number, **prefixed})
                    if progress:
                        progress(number, results)
            if number % config.save_every == 0 or is_last:
                save_state(folder, state, step=number, is_writer=processes.is_leader)
    return unsharded_averages(device)


def _open_journal(
    folder: Path, first_step: int, processes: Processes
) -> AbstractContextManager[Journal | None]:
    """The journal in the first process, which writes it; None in the others."""
    if not processes.is_leader:
        return nullcontext()
    return Journal(folder / "journal.jsonl", keep_to_step=first_step)


@dataclass(frozen=True, kw_only=True)
class _Update:
    """One optimiser step of a phase."""

    phase: str
    module: nn.Module
    loss: PhaseLoss
    optimiser: torch.optim.Optimizer
    config: TrainConfig
    processes: Processes

    def __call__(self, batch: Batch, step: int) -> dict[str, float]:
        """Updates the module and returns figures for the journal."""
        phase, config = self.phase, self.config
        self.module.train()
        self.optimiser.zero_grad(set_to_none=True)

        # Accumulate the gradients of all parts
        sums: dict[str, float] = {}
        for number, part in enumerate(_split(batch, config.accumulate), start=1):
            with self.loss.of_part(is_last=number == config.accumulate) as loss_of:
                with fast_autocast(next(iter(part.values())).device, enabled=config.bf16):
                    loss, figures = loss_of(part, step)
                (loss / config.accumulate).backward()
            for key, value in {f"{phase}/loss": float(loss.detach()), **figures}.items():
                sums[key] = sums.get(key, 0.0) + value / config.accumulate

        # Clip the gradient, and stop if a number of any process is not finite
        sums = self.processes.mean(sums)
        parameters = self.module.parameters()
        norm = float(unsharded(nn.utils.clip_grad_norm_(parameters, config.clip_norm)))
        if not (math.isfinite(norm) and math.isfinite(sums[f"{phase}/loss"])):
            described = "; ".join(self.processes.gather_text(_describe(batch)))
            raise TrainingError(
                f"step {step + 1}, phase {phase!r}: loss {sums[f'{phase}/loss']}, gradient norm "
                f"{norm}; {described}",
                hint="the last good state is kept; lower train.learning_rate and rerun",
            )

        # Update the weights
        rate = learning_rate_at(step, config)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        return {**sums, f"{phase}/gradient_norm": norm, f"{phase}/learning_rate": rate}


def _describe(batch: Batch) -> str:
    """The clips of a batch, and those inputs that are not finite."""
    count = len(next(iter(batch.values())))
    clips = batch["clip"].tolist() if "clip" in batch else list(range(count))
    broken = [
        f"{name!r} of clip {clips[item]}"
        for name, value in batch.items()
        if value.is_floating_point()
        for item in (~value.isfinite().flatten(1 if value.ndim > 1 else 0)).nonzero()[:, 0].unique()
    ]
    listed = f"clips {', '.join(map(str, clips))}" if "clip" in batch else "clips without indices"
    return f"{listed}; {', '.join(broken)} not finite" if broken else f"{listed}; input is finite"


def _split(batch: Batch, count: int) -> Iterator[Batch]:
    clips = len(next(iter(batch.values())))
    if clips % count:
        raise TrainingError(
            f"a batch of {clips} clips cannot be divided into {count} equal parts",
            hint="set train.accumulate to a divisor of the batch size, or use a data set with "
            "more clips",
        )
    chunks: dict[str, tuple[Tensor, ...]] = {k: v.chunk(count) for k, v in batch.items()}
    for index in range(count):
        yield {key: parts[index] for key, parts in chunks.items()}


def _batches_ahead(
    task: Task, config: TrainConfig, *, first_step: int, items: NDArray[np.int64]
) -> Generator[Batch, None, None]:
    """Batches in the order of the steps, each sampled during the step before it."""

    def sample(step: int) -> Batch:
        rng = np.random.default_rng([config.seed, 0, step])
        if len(items) == config.batch_clips:
            return task.sample_batch(rng, config.batch_clips)
        return task.sample_part(rng, config.batch_clips, items)

    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(sample, first_step)
        for step in range(first_step, config.steps):
            batch = ahead.result()
            if step + 1 < config.steps:
                ahead = pool.submit(sample, step + 1)
            yield batch


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, 0, step + 1]).generate_state(1, np.uint64)[0] >> 1)
