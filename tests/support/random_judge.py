"""A judge with small random weights, whose outputs are meaningless but deterministic."""

from __future__ import annotations

import hashlib

import numpy as np

from foleyflow.judges.interface import ClipRule

BAND_COUNT = 24


class RandomJudge:
    """Log energies of bands of each half second, multiplied by two random matrices."""

    def __init__(self, name="passt", *, dimension=6, classes=8, rate_hz=8000, clip=None, seed=0):
        rng = np.random.default_rng(seed)
        self.name = name
        self.rate_hz = rate_hz
        self.clip = clip or ClipRule(longest_s=1.0, filled=True)
        self._embedding = rng.standard_normal((BAND_COUNT, dimension))
        self._classes = rng.standard_normal((BAND_COUNT, classes))
        weights = self._embedding.tobytes() + self._classes.tobytes()
        self.weights_sha256 = hashlib.sha256(weights).hexdigest()
        self.calls = 0

    def embed(self, samples):
        return self._bands(samples) @ self._embedding

    def logits(self, samples):
        return (self._bands(samples) @ self._classes).mean(axis=0)

    def _bands(self, samples):
        self.calls += 1
        piece = self.rate_hz // 2
        if len(samples) < piece:
            raise ValueError(f"{len(samples)} samples: expected at least {piece}")
        pieces = samples[: len(samples) // piece * piece].reshape(-1, piece).astype(np.float64)
        power = np.abs(np.fft.rfft(pieces, axis=1))[:, 1:] ** 2
        edges = np.linspace(0, power.shape[1], BAND_COUNT + 1).astype(int)[:-1]
        return 0.1 * np.log(np.add.reduceat(power, edges, axis=1) + 1e-3)
