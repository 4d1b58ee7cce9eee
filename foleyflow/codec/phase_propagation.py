"""Tones that go on: phases of a decoder's spectra, carried from frame to frame.

A network that says each frame's phases from the latents alone can't know where a ring's oscillation
stood a frame ago: rings come out rough, as noise about their frequency. Here the bins of a peak of
magnitudes go on from the frame before by the peak's own frequency. Where energy rises, a
sound begins, and the network's phases stay, as they do for everything that is no peak.

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

PROMINENCE = 1.5  # nepers above the bins beside a peak's lobe
LOBE = 2  # bins on each side that a Hann window gives a tone
BESIDE = 4  # bins from a peak where its tone has ended
RISE = 0.7  # nepers in a frame: a new sound
HIGHEST_SHARE = 0.5  # of the bins; where tones above can't be told from noise


@dataclass
class PhasePropagation:
    """The phases of one sound, whose spectra arrive in order.

    Attributes:
        window_samples, hop_samples: of the spectra, as `spectrogram.stft` cuts them.

    Source: ours; locking a peak's bins to it is Laroche & Dolson 1999's phase vocoder.
    """

    window_samples: int
    hop_samples: int
    _phase: NDArray[np.float32] | None = None
    _log_size: Tensor | None = None

    def carry(self, log_size: Tensor, phase: Tensor) -> Tensor:
        """Phases of the next frames.

        Args:
            log_size: (T, K) natural logarithm of the magnitudes.
            phase: (T, K) radians, what the network says.

        Returns:
            (T, K) radians; as they were where no tone goes on.
        """
        count, bins = log_size.shape
        if not count:
            return phase
        shown = log_size.detach().float().cpu()
        size = shown[:, : round(bins * HIGHEST_SHARE)]
        peak, offset = _peaks(size)
        owner = _owners(peak)
        before = size[:1] if self._log_size is None else self._log_size
        reach = functional.max_pool1d(torch.cat([before, size[:-1]])[:, None], 3, 1, 1)[:, 0]
        rising = (size - reach > RISE).numpy()
        cycles = (torch.arange(size.shape[1]) + offset) * (self.hop_samples / self.window_samples)
        advance = ((cycles % 1.0) * (2 * math.pi)).numpy()
        learned = phase.detach().float().cpu().numpy()
        made = learned.copy()
        last = self._phase
        frames, places = np.nonzero(owner >= 0)
        borders = np.searchsorted(frames, np.arange(count + 1))
        for t in range(count):
            here = places[borders[t] : borders[t + 1]]
            if last is not None and len(here):
                lead = owner[t, here]
                anchor = np.where(rising[t, lead], learned[t, lead], last[lead] + advance[t, lead])
                # Next to each other in a lobe, bins have opposite signs.
                made[t, here] = np.remainder(anchor + math.pi * ((here - lead) % 2), 2 * math.pi)
            last = made[t]
        self._phase, self._log_size = last, size[-1:]
        return torch.from_numpy(made).to(phase)


def _peaks(log_size: Tensor) -> tuple[Tensor, Tensor]:
    """Which bins are tones' peaks, and how many bins beside its bin each one lies."""
    highest = functional.max_pool1d(log_size[:, None], 2 * LOBE + 3, 1, LOBE + 1)[:, 0]
    around = functional.pad(log_size, (BESIDE, BESIDE), value=-math.inf)
    beside = torch.maximum(around[:, : -2 * BESIDE], around[:, 2 * BESIDE :])
    peak = (log_size >= highest) & (log_size - beside > PROMINENCE)
    peak[:, :LOBE] = peak[:, -LOBE:] = False
    below, above = log_size.roll(1, 1), log_size.roll(-1, 1)
    ratio = torch.exp(torch.maximum(below, above) - log_size)  # exact for a tone in a Hann window
    offset = ((2 * ratio - 1) / (1 + ratio)).clamp(0.0, 0.5)
    return peak, torch.where(above > below, offset, -offset)


def _owners(peak: Tensor) -> NDArray[np.int64]:
    """(T, K) the peak that each bin belongs to, the nearest one; -1 for none."""
    bins = torch.arange(peak.shape[1]).expand_as(peak)
    owner = torch.full_like(bins, -1)
    for distance in sorted(range(-LOBE, LOBE + 1), key=abs, reverse=True):
        owner = torch.where(peak.roll(distance, 1), bins - distance, owner)
    return owner.numpy()
