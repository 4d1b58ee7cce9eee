"""What a training step costs at each size: parameters, operations, seconds, memory.

    python scripts/measure_scales.py [--recipe tiny base large] [--task align flow] [--clips 1]
        [--threads 1]

Every size is measured in a process of its own, on noise in the shape of training clips; time is the
processor's, so that others on the machine change little (with one thread it is that of a clock).
Prints a JSON object a line: operations of an optimiser step per clip (forward, backward; counted by
torch), processor seconds of a step of that many clips, seconds and tokens of sound per second, peak
resident memory, and the bytes that one clip's forward pass keeps for its backward pass. All in
float32, for many CPUs only emulate bfloat16. A flow has two lines: flow matching, and the one-step
map; with the latter what 10 s of sound take in one step, as `generate` cuts them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from foleyflow.experiments.benchmark import (
    align_task_on_noise,
    flow_task_on_noise,
    machine,
    step_cost,
)
from foleyflow.experiments.measure_flow import MAP, flow_seconds
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.latent_generation import WindowPlan
from foleyflow.recipes import recipe_named
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.training.task import Task, TrainConfig

TASKS, RECIPES = ("align", "flow"), ("tiny", "base", "large")


def kept_bytes(task: Task, config: TrainConfig, step: int) -> int:
    """What autograd keeps of one step's forward pass, each storage counted once, less weights."""
    turn = task.phases[0]
    module = task.modules[turn].train()
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = task.sample_batch(np.random.default_rng(0), config.batch_clips)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=config.bf16),
    ):
        loss, _ = task.loss(turn, batch, step)
    del loss
    return sum(kept.values())


def measured(task_name: str, recipe_name: str, clips: int) -> Iterator[dict[str, Any]]:
    """The lines of one size."""
    recipe = recipe_named(task_name, recipe_name)
    recipe = replace(recipe, train=replace(recipe.train, batch_clips=clips, bf16=False))
    if task_name == "align":
        task = cast(Task, align_task_on_noise(recipe))
        steps, tokens = {"align": 0}, recipe.windows.segments
    else:
        task = cast(Task, flow_task_on_noise(recipe))
        steps = {"flow matching": 0, "one-step map": recipe.train.steps - 1}
        tokens = recipe.windows.segments * recipe.model.latents_per_segment
    module = task.modules[task.phases[0]]
    window_s = recipe.windows.segments * recipe.windows.segment_s
    for stage, step in steps.items():
        kept = kept_bytes(task, recipe.train, step)
        operations, step_s = step_cost(
            task, recipe.train, step=step, repeats=1, clock=time.process_time
        )
        yield {
            "task": task_name,
            "recipe": recipe_name,
            "stage": stage,
            "parameters_m": round(sum(p.numel() for p in module.parameters()) / 1e6, 1),
            "clips": clips,
            "machine": machine(),
            "gflop_per_clip": round(operations / clips / 1e9, 1),
            "step_s": round(step_s, 3),
            "sound_s_per_s": round(clips * window_s / step_s, 3),
            "tokens_per_s": round(clips * tokens / step_s, 1),
            "kept_mb_per_clip": round(kept / clips / 2**20, 1),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        } | ({"sounded_10s_s": round(sounded_s(module), 3)} if step else {})


def sounded_s(flow: nn.Module) -> float:
    """Processor seconds of 10 s of sound in one step, without encoder and codec."""
    network, length = cast(FlowTransformer, flow.eval()), WindowPlan().length
    return flow_seconds(network, MAP[0], segments=length, clock=time.process_time)


def main() -> None:
    """Parses the arguments; measures one size, or starts a process for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--recipe", nargs="+", default=RECIPES, choices=RECIPES)
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if len(arguments.task) == len(arguments.recipe) == 1:
        torch.set_num_threads(arguments.threads)
        keep_freed_memory()
        for line in measured(arguments.task[0], arguments.recipe[0], arguments.clips):
            print(json.dumps(line), flush=True)
        return
    for task in arguments.task:
        for recipe in arguments.recipe:
            command = [sys.executable, __file__, "--task", task, "--recipe", recipe]
            command += ["--clips", str(arguments.clips), "--threads", str(arguments.threads)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
