"""Measure training steps: where the time goes, and the cost at each size of the networks.

Steps run on the CPU. Seconds of `measure_scales` are processor time, so that other work on the
machine changes them little (with one thread they equal elapsed time).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from foleyflow.experiments.machine import in_new_process, machine, peak_rss_mb
from foleyflow.experiments.measure_flow import MAP, flow_seconds
from foleyflow.experiments.training_cost import (
    align_task_on_noise,
    codec_task_on_noise,
    flow_task_on_noise,
    matrix_flops_per_s,
    step_cost,
)
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.windows import WindowPlan
from foleyflow.parallel.precision import fast_autocast, precision_on
from foleyflow.parallel.threads import torch_threads
from foleyflow.recipes import recipe_named
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.training.task import Task, TrainConfig

PROFILED_STEPS, LISTED_OPERATIONS = 3, 12
# Task -> recipes of its sizes
SIZES = {
    "align": ("tiny", "base", "large"),
    "flow": ("tiny", "base", "large"),
    "codec": ("tiny", "general", "general-mel"),
}


def measure_training(data: Path, *, task_name: str, recipe_name: str, threads: int) -> Any:
    """Profile the training steps of a recipe on a data set.

    Returns:
        Operations and seconds of a step, the rate of a matrix product on as many threads and the
        step's fraction of it, and "time_shares": the operations with the largest fractions of the
        processor time (torch's profiler).
    """
    with torch_threads(threads or torch.get_num_threads()):
        keep_freed_memory()
        recipe = recipe_named(task_name, recipe_name)
        task = recipe.build(data)
        operations, step_s = step_cost(task, recipe.train, step=0, repeats=PROFILED_STEPS)
        precision = precision_on(torch.device("cpu")) if recipe.train.bf16 else "fp32"
        rate = matrix_flops_per_s(torch.bfloat16 if precision == "bf16" else torch.float32)
        return {
            "task": task_name,
            "recipe": recipe_name,
            "machine": machine(),
            "gflop_per_step": round(operations / 1e9, 1),
            "step_s": round(step_s, 3),
            "precision": precision,
            "matrix_tflop_per_s": round(rate / 1e12, 3),
            "ratio": round(operations / step_s / rate, 3),
            "time_shares": _time_fractions(task, recipe.train),
        }


def measure_scales(
    task_names: Sequence[str],
    recipe_names: Sequence[str],
    *,
    clips: int,
    threads: int,
    on_result: Callable[[dict[str, Any]], None] = lambda result: None,
) -> list[dict[str, Any]]:
    """Measure training steps on noise at each size, each in a separate process.

    Everything is in float32, because many CPUs only emulate bfloat16. A flow has a result for each
    stage of its run: flow matching, the one-step map, distillation and polish. The model of real
    data in the polish is the flow itself; another one that has no flow map is evaluated twice. A
    codec with discriminators has two results: their update and its own, which includes what they
    find. A clip of a codec is a crop.

    Args:
        task_names: of `SIZES`.
        recipe_names: of these tasks; none for those in `SIZES`.
        clips: number of clips of a step.
        threads: processor threads; 0 for torch's default.

    Returns:
        For each size: parameters; operations of a step per clip; processor seconds of a step;
        seconds and tokens of sound per second; peak resident memory; bytes that the forward pass
        of one clip keeps for the backward pass; and, for a flow after flow matching, the processor
        seconds of 10 s of sound.
    """
    results = []
    for task_name in task_names:
        for recipe_name in recipe_names or SIZES[task_name]:
            for result in in_new_process(_scale, task_name, recipe_name, clips, threads):
                results.append(result)
                on_result(result)
    return results


def _scale(task_name: str, recipe_name: str, clips: int, threads: int) -> list[dict[str, Any]]:
    """The results of one size, in a separate process."""
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    recipe = recipe_named(task_name, recipe_name)
    recipe = replace(recipe, train=replace(recipe.train, batch_clips=clips, bf16=False))
    # Task on noise; stage -> its phases, and a step of the run in it
    stages: dict[str, tuple[tuple[str, ...], int]]
    if task_name == "codec":
        task = cast(Task, codec_task_on_noise(recipe))
        stages = {phase: ((phase,), recipe.train.steps - 1) for phase in task.phases}
        window_s = recipe.losses.crop_s
        tokens = round(window_s * recipe.model.latent_rate_hz)
    elif task_name == "align":
        task = cast(Task, align_task_on_noise(recipe))
        stages, tokens = {"align": (task.phases, 0)}, recipe.windows.segments
        window_s = recipe.windows.segments * recipe.windows.segment_s
    else:
        task = cast(Task, flow_task_on_noise(recipe))
        stages = _stages(recipe, task)
        tokens = recipe.windows.segments * recipe.model.latents_per_segment
        window_s = recipe.windows.segments * recipe.windows.segment_s
    # Memory and operations of each stage
    results = []
    for stage, (phases, step) in stages.items():
        module = task.modules[phases[-1]]
        if (stage == "distillation" and recipe.stages.merged_steps == 1) or stage == "polish":
            # These stages start from a flow map, which takes guidance as an input
            cast(FlowTransformer, module).record_training_(guidance=True)
        task.begin_step(step, {phases[-1]: copy.deepcopy(module)})
        kept_bytes = _kept_bytes(task, recipe.train, step, phases[-1])
        operations, step_s = step_cost(
            task, recipe.train, step=step, repeats=1, clock=time.process_time, phases=phases
        )
        result = {
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
            "kept_mb_per_clip": round(kept_bytes / clips / 2**20, 1),
            "peak_rss_mb": round(peak_rss_mb()),
        }
        if task_name == "flow" and stage != "flow matching":
            flow = cast(FlowTransformer, module.eval())
            flow.record_training_(guidance=True)  # only the time of a jump is measured
            seconds = flow_seconds(
                flow, MAP[0], segments=WindowPlan.length, clock=time.process_time
            )
            result["sounded_10s_s"] = round(seconds, 3)
        results.append(result)
    return results


def _stages(recipe: FlowRecipe, task: Task) -> dict[str, tuple[tuple[str, ...], int]]:
    """The stages of a flow's run, each with its phases and one of its steps."""
    stages, steps = recipe.stages, recipe.train.steps
    polish_from = steps - stages.polish_steps
    merge_from = polish_from - stages.merge_steps
    begins = {
        "flow matching": (0, stages.dcf_steps),
        "one-step map": (merge_from - 1, merge_from - stages.dcf_steps),
        "distillation": (merge_from, stages.merge_steps),
        "polish": (polish_from, stages.polish_steps),
    }
    return {
        name: (task.phases if name == "polish" else task.phases[-1:], step)
        for name, (step, count) in begins.items()
        if count
    }


def _kept_bytes(task: Task, config: TrainConfig, step: int, phase: str) -> int:
    """Bytes that autograd keeps of a forward pass: each storage once, without the weights."""
    task.modules[phase].train()
    weights = {
        parameter.untyped_storage().data_ptr()
        for each in task.modules.values()
        for parameter in each.parameters()
    }
    kept: dict[int, int] = {}

    def record(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = task.sample_batch(np.random.default_rng(0), config.batch_clips)
    with (
        torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=config.bf16),
    ):
        loss, _ = task.loss(phase, batch, step)
    del loss
    return sum(kept.values())


def _time_fractions(task: Task, config: TrainConfig) -> dict[str, float]:
    """Each operation's fraction of the processor time of a few steps, largest first."""
    phase = task.phases[0]
    module = task.modules[phase].train()
    batch = task.sample_batch(np.random.default_rng(0), config.batch_clips)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(PROFILED_STEPS):
            with fast_autocast(torch.device("cpu"), enabled=config.bf16):
                loss, _ = task.loss(phase, batch, 0)
            loss.backward()
            module.zero_grad(set_to_none=True)
    times_us = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total_us = sum(times_us.values())
    largest = sorted(times_us, key=lambda key: -times_us[key])[:LISTED_OPERATIONS]
    return {key: round(times_us[key] / total_us, 3) for key in largest}
