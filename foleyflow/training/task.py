"""What the loop needs to know of a task, and the settings that every task shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the loop.

    Attributes:
        steps: optimiser steps in all.
        batch_clips: clips per optimiser step, over all accumulation parts and all processes.
        accumulate: parts a batch is cut into, one after the other.
        learning_rate: peak of the schedule.
        warmup_steps: linear rise from zero.
        decay_share: last share of the steps over which the rate falls linearly to zero.
        weight_decay: of AdamW, matrices only.
        beta2: AdamW's second moment.
        clip_norm: gradients are scaled down to this norm.
        ema: decay of the averaged weights, which are the ones validated and shipped.
        bf16: forward and backward under bfloat16 autocast where `precision.precision_on` says so
            (by default where the device is fast in it); False is fp32 under any setting.
        shard: weights, gradients and optimiser state lie in shares on all processes (FSDP)
            instead of whole in each; for models that a device can't hold.
        seed: all randomness is a function of (seed, step) and the place in the batch.
        log_every, validate_every, save_every: steps.
    """

    steps: int
    batch_clips: int
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    decay_share: float = 0.3
    weight_decay: float = 0.01
    beta2: float = 0.98
    clip_norm: float = 1.0
    ema: float = 0.999
    bf16: bool = True
    shard: bool = False
    seed: int = 0
    log_every: int = 10
    validate_every: int = 500
    save_every: int = 250

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_clips",
            "accumulate",
            "log_every",
            "validate_every",
            "save_every",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name}={getattr(self, name)}: expected at least 1")
        if self.batch_clips % self.accumulate:
            raise ConfigError(
                f"train.batch_clips={self.batch_clips}: expected a multiple of "
                f"train.accumulate={self.accumulate}"
            )
        if not (self.learning_rate > 0 and 0 <= self.decay_share <= 1 and 0 <= self.ema < 1):
            raise ConfigError(
                f"train: learning_rate={self.learning_rate} (> 0), decay_share={self.decay_share} "
                f"(0..1), ema={self.ema} (0..1)"
            )


Batch = dict[str, Tensor]


class Task(Protocol):
    """A thing the loop can train.

    `turns` are optimised one after the other in each step, each with its own module and loss (a
    critic, say, before a generator). A name may come twice, for two steps of one module. `modules`
    may hold others too, which the task itself moves: they are only kept in the run's state. `anew`
    is how the names of tensors begin that a run does not take over from the model it begins with.
    """

    turns: tuple[str, ...]
    modules: Mapping[str, nn.Module]
    reinitialised_prefixes: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """A batch of training clips; called in a thread of its own, one step ahead.

        "clip" (B,) int64, where there is one, tells which ones they are, for messages.
        """

    def draw_rows(self, rng: np.random.Generator, clips: int, rows: NDArray[np.int64]) -> Batch:
        """Some rows, in this order, of the batch that `draw` gives.

        For training in many processes. A task whose batches take long to make makes only these.
        """
        return {name: value[rows] for name, value in self.draw(rng, clips).items()}

    def begin_step(self, step: int, averages: Mapping[str, nn.Module]) -> tuple[str, ...]:
        """The turns of this step; called before them.

        A part of training that begins with averaged weights takes them from `averages` here, into
        modules of its own: what it keeps elsewhere is not in the checkpoint.
        """
        return self.turns

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise and figures for the journal; randomness from torch's generator."""

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Figures on validation clips with the averaged weights."""

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """Component name -> (module, its config) to be shipped."""
