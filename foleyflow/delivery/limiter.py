"""A true-peak limiter for sound in blocks: it looks ahead, and never changes quieter sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from foleyflow.media.true_peak import Oversampler

_LOOKAHEAD_S = 0.005


def limited_blocks(
    blocks: Iterable[NDArray[np.float32]], rate_hz: int, *, ceiling: float
) -> Iterator[NDArray[np.float32]]:
    """Lower (channels, n) float32 blocks around true peaks above `ceiling`, a factor of full scale.

    Each sample needs a gain that keeps its true peak at the ceiling, at most 1. The smallest needed
    gain within 5 ms, averaged over a Hann window of 10 ms, is the gain of all channels: it never
    exceeds the needed gain, is smooth, and is 1 further than 10 ms from all peaks. The length of
    the sound does not change.
    """
    half = max(1, round(_LOOKAHEAD_S * rate_hz))
    window = np.hanning(2 * half + 3)[1:-1]
    window /= window.sum()
    reach = 2 * half + 1  # peaks that lie further away do not affect a sample
    oversampler: Oversampler | None = None
    held: NDArray[np.float32] | None = None  # samples that wait for the peaks after them
    needed = np.ones(reach)  # gain from `reach` samples before the first held one
    for block in blocks:
        if oversampler is None or held is None:
            oversampler = Oversampler(rate_hz, block.shape[0])
            held = block[:, :0]
        held = np.concatenate([held, block], axis=1)
        if block.shape[1]:
            measured = held[:, len(needed) - reach :]
            gain = _needed(oversampler.envelope(block), measured, ceiling)
            needed = np.concatenate([needed, gain])
        count = len(needed) - 2 * reach
        if count > 0:
            yield held[:, :count] * _smooth(needed, half, window)
            held, needed = held[:, count:], needed[count:]
    if oversampler is None or held is None:
        return
    # The peaks of the last samples, and silence after them
    measured = held[:, len(needed) - reach :]
    rest = _needed(oversampler.envelope(None, is_last=True), measured, ceiling)
    needed = np.concatenate([needed, rest, np.ones(2 * reach)])[: held.shape[1] + 2 * reach]
    yield held * _smooth(needed, half, window)


def _needed(
    envelope: NDArray[np.float32], samples: NDArray[np.float32], ceiling: float
) -> NDArray[np.float64]:
    """The gain that samples need; `envelope` is that of the first of them.

    The filter of the envelope removes the highest frequencies, so that samples can exceed it.
    """
    count = min(len(envelope), samples.shape[1])
    peaks = np.maximum(envelope[:count], np.abs(samples[:, :count]).max(axis=0))
    return ceiling / np.maximum(peaks.astype(np.float64), ceiling)


def _smooth(
    needed: NDArray[np.float64], half: int, window: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The gain of all samples but the outermost 2 * half + 1 on each side."""
    if needed.min() == 1.0:
        return np.ones(len(needed) - 4 * half - 2, np.float32)
    # One sample more, because a peak lies between two samples
    smallest = _sliding_minimum(needed, 2 * half + 3)
    return np.convolve(smallest, window, mode="valid").astype(np.float32)


def _sliding_minimum(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The minimum of each run of `width` values, by runs of doubled widths."""
    result, reached = values, 1
    while reached < width:
        step = min(reached, width - reached)
        result = np.minimum(result[:-step], result[step:])
        reached += step
    return result
