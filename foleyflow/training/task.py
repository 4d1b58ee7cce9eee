"""Interfaces between the training loop and what it trains, and the settings of the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import ConfigError
from foleyflow.parallel.ray_cluster import ParallelMap

# Old key -> new key of a setting. The old keys of `--set` and of stored runs work in this release.
RENAMED_SETTINGS = {
    "train.decay_share": "train.decay_fraction",
    "losses.draws": "losses.masks_per_clip",
    "losses.full_share": "losses.fully_masked_fraction",
    "model.skeleton_bands": "model.mel_pca_bands",
    "model.carried_tones": "model.propagates_phase",
    "model.guide_width": "model.condition_width",
    "losses.small_share": "losses.small_shift_fraction",
    "stages.critic_turns": "stages.critic_updates",
    "stages.map_weight": "stages.one_step_weight",
    "stages.context_share": "context.context_fraction",
    **{
        f"stages.{name}": f"context.{name}"
        for name in ("context_fraction", "shortest_context", "longest_context", "context_noise")
    },
    "pairs.context_share": "pairs.context_fraction",
    "new_latents": "reinitialise_latents",
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the loop.

    Attributes:
        steps: total number of optimiser steps.
        batch_clips: clips per optimiser step, over all accumulation parts and all processes.
        accumulate: number of parts that a batch is split into for gradient accumulation.
        learning_rate: peak of the schedule.
        warmup_steps: linear warm-up from zero.
        decay_fraction: last fraction of the steps, in which the rate falls linearly to zero.
        weight_decay: matrices only.
        muon: uses Muon for the matrices of blocks, and AdamW for the rest; not with `shard`.
        beta2: second-moment decay of AdamW.
        clip_norm: largest norm of the gradient.
        ema: decay of the averaged weights, which are validated and exported.
        bf16: runs forward and backward passes under bfloat16 autocast where
            `precision.precision_on` allows it. False is fp32 under any setting.
        shard: shards weights, gradients and optimiser state over all processes (FSDP), for models
            that do not fit on one device.
        seed: all randomness is a function of (seed, step) and the position in the batch.
        log_every, validate_every, save_every: steps.
    """

    steps: int
    batch_clips: int
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    decay_fraction: float = 0.3
    weight_decay: float = 0.01
    muon: bool = False
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
        counts = ("steps", "batch_clips", "accumulate")
        for name in (*counts, "log_every", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name}={getattr(self, name)}: expected at least 1")
        if self.muon and self.shard:
            raise ConfigError("train.muon and train.shard are both set: expected at most one")
        if self.batch_clips % self.accumulate:
            raise ConfigError(
                f"train.batch_clips={self.batch_clips}: expected a multiple of "
                f"train.accumulate={self.accumulate}"
            )
        if not (self.learning_rate > 0 and 0 <= self.decay_fraction <= 1 and 0 <= self.ema < 1):
            raise ConfigError(
                f"train: learning_rate={self.learning_rate} (> 0), decay_fraction="
                f"{self.decay_fraction} (0..1), ema={self.ema} (0..1)"
            )


Batch = dict[str, Tensor]
Modules = Mapping[str, nn.Module]
Figures = dict[str, float]  # name in the journal -> value
Exported = Mapping[str, tuple[nn.Module, dict[str, Any]]]  # component -> (module, its config)


class Task(Protocol):
    """A model with its data and losses, as the training loop uses them.

    Attributes:
        phases: updates of one step in order, each of a module with its own loss, e.g. a critic
            before a generator. A name that occurs twice is updated twice.
        modules: the module of each phase. Further modules are only kept in the checkpoint.
        reinitialised_prefixes: prefixes of tensor names that are not loaded from an initial model.
    """

    phases: tuple[str, ...]
    modules: Modules
    reinitialised_prefixes: tuple[str, ...] = ()

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """A batch of training clips; called in a background thread, one step ahead.

        "clip" (B,) int64, if present, contains the clips' indices for error messages.
        """

    def sample_part(self, rng: np.random.Generator, clips: int, items: NDArray[np.int64]) -> Batch:
        """The given items of the batch that `sample_batch` returns, in this order.

        Used if several processes share a batch. Tasks with expensive batches override it and
        compute only these items.
        """
        return {name: value[items] for name, value in self.sample_batch(rng, clips).items()}

    def begin_step(self, step: int, averages: Modules) -> tuple[str, ...]:
        """The phases of this step; called before them.

        A stage that starts from averaged weights copies them from `averages` into modules of the
        task here, so that they are in the checkpoint.
        """
        return self.phases

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """The loss to minimise and figures for the journal; randomness from torch's generator."""

    def validate(self, modules: Modules) -> Figures:
        """Figures of the averaged weights on validation clips."""

    def export(self, modules: Modules) -> Exported:
        """The components for the model folder, from the averaged weights."""

    def plot(self, folder: Path, journal: Sequence[Mapping[str, Any]], modules: Modules) -> None:
        """Plots figures of a finished run into its folder; none by default."""
        return None


def weighted_sum(terms: Mapping[str, Tensor], weights: object) -> tuple[Tensor, Figures]:
    """The sum of loss terms, weighted by the config's fields of the same names; and each value."""
    total = cast(Tensor, sum(getattr(weights, name) * value for name, value in terms.items()))
    return total, {name: float(value.detach()) for name, value in terms.items()}


class Recipe(ABC):
    """A complete configuration of a training run; subclasses are frozen dataclasses.

    Attributes:
        task: name of the task on the command line.
        component: name of the trained component in a model folder.
        prepares_on_gpu: whether `prepare` benefits from a GPU.
        train: settings of the loop.
    """

    task: ClassVar[str]
    component: ClassVar[str]
    prepares_on_gpu: ClassVar[bool] = False
    train: TrainConfig

    @abstractmethod
    def build(self, data: Path) -> Task:
        """The task on a data set; computes cached features that are missing."""

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Computes the cached features of a split and returns the number of windows.

        Raises:
            ConfigError: this recipe has no cached features.
        """
        raise ConfigError(
            f"{type(self).__name__}: there is nothing to prepare for this recipe",
            hint="align and flow recipes can be prepared, except distil, and codecs from clips",
        )
