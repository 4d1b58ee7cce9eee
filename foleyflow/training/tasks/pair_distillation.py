"""Trains a one-step flow on stored pairs of noise and the latents that a teacher generates from it.

The pairs are computed before the first step by solving the teacher's ODE. The window and the
context of a pair depend only on its number, so that only the solutions are stored.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.features.store import Arrays, open_store
from foleyflow.flow.objective import ObjectiveConfig, masked_error
from foleyflow.flow.pair_distillation import pair_distillation_loss
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task
from foleyflow.training.tasks.flow import VALIDATION_WINDOWS, flow_of
from foleyflow.training.tasks.flow_batches import prepare, read_windows

BLOCK = 16  # pairs that are solved together


@dataclass(frozen=True, kw_only=True)
class PairConfig:
    """Settings of the pairs.

    Attributes:
        count: number of pairs; pairs beyond the number of windows repeat them with other noise.
        solver_steps: steps of Heun's method, two evaluations each.
        guidance: guidance scale of the teacher, which is also the student's.
        context_fraction: fraction of the pairs that start with known latents.
        shortest_context, longest_context: number of known latent frames.
    """

    count: int = 4096
    solver_steps: int = 10
    guidance: float = 1.0
    context_fraction: float = 0.4
    shortest_context: int = 10
    longest_context: int = 50

    def __post_init__(self) -> None:
        if min(self.count, self.solver_steps, self.guidance) < 1:
            raise ConfigError(
                f"pairs: count={self.count}, solver_steps={self.solver_steps}, "
                f"guidance={self.guidance}: expected at least 1"
            )
        if not 0 < self.shortest_context <= self.longest_context:
            raise ConfigError(
                f"pairs: shortest_context={self.shortest_context}, longest_context="
                f"{self.longest_context}: expected 0 < shortest <= longest"
            )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Windows with noise and the teacher's solutions.

    `solutions` are its (P, L, C) standardised latents; None while they are being computed.
    """

    windows: ConditionWindows
    config: PairConfig
    solutions: NDArray[np.float16] | None = None

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """Conditions, noise and, once computed, solutions of the pairs with these numbers."""
        batch = read_windows(self.windows, numbers % len(self.windows.clip))
        frames, channels = batch["latents"].shape[1:]
        config = self.config
        longest = min(config.longest_context, frames - 1)
        shortest = min(config.shortest_context, longest)
        lengths, noises = [], []
        for number in numbers:
            rng = np.random.default_rng([13, int(number)])
            has_context = rng.random() < config.context_fraction
            lengths.append(int(rng.integers(shortest, longest + 1)) if has_context else 0)
            noises.append(rng.standard_normal((frames, channels), np.float32))
        batch["context_length"] = torch.tensor(lengths)
        batch["noise"] = torch.from_numpy(np.stack(noises))
        if self.solutions is not None:
            batch["solution"] = torch.from_numpy(np.asarray(self.solutions[numbers], np.float32))
        return batch


def open_pairs(
    folder: Path,
    teacher: FlowTransformer,
    windows: ConditionWindows,
    config: PairConfig,
    *,
    flow_path: str = "linear",
) -> Pairs:
    """Opens the solutions of all pairs, and computes them first if they are missing.

    Args:
        folder: one per (teacher, windows, config).
        teacher: a flow in eval mode.
        windows: source of the conditions.
        config: settings of the pairs.
        flow_path: of the teacher's training, a key of `flow.path.PATHS`.
    """
    planned = Pairs(windows=windows, config=config)

    @torch.no_grad()
    def solve(start: int) -> Arrays:
        device = next(teacher.parameters()).device
        numbers = np.arange(start, min(config.count, start + BLOCK))
        batch = {key: value.to(device) for key, value in planned.batch(numbers).items()}
        _, condition = prepare(teacher, batch)
        latents = sample(
            teacher,
            condition,
            batch["noise"],
            steps=config.solver_steps,
            guidance=config.guidance,
            solver="heun",
            path=flow_path,
        )
        return {"solutions": latents.cpu().numpy().astype(np.float16)}

    arrays = open_store(folder, solve, range(0, config.count, BLOCK))
    return Pairs(windows=windows, config=config, solutions=arrays["solutions"])


class DistilTask(Task):
    """Offline distillation as a `Task` of one phase, whose module starts as the teacher."""

    phases = ("flow",)

    def __init__(
        self,
        student: FlowTransformer,
        objective: ObjectiveConfig,
        *,
        pairs: Pairs,
        validation_pairs: Pairs,
    ) -> None:
        self.objective = objective
        student.record_training_(guidance=pairs.config.guidance > 1)
        self.modules = {"flow": student.requires_grad_(True)}
        self._pairs = pairs
        self._validation = validation_pairs

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random pairs."""
        return self._pairs.batch(np.sort(rng.integers(self._pairs.config.count, size=clips)))

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """Error of one step against the teacher's solution."""
        student = flow_of(self.modules)
        _, condition = prepare(student, batch)
        return pair_distillation_loss(
            student,
            batch["noise"],
            batch["solution"],
            condition,
            guidance=self._pairs.config.guidance,
            path=self.objective.path,
        )

    def validate(self, modules: Modules) -> Figures:
        """Relative error of one step, and the deviation of its latents."""
        student = flow_of(modules)
        device = next(student.parameters()).device
        numbers = np.arange(min(VALIDATION_WINDOWS, self._validation.config.count))
        batch = {key: value.to(device) for key, value in self._validation.batch(numbers).items()}
        _, condition = prepare(student, batch)
        guidance = self._validation.config.guidance
        latents = sample(
            student,
            condition,
            batch["noise"],
            steps=1,
            guidance=guidance,
            path=self.objective.path,
        )
        error = masked_error(latents, batch["solution"], condition.known).mean()
        size = masked_error(batch["solution"], torch.zeros_like(latents), condition.known).mean()
        return {
            "map_error": float((error / size).sqrt()),
            "deviation_1": float(latents.std() / batch["solution"].std()),
        }

    def export(self, modules: Modules) -> Exported:
        """The averaged student."""
        student = flow_of(modules)
        return {"flow": (student, asdict(student.config))}
