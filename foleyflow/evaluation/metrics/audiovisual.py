"""Metrics of judges that take a video with a sound, and their control of shifted pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foleyflow import clock
from foleyflow.evaluation.computations import VideoJudged
from foleyflow.evaluation.metric import Metric
from foleyflow.judges.networks.time_shifts import (
    LARGE_SHIFTS_S,
    SMALL_SHIFT_FRACTION,
    SMALL_SHIFTS_S,
)
from foleyflow.signals import Frames

IN_SYNC = 0.5  # higher probabilities count as in sync

METRICS = (
    Metric(
        name="align_acc",
        reference="Luo et al. 2023 (Diff-Foley): fraction of pairs its classifier accepts as in "
        "sync, by the first 8.192 s; as its script, but each pair's latents are sampled from "
        "seed 0; shorter sounds are padded with zeros, shorter videos by repeating their features",
        computation=VideoJudged(judge="diff-foley", threshold=IN_SYNC),
    ),
    Metric(
        name="ib_score",
        range=(-1.0, 1.0),
        reference="Girdhar et al. 2023: cosine of ImageBind's embeddings, as av-benchmark",
        computation=VideoJudged(judge="imagebind"),
    ),
    Metric(
        name="desync",
        unit="s",
        direction="lower",
        range=(0.0, 2.0),
        reference="Iashin et al. 2024 (Synchformer): mean absolute offset of the first and of the "
        "last 4.8 s, as av-benchmark; frames at 25 Hz scaled by area, not bicubically",
        computation=VideoJudged(judge="synchformer"),
    ),
)


def control_shift_s(seed: int, longest_s: float) -> float:
    """Delay of the sound of a shifted control pair, at most `longest_s`; negative if it is early.

    It is at least 0.12 s in absolute value; a third of the shifts are below 0.32 s.

    Raises:
        ValueError: no shift of 0.12 s fits.
    """
    if longest_s < SMALL_SHIFTS_S[0]:
        raise ValueError(f"a shift of {SMALL_SHIFTS_S[0]} s does not fit in {longest_s:.2f} s")
    rng = np.random.default_rng(seed)
    small = rng.random() < SMALL_SHIFT_FRACTION
    low_s, high_s = SMALL_SHIFTS_S if small else LARGE_SHIFTS_S
    size_s = rng.uniform(min(low_s, longest_s), min(high_s, longest_s))
    return float(size_s if rng.random() < 0.5 else -size_s)


def shifted_pair(
    frames: Frames, samples: NDArray[np.float32], rate_hz: int, shift_s: float
) -> tuple[Frames, NDArray[np.float32]]:
    """Shift the sound of a pair and cut both to their overlap, so that no edge reveals the shift.

    The sound is late by `shift_s`, or early if it is negative. The times of the frames start at
    about 0, and frames and sound end with the earlier of the two.

    Raises:
        ValueError: there is no overlap.
    """
    shift = clock.count_at(abs(shift_s), rate_hz)
    times_s = frames.times_s
    if shift_s >= 0:  # the beginning of the video has no sound
        times_s = times_s - shift / rate_hz
    else:
        samples = samples[shift:]
    end_s = len(samples) / rate_hz
    kept = (times_s >= -1e-6) & (times_s < end_s)
    if not kept.any():
        raise ValueError(f"a shift of {shift_s:+.2f} s leaves nothing of the pair")
    last_s = float(times_s[kept][-1])
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    samples = samples[: clock.count_at(min(end_s, last_s + step_s), rate_hz)]
    return Frames(pixels=frames.pixels[kept], times_s=times_s[kept]), samples
