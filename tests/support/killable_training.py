"""A training run that can be killed, in the process of a test or in a process of its own.

python killable_training.py FOLDER STEP    SIGKILLs itself after step STEP is in the journal
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.training.loop import train
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.codec import CodecLossConfig, CodecTask

CONFIG = TrainConfig(
    steps=9,
    batch_clips=2,
    accumulate=2,
    warmup_steps=2,
    log_every=1,
    validate_every=4,
    save_every=3,
    seed=5,
)


def make_task() -> CodecTask:
    """A tiny codec on noise with the same initial weights each time."""
    torch.manual_seed(0)
    codec = Codec(
        CodecConfig(
            channels=4,
            encoder_width=8,
            encoder_blocks=1,
            decoder_width=8,
            decoder_blocks=1,
            fine_blocks=1,
            mel_bands=16,
        )
    )
    sounds = np.random.default_rng(0).integers(-9000, 9000, (6, 14_400)).astype(np.int16)
    return CodecTask(
        codec, CodecLossConfig(crop_s=0.1), sounds=sounds[:4], validation_sounds=sounds[4:]
    )


def run(folder: Path, *, killed_at: int | None = None) -> dict[str, torch.nn.Module]:
    """Trains or resumes on one thread; kills the process at a step if wanted."""

    def progress(step: int, figures: dict[str, float]) -> None:
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train(
            make_task(), CONFIG, folder=folder, device=torch.device("cpu"), progress=progress
        )
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    run(Path(sys.argv[1]), killed_at=int(sys.argv[2]))
