"""The cost of training steps: operations and seconds, on noise in the shape of training windows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_at
from foleyflow.cues.arrays import hits
from foleyflow.data.windows import ClipArrays, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.parallel.precision import fast_autocast
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.codec import CodecRecipe
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.training.optimiser import make_optimiser
from foleyflow.training.task import Task, TrainConfig
from foleyflow.training.tasks.alignment import AlignTask
from foleyflow.training.tasks.codec import CodecTask
from foleyflow.training.tasks.flow import FlowTask
from foleyflow.training.tasks.flow_batches import FlowData

FRAME_RATE_HZ, SOUND_RATE_HZ = 25.0, 48_000  # of the synthetic clips
MATRIX_SIDE = 2048


def matrix_flops_per_s(dtype: torch.dtype, side: int = MATRIX_SIDE) -> float:
    """Floating-point operations per second of a product of square matrices.

    The product takes 2 side^3 operations; the best of 5 after a warm-up is used.
    """
    left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        began_s = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - began_s)
    return 2 * side**3 / min(seconds[1:])


def step_cost(
    task: Task,
    config: TrainConfig,
    *,
    step: int,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    phases: Sequence[str] | None = None,
) -> tuple[int, float]:
    """Measure an optimiser step of a task on the CPU.

    Args:
        step: its number in the run, which may select the stage.
        repeats: timed steps; with 0, the step whose operations are counted is timed.
        phases: updates of the step; None for the task's first phase alone.

    Returns:
        Operations of matrix products, convolutions and attention, forward and backward (counted
        by torch's `FlopCounterMode`); and the median seconds of a step, measured by `clock`.
    """
    phases = task.phases[:1] if phases is None else phases
    modules = {phase: task.modules[phase].train() for phase in phases}
    optimisers = {phase: make_optimiser(module, config) for phase, module in modules.items()}
    batch = task.sample_batch(np.random.default_rng(0), config.batch_clips)

    def timed_step() -> float:
        began_s = clock()
        for phase in phases:
            module = modules[phase]
            module.zero_grad(set_to_none=True)
            with fast_autocast(torch.device("cpu"), enabled=config.bf16):
                loss, _ = task.loss(phase, batch, step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm)
            optimisers[phase].step()
        return clock() - began_s

    torch.manual_seed(0)
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        first_s = timed_step()
    times_s = [timed_step() for _ in range(repeats)] or [first_s]
    return counter.get_total_flops(), statistics.median(times_s)


def _attention_flops(query: tuple[int, ...], key: tuple[int, ...], *_: Any, **__: Any) -> int:
    """Two products per head: queries with keys, weights with values."""
    items, heads, queries, width = query
    return 2 * 2 * items * heads * queries * key[2] * width


def _attention_backward_flops(
    gradient: tuple[int, ...], query: tuple[int, ...], key: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """Five products per head, one of them to recompute the weights."""
    return 5 * _attention_flops(query, key) // 2


# torch counts only the attention kernels of CUDA.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}


def align_task_on_noise(recipe: AlignRecipe) -> AlignTask:
    """The aligner's training task on noise in the shape of simulated clips."""
    rng = np.random.default_rng(0)
    model = Alignment(recipe.model, encoder=MotionEncoder(recipe.encoder))
    windows, count, size = recipe.windows, recipe.train.batch_clips, recipe.encoder.size
    segments = windows.segments + 2
    duration_s = segments * windows.segment_s
    frames = count_at(duration_s, FRAME_RATE_HZ)
    shape = (count, count_at(duration_s, SOUND_RATE_HZ))
    clips = ClipArrays(
        frames=rng.integers(256, size=(count * frames, size, size, 3), dtype=np.uint8),
        times_s=np.tile(np.arange(frames) / FRAME_RATE_HZ, count),
        offsets=np.arange(count + 1) * frames,
        sounds=rng.integers(-9000, 9000, size=shape, dtype=np.int16),
        rate_hz=SOUND_RATE_HZ,
        event_times_s=[np.array([0.5, 1.5])] * count,
        materials=rng.integers(recipe.model.materials, size=count),
    )
    latents = _noise(
        rng, count, segments * windows.latents_per_segment, recipe.model.latent_channels
    )
    source = WindowSource(clips, latents, windows)
    return AlignTask(model, recipe.losses, windows=source, held_out_windows=source)


def codec_task_on_noise(recipe: CodecRecipe) -> CodecTask:
    """The codec's training task on noise, and its discriminators' if the recipe has some."""
    length = count_at(2 * recipe.losses.crop_s, recipe.model.rate_hz)
    shape = (recipe.train.batch_clips, length)
    sounds = np.random.default_rng(0).integers(-9000, 9000, size=shape, dtype=np.int16)
    return recipe.task_on(sounds, sounds)


def flow_task_on_noise(recipe: FlowRecipe) -> FlowTask:
    """The flow's training task on noise in the shape of aligned windows."""
    rng = np.random.default_rng(0)
    config, windows, count = recipe.model, recipe.windows, recipe.train.batch_clips
    length = windows.segments * config.latents_per_segment
    guided = ConditionWindows(
        video=_noise(rng, count, length, config.condition_width),
        states=_noise(rng, count, windows.segments, config.condition_width),
        latents=_noise(rng, count, length, config.channels),
        clip=np.arange(count),
        start_s=np.zeros(count),
    )
    data = FlowData(windows=guided, cues=[hits(np.array([0.5, 1.5]))] * count)
    return FlowTask(
        FlowTransformer(config),
        recipe.objective,
        recipe.stages,
        steps=recipe.train.steps,
        data=data,
        validation_data=data,
    )


def _noise(rng: np.random.Generator, *shape: int) -> NDArray[np.float16]:
    return rng.normal(size=shape).astype(np.float16)
