"""Measure the speed and memory of foleyflow on this machine.

Each row describes what was measured and how. Both sides of a ratio are measured in one run. The
quality of sound is not measured here but by `foleyflow.evaluation`. Clips are synthetic.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from foleyflow.clock import count_at, count_covering
from foleyflow.codec.streaming import decode_stream
from foleyflow.cues.arrays import hits
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import DataError, FoleyflowError
from foleyflow.experiments.training_cost import (
    MATRIX_SIDE,
    align_task_on_noise,
    flow_task_on_noise,
    matrix_flops_per_s,
    step_cost,
)
from foleyflow.inference.analysis import collect_analysis
from foleyflow.inference.feature_stream import FeatureStream, window_conditions
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.rendering import Sampling, generate_latents
from foleyflow.media import read_frames
from foleyflow.media.measurement_clips import decode_with_pyav, repeat_clip, write_test_clip
from foleyflow.parallel.precision import bfloat16_is_fast, precision_on
from foleyflow.parallel.threads import torch_threads
from foleyflow.recipes import recipe_named
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.system.stopwatch import Stopwatch
from foleyflow.training.task import Task

# A program that keeps a core busy, and ends by itself if its parent was killed.
BUSY_LOOP = "import time\nend_s = time.monotonic() + 600\nwhile time.monotonic() < end_s: pass"
LARGEST_START = 1.8  # limit of the command's start, in units of the time to import torch
PARTS_OF_GENERATION = ("decode", "encode", "align", "flow", "codec", "mux")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured figure.

    Attributes:
        value: None if it could not be measured; `how` gives the reason.
        target: the promised value in words; empty for a figure that is only a comparison.
        how: a description of the measurement.
    """

    name: str
    value: float | None
    unit: str
    target: str = ""
    how: str


@dataclass(frozen=True, kw_only=True)
class Effort:
    """The amount of work; the targets of the figures refer to the defaults.

    Attributes:
        repeats: copies of the clip that the long clip consists of.
        warm_runs, cold_runs: figures are medians over them.
        many_steps: number of steps that one step is compared with.
        training_steps: timed steps, after one that is not timed.
    """

    width: int = 1280
    height: int = 720
    rate_hz: int = 30
    duration_s: float = 10.0
    repeats: int = 60
    warm_runs: int = 3
    cold_runs: int = 2
    many_steps: int = 25
    matrix_side: int = MATRIX_SIDE
    recipe: str = "tiny"
    training_steps: int = 2
    simulated_clips: int = 12


class Workbench:
    """The model, the clip and the output folder that the measurements share."""

    def __init__(self, folder: Path, effort: Effort, *, model: str = "embedded") -> None:
        self.folder = folder
        self.effort = effort
        self.model_name = model

    @cached_property
    def model(self) -> FoleyFlow:
        """The model, loaded once."""
        return FoleyFlow.from_pretrained(self.model_name, device="cpu")

    @cached_property
    def clip(self) -> Path:
        """The clip, written once."""
        effort = self.effort
        return write_test_clip(
            self.folder / "clip.mp4",
            duration_s=effort.duration_s,
            width=effort.width,
            height=effort.height,
            rate_hz=effort.rate_hz,
        )

    @cached_property
    def warm(self) -> WarmRuns:
        """Generations in this process, measured once: alone, and with one core kept busy."""
        self.generation()  # the first one of a process takes longer
        load = load_average()
        alone, busy = [], []
        for _ in range(self.effort.warm_runs):
            alone.append(self.generation())
            with busy_core():
                busy.append(self.generation())
        parts_s = {
            name: statistics.median(parts.get(name, 0.0) for _, parts in alone)
            for name in PARTS_OF_GENERATION
        }
        return WarmRuns(
            alone_s=statistics.median(wall_s for wall_s, _ in alone),
            with_busy_core_s=statistics.median(wall_s for wall_s, _ in busy),
            parts_s=parts_s,
            load=load,
        )

    def generation(self) -> tuple[float, dict[str, float]]:
        """One generation from file to file: (wall seconds, seconds of each part)."""
        began_s = time.perf_counter()
        result = self.model.generate(self.clip)
        result.save(self.folder / "warm.mp4", overwrite=True)
        return time.perf_counter() - began_s, result.timings_s

    @property
    def frame_size(self) -> int:
        """Side of the frames that the model's encoder takes."""
        return cast(MotionEncoder, self.model.aligner.encoder).config.size

    @property
    def clip_text(self) -> str:
        """The clip in words."""
        effort = self.effort
        return f"{effort.duration_s:g} s of {effort.width}x{effort.height} at {effort.rate_hz} fps"

    def command(self, video: Path) -> tuple[float, dict[str, Any]]:
        """Run `foleyflow generate` in a new process: (wall seconds, its JSON output)."""
        return self.commands(video, count=1)[0]

    def commands(self, video: Path, *, count: int) -> list[tuple[float, dict[str, Any]]]:
        """Run `command` in several processes at the same time."""
        command = [sys.executable, "-m", "foleyflow", "generate", str(video), "--overwrite"]
        command += ["--json", "--model", self.model_name, "-o"]
        began_s = time.perf_counter()
        running = [
            subprocess.Popen(
                [*command, str(self.folder / f"cold{number}.mp4")],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]
        done = []
        for process in running:
            out, err = process.communicate()
            done.append((time.perf_counter() - began_s, process.returncode, out, err))
        for _, status, _, err in done:
            if status:
                last = err.strip().splitlines()[-2:]
                raise FoleyflowError(f"the command failed: {' '.join(last)}")
        return [(wall_s, json.loads(out)) for wall_s, _, out, _ in done]

    def import_torch_s(self) -> float:
        """Wall seconds of a new Python process that only imports torch."""
        began_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        return time.perf_counter() - began_s


@dataclass(frozen=True, kw_only=True)
class WarmRuns:
    """Medians of generations in one process.

    Attributes:
        alone_s: wall seconds of one without other work of this benchmark.
        with_busy_core_s: the same while another process kept one core busy.
        parts_s: seconds of its parts, without the busy core; they overlap.
        load: description of the machine's load before.
    """

    alone_s: float
    with_busy_core_s: float
    parts_s: dict[str, float]
    load: str


@contextmanager
def busy_core() -> Iterator[None]:
    """Run another process at normal priority that keeps one core busy inside the context."""
    process = subprocess.Popen([sys.executable, "-c", BUSY_LOOP])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def load_average() -> str:
    """A description of the machine's load: other work makes the figures unreliable."""
    return f"load average {os.getloadavg()[0]:.1f} before"


def measure(
    *,
    model: str = "embedded",
    effort: Effort | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Measure all figures, one after the other; with the full amount of work by default.

    Args:
        on_row: called with each row once it is measured.

    Raises:
        FoleyflowError: the model can't be loaded, or a measurement fails.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="foleyflow-bench-") as folder:
        bench = Workbench(Path(folder), effort or Effort(), model=model)
        _ = bench.model  # reports a missing one before any measurement
        for part in PARTS:
            for row in part(bench):
                rows.append(row)
                on_row(row)
    return rows


def warm_generation(bench: Workbench) -> Iterator[Row]:
    """A generation from file to file, in a process that has done one before."""
    warm, runs = bench.warm, bench.effort.warm_runs
    parts = ", ".join(f"{name} {value:.3f}" for name, value in warm.parts_s.items())
    yield Row(
        name="generate, warm process",
        value=warm.alone_s,
        unit="s",
        target="<= 0.7 with bf16, <= 1.5 with AVX2 alone",
        how=f"{bench.clip_text}, 1 step, {bench.model.threads} thread(s) an operation, mux "
        f"included; median of {runs}; parts, which overlap: {parts}; {warm.load}",
    )
    yield Row(
        name="generate, warm process, one core busy",
        value=warm.with_busy_core_s,
        unit="s",
        how="the same while another process runs a Python loop at normal priority; median of "
        f"{runs}, alternating with the first; {warm.load}",
    )
    yield Row(
        name="generate, one core busy over idle",
        value=warm.with_busy_core_s / warm.alone_s,
        unit="ratio",
        target="<= 2.0",
        how=f"of the two rows above, in one run; {warm.load}",
    )
    load = load_average()
    pairs = [bench.commands(bench.clip, count=2) for _ in range(bench.effort.cold_runs)]
    inside_s = [report["timings_s"]["total"] for pair in pairs for _, report in pair]
    yield Row(
        name="generate, two commands at once",
        value=statistics.median(inside_s),
        unit="s",
        how=f"{bench.clip_text}; time inside each of two new processes, without their start; "
        f"median of {len(inside_s)}; {load}",
    )


def cold_generation(bench: Workbench) -> Iterator[Row]:
    """The command in a new process, and its memory for a short and a long video."""
    effort, load = bench.effort, load_average()
    imports_s, runs = [], []
    for _ in range(effort.cold_runs):
        imports_s.append(bench.import_torch_s())
        runs.append(bench.command(bench.clip))
    import_s = statistics.median(imports_s)
    cold_s = statistics.median(wall_s for wall_s, _ in runs)
    yield Row(
        name="import torch, cold",
        value=import_s,
        unit="s",
        how=f'`python -c "import torch"`, alternating with the command; median of '
        f"{effort.cold_runs}; {load}",
    )
    yield Row(
        name="generate, cold command",
        value=cold_s,
        unit="s",
        target=f"<= {LARGEST_START * import_s + bench.warm.alone_s:.2f}",
        how=f"{bench.clip_text}; python and torch start included; median of {effort.cold_runs}; "
        f"the target is {LARGEST_START} x import torch + the warm generation; {load}",
    )
    short_mb = statistics.median(report["peak_rss_mb"] for _, report in runs)
    yield Row(
        name="peak memory, short video",
        value=short_mb,
        unit="MB",
        target="<= 800",
        how=f"{bench.clip_text}; peak resident size of the command's process",
    )
    long_s = effort.repeats * effort.duration_s
    long_clip = repeat_clip(bench.clip, bench.folder / "long.mp4", times=effort.repeats)
    wall_s, report = bench.command(long_clip)
    long_mb = report["peak_rss_mb"]
    long_clip.unlink()
    yield Row(
        name="peak memory, long video",
        value=long_mb,
        unit="MB",
        target="<= 800",
        how=f"the same clip {effort.repeats} times in a row ({long_s:g} s, packets copied); "
        f"took {wall_s:.1f} s",
    )
    yield Row(
        name="peak memory, long over short",
        value=long_mb / short_mb,
        unit="ratio",
        target="<= 1.1",
        how="memory that does not grow here does not grow in an hour either",
    )


def flow_and_codec(bench: Workbench) -> Iterator[Row]:
    """Flow and codec alone: no video file is read or written."""
    one = [_generator_s(bench, steps=1) for _ in range(bench.effort.warm_runs + 1)][1:]
    flow_s = statistics.median(flow for flow, _ in one)
    yield Row(
        name="flow and codec alone",
        value=statistics.median(flow + codec for flow, codec in one),
        unit="s",
        target="<= 0.20 with bf16",
        how=f"{bench.effort.duration_s:g} s of sound, 1 step, {bench.model.threads} thread(s) an "
        f"operation; median of {bench.effort.warm_runs}; flow {flow_s:.3f}; {load_average()}",
    )
    many_s, _ = _generator_s(bench, steps=bench.effort.many_steps)
    yield Row(
        name=f"one step against {bench.effort.many_steps}",
        value=many_s / flow_s,
        unit="ratio",
        target=">= 20 at 25 steps",
        how=f"the same network, without codec: {many_s:.3f} s over {flow_s:.3f} s",
    )


def decoding(bench: Workbench) -> Iterator[Row]:
    """The product's frame reader compared with plain PyAV on the same file."""
    size = bench.frame_size
    plain_s, own_s, counts = [], [], set()
    for _ in range(bench.effort.warm_runs):
        began_s = time.perf_counter()
        counts.add(decode_with_pyav(bench.clip, size=size))
        middle_s = time.perf_counter()
        counts.add(len([time_s for time_s, _ in read_frames(bench.clip, size=size)]))
        own_s.append(time.perf_counter() - middle_s)
        plain_s.append(middle_s - began_s)
    if len(counts) > 1:
        raise FoleyflowError(f"decoding gave {sorted(counts)} frames, expected one number")
    plain, own = statistics.median(plain_s), statistics.median(own_s)
    yield Row(
        name="decode and resize, of PyAV's rate",
        value=plain / own,
        unit="ratio",
        target=">= 0.9",
        how=f"{bench.clip_text} to {size}x{size}: {own:.3f} s, PyAV alone {plain:.3f} s; "
        f"medians of {bench.effort.warm_runs}",
    )


def training(bench: Workbench) -> Iterator[Row]:
    """The fraction of the machine's matrix rate that training steps reach on one thread."""
    with torch_threads(1):  # the default of `train`
        yield from _training_rows(bench.effort)


def _training_rows(effort: Effort) -> Iterator[Row]:
    side = effort.matrix_side
    fast = bfloat16_is_fast(torch.device("cpu"))
    used = precision_on(torch.device("cpu"))  # of training on this machine
    rates: dict[str, float] = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        value: float | None = None
        how = f"this processor has no bfloat16: training runs in {used}"
        if fast or name in (used, "fp32"):
            rates[name] = matrix_flops_per_s(dtype, side)
            value, how = rates[name] / 1e12, f"product of two {side}x{side} matrices, best of 5"
        yield Row(name=f"matrix rate, {name}", value=value, unit="TFLOP/s", how=how)
    align, flow = (recipe_named(task, effort.recipe) for task in ("align", "flow"))
    flow_task = cast(Task, flow_task_on_noise(flow))
    keep_freed_memory()
    for name, task, config, step in (
        ("align training step", cast(Task, align_task_on_noise(align)), align.train, 0),
        ("flow training step", flow_task, flow.train, 0),
        ("flow training step, one-step stage", flow_task, flow.train, flow.train.steps - 1),
    ):
        flops, step_s = step_cost(task, config, step=step, repeats=effort.training_steps)
        yield Row(
            name=f"{name}, of the {used} matrix rate",
            value=flops / step_s / rates[used],
            unit="ratio",
            target=">= 0.40",
            how=f"{effort.recipe} recipe, {config.batch_clips} synthetic clips: "
            f"{flops / 1e9:.0f} GFLOP of matrices, convolutions and attention in {step_s:.2f} s",
        )


def simulation(bench: Workbench) -> Iterator[Row]:
    """Rendered frames with sound per second of one core."""
    clips = bench.effort.simulated_clips
    value, how = None, f"{clips} clips, sound and compression included"
    try:
        from foleyflow.simulation.dataset.simulate import simulate

        value = simulate(bench.folder / "clips", clips=clips, seed=0).frames_per_core_s
    except (ImportError, DataError) as error:
        how = f"not measured: {error}"
    yield Row(name="simulation", value=value, unit="frames/s/core", target=">= 250", how=how)


def _generator_s(bench: Workbench, *, steps: int) -> tuple[float, float]:
    """(flow, codec) seconds for a clip with four random frames and two hits per second."""
    model, watch, duration_s = bench.model, Stopwatch(), bench.effort.duration_s
    rng = np.random.default_rng(0)
    shape = (bench.frame_size, bench.frame_size, 3)
    frames = (
        (index / 4, rng.integers(256, size=shape, dtype=np.uint8))
        for index in range(count_at(duration_s, 4))
    )
    with torch_threads(model.threads), torch.inference_mode():
        windows = window_conditions(
            model.aligner,
            FeatureStream(model.aligner, frames, watch),
            model.plan.cut(count_covering(duration_s, 1 / model.aligner.config.segment_s)),
            watch,
            lambda end: None,
        )
        analysis = collect_analysis(model.aligner, windows, duration_s=duration_s)
        pieces = list(
            generate_latents(
                model.flow,
                analysis.windows,
                hits(np.arange(0.25, duration_s, 0.5)),
                plan=model.plan,
                sampling=Sampling(seed=0, steps=steps, guidance=1.0, path=model.path),
                stopwatch=watch,
            )
        )
        began_s = time.perf_counter()
        for _ in decode_stream(model.codec, map(model.flow.restore, pieces)):
            pass
        codec_s = time.perf_counter() - began_s
    return watch.seconds["flow"], codec_s


PARTS: tuple[Callable[[Workbench], Iterator[Row]], ...] = (
    warm_generation,
    cold_generation,
    flow_and_codec,
    decoding,
    simulation,
    training,  # last: it changes the memory allocator of this process
)
