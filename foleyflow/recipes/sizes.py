"""Sizes and schedules that several recipes share."""

from __future__ import annotations

from foleyflow.training.task import TrainConfig

SMALL_WIDTH = 128  # of the aligners in the ablation tables
TEACHER_CLIPS = 64  # clips from which a teacher's mean and deviation are computed

# A run of a few seconds on a CPU, which tests all parts and learns nothing.
SMOKE_TRAIN = TrainConfig(
    steps=4, batch_clips=2, warmup_steps=1, log_every=1, validate_every=4, save_every=2
)
