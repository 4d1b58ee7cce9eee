"""Where the time of a training step goes, and what share of the machine's matrix rate it reaches.

    python scripts/profile_training.py data/sim [--task align] [--recipe tiny] [--threads 1]

Prints one JSON object: operations and seconds of a step, the rate of a matrix product on as
many threads, their ratio, and the largest shares of the time by operation (torch's profiler).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from foleyflow.experiments.benchmark import machine, matrix_flops_per_s, step_cost
from foleyflow.parallel.precision import fast_autocast, precision_on
from foleyflow.recipes import recipe_named
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.training.task import Task, TrainConfig

STEPS, SHOWN, MATRIX_SIDE = 3, 12, 2048


def time_shares(task: Task, config: TrainConfig) -> dict[str, float]:
    """Each operation's share of the processor time of a few steps, largest first."""
    turn = task.phases[0]
    module = task.modules[turn].train()
    batch = task.sample_batch(np.random.default_rng(0), config.batch_clips)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            with fast_autocast(torch.device("cpu"), enabled=config.bf16):
                loss, _ = task.loss(turn, batch, 0)
            loss.backward()
            module.zero_grad(set_to_none=True)
    times_us = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    whole = sum(times_us.values())
    largest = sorted(times_us, key=lambda key: -times_us[key])[:SHOWN]
    return {key: round(times_us[key] / whole, 3) for key in largest}


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", default="align")
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    recipe = recipe_named(arguments.task, arguments.recipe)
    task = recipe.build(arguments.data)
    operations, step_s = step_cost(task, recipe.train, step=0, repeats=STEPS)
    precision = precision_on(torch.device("cpu")) if recipe.train.bf16 else "fp32"
    rate = matrix_flops_per_s(MATRIX_SIDE, torch.bfloat16 if precision == "bf16" else torch.float32)
    result = {
        "task": arguments.task,
        "recipe": arguments.recipe,
        "machine": machine(),
        "gflop_per_step": round(operations / 1e9, 1),
        "step_s": round(step_s, 3),
        "precision": precision,
        "matrix_tflop_per_s": round(rate / 1e12, 3),
        "ratio": round(operations / step_s / rate, 3),
        "time_shares": time_shares(task, recipe.train),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
