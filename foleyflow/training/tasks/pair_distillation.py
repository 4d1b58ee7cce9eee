"""Trains a one-step flow from stored pairs of noise and the audio that its teacher made of it.

Pairs are made before the first step by solving the teacher's equation, each with a window, a known
beginning and a told material that depend on the pair's number alone; only the ends are stored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import ConfigError
from foleyflow.features.flow_condition_windows import GuidedWindows
from foleyflow.flow.objective import ObjectiveConfig, masked_error
from foleyflow.flow.pair_distillation import pair_distillation_loss
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.training.task import Batch, Task
from foleyflow.training.tasks.flow import prepare, rows_of

AT_ONCE = 16  # pairs solved together


@dataclass(frozen=True, kw_only=True)
class PairConfig:
    """How pairs are made.

    Attributes:
        count: pairs; windows are gone through in turn, so more than windows are other noises.
        solver_steps: of Heun's method, two evaluations each.
        guidance: w of the teacher; the student answers for this one.
        context_share: share of pairs that start with known latents.
        shortest_context, longest_context: their latent frames.
        material_share: share of pairs that are told their material.
    """

    count: int = 4096
    solver_steps: int = 10
    guidance: float = 1.0
    context_share: float = 0.4
    shortest_context: int = 10
    longest_context: int = 50
    material_share: float = 0.5

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
    """Windows, noises and ends.

    Attributes:
        windows: what the conditions are taken from.
        config: how the pairs were made.
        made: (P, L, C) float16 standardised latents, ends of the teacher's solves; None while
            they are being made.
    """

    windows: GuidedWindows
    config: PairConfig
    made: NDArray[np.float16] | None = None

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """Conditions, noises and (where there are some) ends of the pairs of these numbers."""
        rows = numbers % len(self.windows.clip)
        batch = rows_of(self.windows, rows)
        frames, channels = batch["latents"].shape[1:]
        config = self.config
        longest = min(config.longest_context, frames - 1)
        shortest = min(config.shortest_context, longest)
        lengths, told, noises = [], [], []
        for number in numbers:
            rng = np.random.default_rng([13, int(number)])
            known = rng.random() < config.context_share
            lengths.append(int(rng.integers(shortest, longest + 1)) if known else 0)
            told.append(rng.random() < config.material_share)
            noises.append(rng.standard_normal((frames, channels), np.float32))
        batch["context_length"] = torch.tensor(lengths)
        batch["context_noise"] = torch.zeros(len(numbers))
        batch["material"] = torch.where(torch.tensor(told), batch["material"] + 1, 0)
        batch["noise"] = torch.from_numpy(np.stack(noises))
        if self.made is not None:
            batch["made"] = torch.from_numpy(np.asarray(self.made[numbers], np.float32))
        return batch


@torch.no_grad()
def open_pairs(
    path: Path,
    teacher: FlowTransformer,
    windows: GuidedWindows,
    config: PairConfig,
    *,
    flow_path: str = "linear",
) -> Pairs:
    """Opens the store of ends, or solves them first.

    Args:
        path: of an .npy file, one per (teacher, windows, config); made whole or not at all.
        teacher: the flow whose velocity is solved, in eval mode.
        windows: see `Pairs`.
        config: see `Pairs`.
        flow_path: that of the teacher's training, a key of `flow.path.PATHS`.

    Source: ours.
    """
    if not path.exists():
        temporary = path.with_name(path.name + ".part")
        planned = Pairs(windows=windows, config=config)
        store = np.lib.format.open_memmap(
            temporary, "w+", dtype=np.float16, shape=(config.count, *windows.latents.shape[1:])
        )
        device = next(teacher.parameters()).device
        for start in range(0, config.count, AT_ONCE):
            numbers = np.arange(start, min(config.count, start + AT_ONCE))
            batch = {key: value.to(device) for key, value in planned.batch(numbers).items()}
            _, condition = prepare(teacher, batch)
            made = sample(
                teacher,
                condition,
                batch["noise"],
                steps=config.solver_steps,
                guidance=config.guidance,
                solver="heun",
                path=flow_path,
            )
            store[numbers] = made.cpu().numpy()
        store.flush()
        os.replace(temporary, path)
    return Pairs(windows=windows, config=config, made=np.load(path, mmap_mode="r"))


class DistilTask(Task):
    """Offline distillation as a `Task`; one turn, whose module begins as the teacher."""

    turns = ("flow",)

    def __init__(
        self,
        student: FlowTransformer,
        objective: ObjectiveConfig,
        *,
        pairs: Pairs,
        validation_pairs: Pairs,
    ) -> None:
        self.objective = objective
        self.modules = {"flow": student.requires_grad_(True)}
        self._pairs = pairs
        self._validation = validation_pairs

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random pairs."""
        return self._pairs.batch(np.sort(rng.integers(self._pairs.config.count, size=clips)))

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Error of the jump."""
        student = self.modules["flow"]
        _, condition = prepare(student, batch)
        return pair_distillation_loss(
            student,
            batch["noise"],
            batch["made"],
            condition,
            self.objective,
            guidance=self._pairs.config.guidance,
        )

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """How far one step lands from the teacher's solve, and the size of what it makes."""
        student = modules["flow"]
        device = next(student.parameters()).device
        numbers = np.arange(min(192, self._validation.config.count))
        batch = {key: value.to(device) for key, value in self._validation.batch(numbers).items()}
        _, condition = prepare(student, batch)
        guidance = self._validation.config.guidance
        made = sample(student, condition, batch["noise"], steps=1, guidance=guidance)
        error = masked_error(made, batch["made"], condition.known).mean()
        size = masked_error(batch["made"], torch.zeros_like(made), condition.known).mean()
        return {
            "map_error": float((error / size).sqrt()),
            "deviation_1": float(made.std() / batch["made"].std()),
        }

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """The averaged student."""
        return {"flow": (modules["flow"], asdict(modules["flow"].config))}
