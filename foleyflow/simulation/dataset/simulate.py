"""Simulation of data sets in parallel worker processes, and of example clips.

Finished shards are skipped, so a run can be resumed.
"""

from __future__ import annotations

import functools
import os
import time
import traceback
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np

from foleyflow.errors import ConfigError
from foleyflow.simulation.constants import SPLITS
from foleyflow.simulation.dataset.clip_files import (
    ShardPlan,
    open_manifest,
    plan_shards,
    write_clip,
)
from foleyflow.simulation.dataset.clip_simulation import (
    SceneSampler,
    SimulatedClip,
    SimulatedVideo,
    VideoSettings,
    new_stopwatch,
    simulate_clip,
)
from foleyflow.simulation.dataset.worker_pool import ShardReport, WorkerPool, worker_environment
from foleyflow.simulation.motion.families import FAMILIES, sample_scene
from foleyflow.system.generic_types import Progress


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of a run.

    Attributes:
        clips: number of clips simulated in this run.
        skipped: number of clips that existed before.
        frames: stored in the new clips.
        wall_s: elapsed time of the run.
        part_s: processor time by part (`clip_simulation.PARTS`), summed over workers.
        crashes: number of workers that crashed; always 0 on Ray, which does not report them.
    """

    clips: int
    skipped: int
    frames: int
    wall_s: float
    part_s: dict[str, float]
    crashes: int

    @property
    def frames_per_core_s(self) -> float:
        """Stored frames per second of processor time."""
        return self.frames / max(sum(self.part_s.values()), 1e-9)

    @property
    def clips_per_core_s(self) -> float:
        """Clips per second of processor time."""
        return self.clips / max(sum(self.part_s.values()), 1e-9)


def clip_seed(split: str, seed: int, index: int) -> np.random.SeedSequence:
    """Return the seed of one clip; no two splits have a seed in common."""
    return np.random.SeedSequence((SPLITS.index(split), seed, index))


def simulate(
    out: Path,
    *,
    clips: int,
    seed: int,
    split: str = "train",
    duration_s: float = 4.0,
    rate_hz: float | None = None,
    audio_only: bool = False,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
    sample_scene: SceneSampler = sample_scene,
) -> Summary:
    """Simulate the clips of a data set that do not exist yet.

    Args:
        out: folder of the data set; `clip_files` describes its content.
        clips: number of clips in this split, including existing ones.
        split: "train", "validation" or "test".
        rate_hz: frames per second of all clips; None samples it for each. The sound does not depend
            on it; a low rate suits audio judges, which need no frames.
        audio_only: write sounds and labels without videos. They are those of the clips with videos.
        workers: processes; None for one per core (on Ray, for as many as there are processors).
        ray: address of a Ray cluster whose machines all see `out`; None for local processes.
        progress: called with (finished clips, wanted clips) after each shard.
        sample_scene: samples the scenes; must be importable in another process.

    Raises:
        ConfigError: a number is out of range or the split is unknown.
        DataError: `out` holds other clips, or a shard cannot be simulated.
    """
    for name, value, valid, expected in (
        ("clips", clips, clips >= 1, "at least 1"),
        ("seed", seed, seed >= 0, "0 or more"),
        ("split", split, split in SPLITS, f"one of {', '.join(SPLITS)}"),
        ("duration_s", duration_s, 0.5 <= duration_s <= 60.0, "0.5 to 60 seconds"),
        ("rate_hz", rate_hz, rate_hz is None or 1 <= rate_hz <= 120, "1 to 120 frames per second"),
        ("rate_hz", rate_hz, rate_hz is None or not audio_only, "none with audio_only, no frames"),
        ("workers", workers, workers is None or workers >= 1, "at least 1"),
    ):
        if not valid:
            raise ConfigError(f"{name}={value!r}: expected {expected}")
    # Missing shards
    open_manifest(
        out,
        split=split,
        clips=clips,
        seed=seed,
        duration_s=duration_s,
        rate_hz=rate_hz,
        audio_only=audio_only,
    )
    missing = [shard for shard in plan_shards(out, split, clips) if not shard.is_finished()]
    skipped = clips - sum(len(shard.clips) for shard in missing)
    # Simulation
    start_s = time.perf_counter()
    work = functools.partial(
        _simulate_shard,
        seed=seed,
        split=split,
        duration_s=duration_s,
        rate=None if rate_hz is None else _as_fraction(rate_hz),
        audio_only=audio_only,
        sample_scene=sample_scene,
    )
    pool = WorkerPool(
        work=work, waiting=deque(missing), done=skipped, wanted=clips, progress=progress
    )
    if progress is not None:
        progress(skipped, clips)
    if ray is not None:
        pool.run_on_ray(ray, workers)
    else:
        with worker_environment():
            pool.run(min(workers or len(os.sched_getaffinity(0)), max(len(missing), 1)))
    return Summary(
        clips=clips - skipped,
        skipped=skipped,
        frames=pool.frames,
        wall_s=time.perf_counter() - start_s,
        part_s=pool.part_s,
        crashes=pool.crashes,
    )


def write_example(
    path: Path,
    *,
    seed: int,
    family: str | None = None,
    duration_s: float = 8.0,
    width: int = 854,
    height: int = 480,
    fps: float = 30.0,
) -> SimulatedVideo:
    """Write one silent mp4 of high quality; no data set contains the clip.

    The arguments, and the errors, are those of `simulate_example`.
    """
    clip = simulate_example(
        seed=seed, family=family, duration_s=duration_s, width=width, height=height, fps=fps
    )
    video = cast(SimulatedVideo, clip.video)  # None with audio_only alone
    path.write_bytes(video.encode())
    return video


def simulate_example(
    *,
    seed: int,
    family: str | None = None,
    duration_s: float = 8.0,
    width: int = 854,
    height: int = 480,
    fps: float = 30.0,
    audio_only: bool = False,
) -> SimulatedClip:
    """Simulate one clip of high quality; no data set contains it.

    Args:
        family: a key of `families.FAMILIES`; None samples one.
        width, height: pixels, even.
        fps: frames per second.
        audio_only: simulate motion and sound without a video; the sound is the same.

    Raises:
        ConfigError: the family is unknown or a size is odd.
    """
    if family is not None and family not in FAMILIES:
        raise ConfigError(
            f"unknown scene family {family!r}", hint=f"known families: {', '.join(FAMILIES)}"
        )
    if width % 2 or height % 2:
        raise ConfigError(f"picture of {width} x {height}: expected even sizes")
    settings = VideoSettings(
        width=width,
        height=height,
        squashed=False,
        rate=_as_fraction(fps),
        texture_scale=max(1, min(height // 160, 4)),
        clean=True,
        shadows=True,
        samples=3,
    )
    return simulate_clip(
        np.random.SeedSequence((len(SPLITS), seed)),
        sample_scene=sample_scene if family is None else FAMILIES[family].sample,
        duration_s=duration_s,
        settings=settings,
        audio_only=audio_only,
    )


def _simulate_shard(
    shard: ShardPlan,
    *,
    seed: int,
    split: str,
    duration_s: float,
    rate: Fraction | None,
    audio_only: bool,
    sample_scene: SceneSampler,
) -> ShardReport:
    """Simulate all clips of a shard in this process; any exception becomes a report."""
    if shard.is_finished():  # by a worker that crashed before its report
        return ShardReport()
    try:
        watch = new_stopwatch()
        folder = shard.begin()
        frames = 0
        for index in shard.clips:
            clip = simulate_clip(
                clip_seed(split, seed, index),
                sample_scene=sample_scene,
                duration_s=duration_s,
                settings=VideoSettings(rate=rate),
                audio_only=audio_only,
                stopwatch=watch,
            )
            frames += len(clip.video.frames) if clip.video is not None else 0
            write_clip(folder, clip, f"clip_{index:06d}", split=split, seed=seed)
            watch.lap("store")
        shard.finish()
    except Exception as error:  # raised again in the parent process
        return ShardReport(
            error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
        )
    return ShardReport(frames=frames, part_s=watch.seconds)


def _as_fraction(rate_hz: float) -> Fraction:
    return Fraction(rate_hz).limit_denominator(1001)
