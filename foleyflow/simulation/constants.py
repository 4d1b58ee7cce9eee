"""Constants that several parts of the simulation share."""

from __future__ import annotations

from typing import Literal, get_args

GRAVITY_MPS2 = 9.81
SOUND_SPEED_MPS = 343.0  # in air
AUDIO_RATE_HZ = 48_000
FRAME_SIZE_PX = 112  # width and height of the frames of a data set

Split = Literal["train", "validation", "test"]
SPLITS: tuple[str, ...] = get_args(Split)  # the order is part of the random seeds
