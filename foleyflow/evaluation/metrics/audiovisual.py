"""Whether a sound belongs to a video and to its moments: what judges of pairs are asked.

`AlignAcc-sim` is asked of a judge trained on simulated clips; its figures are its own and stand
beside no published one. `align_acc`, `ib_score` and `desync` are the published ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foleyflow import clock
from foleyflow.evaluation.metric import Metric
from foleyflow.judges.networks.time_shifts import LARGE_SHIFTS_S, SMALL_SHARE, SMALL_SHIFTS_S
from foleyflow.signals import Frames

ALIGN_ACC_SIM = Metric(
    name="AlignAcc-sim",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference="ours: share of pairs that our classifier, trained on simulated clips, takes for in "
    "sync (more than 0.5); not comparable with Diff-Foley's Align Acc",
    judge="sync-sim",
    heard_as="agreement",
)
ALIGN_ACC = Metric(
    name="align_acc",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference="Luo et al. 2023 (Diff-Foley): share of pairs its classifier takes for in sync, by "
    "the first 8.192 s; as its script, but each pair's latents are drawn from seed 0",
    judge="diff-foley",
    heard_as="agreement",
)
IB_SCORE = Metric(
    name="ib_score",
    unit="1",
    direction="higher",
    range=(-1.0, 1.0),
    reference="Girdhar et al. 2023: cosine of ImageBind's embeddings, as av-benchmark",
    judge="imagebind",
    heard_as="verdict",
)
DESYNC = Metric(
    name="desync",
    unit="s",
    direction="lower",
    range=(0.0, 2.0),
    reference="Iashin et al. 2024 (Synchformer): mean size of the offsets of the first and of the "
    "last 4.8 s, as av-benchmark; pictures at 25 Hz scaled by area, not bicubically",
    judge="synchformer",
    heard_as="verdict",
)

IN_SYNC = 0.5  # probabilities above it count as in sync


def control_shift_s(seed: int, longest_s: float) -> float:
    """How late (or, below 0, early) the sound of a shifted control pair is.

    Args:
        seed: the same one gives the same shift.
        longest_s: no shift is larger than this.

    Returns:
        seconds, at least 0.12 in size; a third of the sizes are below 0.32 s.

    Raises:
        ValueError: no shift of 0.12 s fits.

    Source: ours.
    """
    if longest_s < SMALL_SHIFTS_S[0]:
        raise ValueError(f"a shift of {SMALL_SHIFTS_S[0]} s does not fit in {longest_s:.2f} s")
    rng = np.random.default_rng(seed)
    small = rng.random() < SMALL_SHARE
    low_s, high_s = SMALL_SHIFTS_S if small else LARGE_SHIFTS_S
    size_s = rng.uniform(min(low_s, longest_s), min(high_s, longest_s))
    return float(size_s if rng.random() < 0.5 else -size_s)


def shifted_pair(
    frames: Frames, samples: NDArray[np.float32], rate_hz: int, shift_s: float
) -> tuple[Frames, NDArray[np.float32]]:
    """A pair with its sound moved, both cut to what they still share: no edge gives it away.

    Args:
        frames: of the video, times from 0.
        samples: (N,) float32, its sound.
        rate_hz: of the sound.
        shift_s: how late the sound is to be; below 0, early.

    Returns:
        frames with times from about 0, and the sound; both end with the earlier of the two.

    Raises:
        ValueError: nothing is left.

    Source: ours.
    """
    moved = clock.count_at(abs(shift_s), rate_hz)
    times_s = frames.times_s
    if shift_s >= 0:  # the video's beginning has no sound any more
        times_s = times_s - moved / rate_hz
    else:
        samples = samples[moved:]
    end_s = len(samples) / rate_hz
    kept = (times_s >= -1e-6) & (times_s < end_s)
    if not kept.any():
        raise ValueError(f"a shift of {shift_s:+.2f} s leaves nothing of the pair")
    last_s = float(times_s[kept][-1])
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    samples = samples[: clock.count_at(min(end_s, last_s + step_s), rate_hz)]
    return Frames(pixels=frames.pixels[kept], times_s=times_s[kept]), samples
