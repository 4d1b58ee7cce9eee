"""Fine-tunes an aligner on recordings, with simulated clips in every step against forgetting.

Recordings have no labels: their events are the onsets of their sound. Exact events, materials and
the attributes of cues come from the simulated clips alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task
from foleyflow.training.tasks.alignment import AlignTask, aligner_of

REAL, SIMULATED = "real", "simulated"
VALIDATION_BATCHES, VALIDATION_CLIPS = 2, 8


class AdaptTask(Task):
    """Two tasks that train one aligner: each batch has clips of both, and a loss for each part."""

    phases = ("align",)

    def __init__(self, real: AlignTask, simulated: AlignTask, *, simulated_fraction: float) -> None:
        """Takes tasks with the same model, and the fraction of simulated clips in each batch.

        Raises:
            ConfigError: the fraction is out of range.
        """
        if not 0 <= simulated_fraction < 1:
            raise ConfigError(f"simulated_fraction={simulated_fraction}: expected 0 to below 1")
        self.tasks = {REAL: real, SIMULATED: simulated}
        self.simulated_fraction = simulated_fraction
        self.modules = real.modules

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Windows of both kinds; the keys begin with the kind and a slash."""
        count = min(round(self.simulated_fraction * clips), clips - 1)
        counts = {REAL: clips - count, SIMULATED: count}
        return {
            f"{kind}/{name}": value
            for kind, task in self.tasks.items()
            if counts[kind]
            for name, value in task.sample_batch(rng, counts[kind]).items()
        }

    def begin_step(self, step: int, averages: Modules) -> tuple[str, ...]:
        """Prepares both tasks."""
        for task in self.tasks.values():
            task.begin_step(step, averages)
        return self.phases

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """The mean loss over all clips of the batch, and each kind's figures."""
        figures: Figures = {}
        losses: list[Tensor] = []
        counts: list[int] = []
        for kind, part in _parts_of(batch):
            value, found = self.tasks[kind].loss(phase, part, step)
            losses.append(value)
            counts.append(len(part["times_s"]))
            figures |= {f"{kind}/{name}": figure for name, figure in found.items()}
        total = sum(
            (count * value for count, value in zip(counts, losses, strict=True)),
            torch.zeros_like(losses[0]),
        )
        return total / sum(counts), figures

    @torch.no_grad()
    def validate(self, modules: Modules) -> Figures:
        """Both losses on some held-out windows, without augmentation."""
        figures: Figures = {}
        model = aligner_of(modules)
        device = next(model.parameters()).device
        for kind, task in self.tasks.items():
            rng = np.random.default_rng(1)
            values = []
            for _ in range(VALIDATION_BATCHES):
                windows = task.held_out_windows.draw(rng, VALIDATION_CLIPS, plain=True)
                on_device = {name: value.to(device) for name, value in windows.items()}
                values.append(float(task.loss_of(model, on_device)[0]))
            figures[f"{kind}/loss_held_out"] = float(np.mean(values))
        return figures

    def export(self, modules: Modules) -> Exported:
        """The averaged aligner, including its frame encoder."""
        return self.tasks[REAL].export(modules)


def _parts_of(batch: Mapping[str, Tensor]) -> Iterator[tuple[str, Batch]]:
    """Each kind and its part of a batch, with the names of `WindowSource.draw`."""
    for kind in (REAL, SIMULATED):
        part = {
            name.removeprefix(f"{kind}/"): value
            for name, value in batch.items()
            if name.startswith(f"{kind}/")
        }
        if part:
            yield kind, part
