"""Waveform of one body from its modes and the force pulses on it.

Each mode is a decaying complex exponential z^n. After a pulse has ended, everything before is one
complex number per mode, so the cost does not grow with the number of strikes. A block of 4096
samples is one real matrix product: z^(64 i), scaled by the state, times z^j.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.sound.modes import Modes

_ROW = 64
_ROWS = 64
_SILENT = 1e-5  # modes below this amplitude (-100 dB) are dropped


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One force pulse on a body.

    Attributes:
        sample: the sample at which the force starts.
        gains: (K,) float64, how strongly each mode is driven (position, radiation and level).
        pulse: (L,) float64, the force over time; its sum is the impulse, usually 1.
    """

    sample: int
    gains: NDArray[np.float64]
    pulse: NDArray[np.float64]


def ring(modes: Modes, strikes: list[Strike], *, length: int, rate_hz: int) -> NDArray[np.float64]:
    """Return the sound of one body under all its strikes.

    It equals the convolution of each pulse with sum_k gain_k exp(-d_k t) cos(w_k t).

    Args:
        strikes: in any order; they may extend past the end.

    Returns:
        (length,) float64.

    Reference: O'Brien et al. 2002, section 3.3 (sum of damped modes).
    """
    out = np.zeros(length)
    roots = (-modes.decays_per_s + 2j * np.pi * modes.frequencies_hz) / rate_hz
    audible = modes.frequencies_hz < 0.49 * rate_hz
    roots = roots[audible]
    fine = np.exp(np.outer(roots, np.arange(_ROW)))  # (K, 64): z^j
    coarse = np.exp(np.outer(roots, _ROW * np.arange(_ROWS)))  # (K, 64): z^(64 i)
    # During the pulses: direct convolution
    pulse_ends: list[tuple[int, NDArray[np.complex128]]] = []
    for strike in strikes:
        gains, width = strike.gains[audible], len(strike.pulse)
        powers = np.exp(np.outer(roots, np.arange(width + 1)))
        response = gains @ powers[:, :width].real
        head = np.convolve(strike.pulse, response)[:width]
        stop = min(length, strike.sample + width)
        out[strike.sample : stop] += head[: max(0, stop - strike.sample)]
        # The state at the first sample after the pulse: sum_m p[m] z^(width - m)
        pulse_ends.append((strike.sample + width, gains * (powers[:, :0:-1] @ strike.pulse)))
    # After the pulses: free ringing from one pulse's end to the next
    pulse_ends.sort(key=lambda item: item[0])
    state = np.zeros(len(roots), dtype=np.complex128)
    for index, (start, added_state) in enumerate(pulse_ends):
        if start >= length:
            break
        state = state + added_state
        stop = min(length, pulse_ends[index + 1][0]) if index + 1 < len(pulse_ends) else length
        state = _add_ringing_(out[start:stop], state, roots, fine, coarse)
    return out


def _add_ringing_(
    out: NDArray, state: NDArray, roots: NDArray, fine: NDArray, coarse: NDArray
) -> NDArray[np.complex128]:
    """Add the free ringing to `out`; return the state after it."""
    start = 0
    while start < len(out):
        alive = np.abs(state) > _SILENT
        if not alive.any():
            return np.zeros_like(state)
        count = min(len(out) - start, _ROW * _ROWS)
        rows = -(-count // _ROW)
        left = (state[alive, None] * coarse[alive, :rows]).T
        right = fine[alive]
        block = np.concatenate([left.real, -left.imag], axis=1) @ np.concatenate(
            [right.real, right.imag]
        )
        out[start : start + count] += block.ravel()[:count]
        state = np.where(alive, state, 0) * np.exp(roots * count)
        start += count
    return state
