"""Onsets of a generated sound of any length, for the comparison of takes.

The detector has the thresholds of the one in `evaluation.metrics.synchrony.detection`, but works in
blocks and without further packages. The scores of takes are not comparable with those metrics.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from foleyflow.event_peaks import find_event_peaks
from foleyflow.media.waveform import split_blocks
from foleyflow.spectrogram import log_magnitude, mel_filters, stft

ONSET_HOP_S = 0.005
WINDOW_HOPS = 5
ONSET_BANDS = 64
FIRST_BAND_HZ = 50.0
BLOCK_HOPS = 2000
COMPARED_RANGE_DB = 60.0  # lower levels, relative to the highest one of the clip, count as equal
SMALLEST_RISE_DB = 0.6  # mean rise of the bands over the surroundings
SMALLEST_RISE = 0.1  # of the largest rise
SURROUNDINGS_S = 0.1  # on either side
# Found times are earlier than clicks by this, because the windows reach ahead.
DETECTION_LEAD_S = 0.007


def find_onsets(
    blocks: Callable[[], Iterable[NDArray[np.float32]]], rate_hz: int
) -> NDArray[np.float64]:
    """(K,) ascending seconds of the onsets of a sound.

    Args:
        blocks: called twice for the (1, n) blocks of the sound, full scale at -1..1.
        rate_hz: of the sound.
    """
    highest_db = max((float(level.max()) for level in _levels_db(blocks(), rate_hz)), default=0.0)
    # Rise of the bands against the two hops before, of each band and its neighbours
    rises: list[NDArray[np.float32]] = []
    last = None
    for level in _levels_db(blocks(), rate_hz):
        level = level.clamp_min(highest_db - COMPARED_RANGE_DB)
        before = level[:1].expand(2, -1) if last is None else last
        joined = torch.cat([before, level])
        widened = functional.max_pool1d(joined[None], 3, stride=1, padding=1)[0]
        reference = torch.maximum(widened[1:-1], widened[:-2])
        rises.append((joined[2:] - reference).clamp_min(0.0).mean(1).numpy())
        last = joined[-2:]
    rise = np.concatenate(rises) if rises else np.zeros(0, np.float32)
    # Peaks that exceed their surroundings
    half = round(SURROUNDINGS_S / ONSET_HOP_S)
    sums = np.cumsum(np.pad(rise.astype(np.float64), (half + 1, half)))
    surroundings = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    threshold = max(SMALLEST_RISE_DB, SMALLEST_RISE * float(rise.max(initial=0.0)))
    above = (rise - surroundings).astype(np.float32)
    times_s = find_event_peaks(above, rate_hz=1 / ONSET_HOP_S, threshold=threshold)
    return times_s + DETECTION_LEAD_S


def _levels_db(blocks: Iterable[NDArray[np.float32]], rate_hz: int) -> Iterator[torch.Tensor]:
    """Levels (T, bands) of consecutive hops."""
    hop = round(ONSET_HOP_S * rate_hz)
    window = WINDOW_HOPS * hop
    filters = mel_filters(
        bands=ONSET_BANDS,
        window_samples=window,
        rate_hz=rate_hz,
        low_hz=FIRST_BAND_HZ,
        high_hz=rate_hz / 2.5,
    )
    # Each block with two hops of the sound before it and, from the next one, after it
    held = np.zeros((1, 2 * hop), np.float32)
    end = np.zeros((1, 2 * hop), np.float32)
    for block in itertools.chain(split_blocks(blocks, BLOCK_HOPS * hop), [end]):
        held = np.concatenate([held, block], axis=1)
        count = held.shape[1] // hop
        spectrum = stft(
            torch.from_numpy(held[:, : count * hop]), window_samples=window, hop_samples=hop
        )
        decibels = log_magnitude(spectrum, filters)[0] * (20 / np.log(10))
        if count > 4:
            yield decibels[2:-2]
        held = held[:, max(count - 4, 0) * hop :]
