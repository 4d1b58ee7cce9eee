"""Log-mel levels of many sounds, and their augmentation."""

from __future__ import annotations

import numpy as np
import torch

from foleyflow.features.mel_levels import augment_levels, compute_levels
from foleyflow.judges.networks.log_mel import JudgeLogMel


def rng(seed=0):
    return np.random.default_rng(seed)


def test_batches_have_the_levels_of_single_sounds():
    sounds = rng().integers(-9000, 9000, (5, 9600)).astype(np.int16)
    levels = compute_levels(sounds, JudgeLogMel(), batch=2)
    assert levels.shape == (5, 20, 64) and levels.dtype == np.float16
    alone = JudgeLogMel()(torch.from_numpy(sounds[3:4].astype(np.float32) / 32767))[0]
    np.testing.assert_allclose(levels[3], alone, atol=0.01)


def test_augmentation_is_reproducible_and_bounded():
    levels = rng().normal(-2, 1, (50, 64)).astype(np.float32)
    assert np.array_equal(augment_levels(levels, rng(1)), augment_levels(levels, rng(1)))
    assert not np.array_equal(augment_levels(levels, rng(1)), augment_levels(levels, rng(2)))
    for seed in range(20):
        changed = augment_levels(levels, rng(seed))
        assert changed.shape == levels.shape and np.isfinite(changed).all()
        assert np.abs(changed - levels)[:, :40].max() < 4.5
