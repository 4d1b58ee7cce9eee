"""Phase propagation: the phases of decaying tones are continued from frame to frame.

A network that predicts the phases of each frame from the latents alone can't know the phase of a
tone in the previous frame, and decoded rings sound rough. Here the bins of a spectral peak continue
from the previous frame at the peak's own frequency. Where energy rises, a new sound begins: there,
and outside of peaks, the network's phases are used.

Dimension letters: T frames, K bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

PROMINENCE = 1.5  # nepers of a peak above the bins next to its lobe
LOBE = 2  # bins on each side of a peak in the main lobe of a Hann window
LOBE_END = 4  # bins from a peak to the level that its prominence is measured against
RISE = 0.7  # nepers per frame that indicate a new sound
PROPAGATED_FRACTION = 0.5  # of the bins, the lower ones; above, tones and noise look alike


@dataclass
class PhasePropagation:
    """Phase processor of one sound, whose spectra arrive in order.

    Compare the phase locking of a phase vocoder (Laroche & Dolson 1999).
    """

    window_samples: int
    hop_samples: int
    _phase: NDArray[np.float32] | None = None
    _log_magnitude: Tensor | None = None

    def propagate(self, log_magnitude: Tensor, phase: Tensor) -> Tensor:
        """Phases of the next frames, (T, K) radians; equal to `phase` outside of continued tones.

        Takes the (T, K) natural logarithm of the magnitudes, and the network's phases (T, K).
        """
        count, bins = log_magnitude.shape
        if not count:
            return phase
        # Spectral peaks of the lower bins, and the peak that each bin belongs to
        levels = log_magnitude.detach().float().cpu()[:, : round(bins * PROPAGATED_FRACTION)]
        peak, offset = _find_peaks(levels)
        owner = _peak_of_bins(peak)
        # Peaks that rise against the previous frame are new sounds
        before = levels[:1] if self._log_magnitude is None else self._log_magnitude
        reference = functional.max_pool1d(torch.cat([before, levels[:-1]])[:, None], 3, 1, 1)[:, 0]
        rising = (levels - reference > RISE).numpy()
        # Phase advance per hop at the interpolated frequency of each peak
        cycles = (torch.arange(levels.shape[1]) + offset) * (self.hop_samples / self.window_samples)
        advance = ((cycles % 1.0) * (2 * math.pi)).numpy()
        # Frame by frame, lock the bins of each peak to its continued phase
        predicted = phase.detach().float().cpu().numpy()
        result = predicted.copy()
        last = self._phase
        frames, places = np.nonzero(owner >= 0)
        borders = np.searchsorted(frames, np.arange(count + 1))
        for t in range(count):
            here = places[borders[t] : borders[t + 1]]
            if last is not None and len(here):
                lead = owner[t, here]
                continued = last[lead] + advance[t, lead]
                anchor = np.where(rising[t, lead], predicted[t, lead], continued)
                # Neighbouring bins of a lobe have opposite signs
                turns = anchor + math.pi * ((here - lead) % 2)
                result[t, here] = np.remainder(turns, 2 * math.pi)
            last = result[t]
        self._phase, self._log_magnitude = last, levels[-1:]
        return torch.from_numpy(result).to(phase)


def _find_peaks(log_magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """Which bins are spectral peaks, (T, K) bool, and the peaks' offsets from their bins."""
    highest = functional.max_pool1d(log_magnitude[:, None], 2 * LOBE + 3, 1, LOBE + 1)[:, 0]
    padded = functional.pad(log_magnitude, (LOBE_END, LOBE_END), value=-math.inf)
    surroundings = torch.maximum(padded[:, : -2 * LOBE_END], padded[:, 2 * LOBE_END :])
    peak = (log_magnitude >= highest) & (log_magnitude - surroundings > PROMINENCE)
    peak[:, :LOBE] = peak[:, -LOBE:] = False
    below, above = log_magnitude.roll(1, 1), log_magnitude.roll(-1, 1)
    ratio = torch.exp(torch.maximum(below, above) - log_magnitude)  # exact for a Hann window
    offset = ((2 * ratio - 1) / (1 + ratio)).clamp(0.0, 0.5)
    return peak, torch.where(above > below, offset, -offset)


def _peak_of_bins(peak: Tensor) -> NDArray[np.int64]:
    """The nearest peak within `LOBE` of each bin, (T, K); -1 for none."""
    bins = torch.arange(peak.shape[1]).expand_as(peak)
    owner = torch.full_like(bins, -1)
    for distance in sorted(range(-LOBE, LOBE + 1), key=abs, reverse=True):
        owner = torch.where(peak.roll(distance, 1), bins - distance, owner)
    return owner.numpy()
