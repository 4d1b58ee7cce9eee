"""Trains a judge of sound on simulated clips: the struck material and the kind of scene."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foleyflow.features.mel_levels import augment_levels
from foleyflow.judges.networks.log_mel import FRAME_RATE_HZ, normalise_to_peak
from foleyflow.judges.networks.tagger import Tagger
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task

VALIDATION_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class TaggerLossConfig:
    """Training settings of the tagger.

    Attributes:
        crop_s: length of each training sound.
        smoothing: fraction of each label that is spread over all classes.
        disturbance: strength of the changes that imitate another recording or codec.
    """

    crop_s: float = 3.2
    smoothing: float = 0.05
    disturbance: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TaggedLevels:
    """Sounds of a split with their classes.

    Attributes:
        levels: (N, T, M) natural logarithms of magnitudes.
        materials: (N,) int64, index of a material class.
        kinds: (N,) int64, index of a kind of scene.
    """

    levels: NDArray[np.float16]
    materials: NDArray[np.int64]
    kinds: NDArray[np.int64]


class TaggerTask(Task):
    """The tagger as a `Task` of one phase."""

    phases = ("tagger",)

    def __init__(
        self,
        model: Tagger,
        losses: TaggerLossConfig,
        *,
        train: TaggedLevels,
        validation: TaggedLevels,
    ) -> None:
        self.losses = losses
        self.modules = {"tagger": model}
        self._train = train
        self._validation = validation
        self._crop = min(round(losses.crop_s * FRAME_RATE_HZ), train.levels.shape[1])

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Augmented crops of random sounds with their classes."""
        chosen = rng.integers(len(self._train.levels), size=clips)
        starts = rng.integers(self._train.levels.shape[1] - self._crop + 1, size=clips)
        crops = [
            augment_levels(
                self._train.levels[index, start : start + self._crop].astype(np.float32),
                rng,
                strength=self.losses.disturbance,
            )
            for index, start in zip(chosen, starts, strict=True)
        ]
        return {
            "levels": torch.from_numpy(np.stack(crops)),
            "material": torch.from_numpy(self._train.materials[chosen]),
            "kind": torch.from_numpy(self._train.kinds[chosen]),
        }

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """Cross-entropy of both classifications."""
        materials, kinds, _ = self.modules["tagger"](normalise_to_peak(batch["levels"]))
        with torch.autocast(materials.device.type, enabled=False):
            terms = {
                name: functional.cross_entropy(
                    logits.float(), batch[name], label_smoothing=self.losses.smoothing
                )
                for name, logits in (("material", materials), ("kind", kinds))
            }
        total = terms["material"] + terms["kind"]
        return total, {name: float(value.detach()) for name, value in terms.items()}

    def validate(self, modules: Modules) -> Figures:
        """Accuracies on complete validation sounds without augmentation."""
        model = modules["tagger"]
        device = next(model.parameters()).device
        labels = {"material": self._validation.materials, "kind": self._validation.kinds}
        correct: dict[str, list[Tensor]] = {name: [] for name in labels}
        for start in range(0, len(self._validation.levels), VALIDATION_BATCH):
            block = slice(start, start + VALIDATION_BATCH)
            levels = torch.from_numpy(self._validation.levels[block].astype(np.float32))
            materials, kinds, _ = model(normalise_to_peak(levels.to(device)))
            for name, logits in (("material", materials), ("kind", kinds)):
                hits = logits.argmax(1).cpu() == torch.from_numpy(labels[name][block])
                correct[name].append(hits)
        return {
            f"{name}_accuracy": float(torch.cat(hits).float().mean())
            for name, hits in correct.items()
        }

    def export(self, modules: Modules) -> Exported:
        """The averaged tagger; its config contains the names of the classes."""
        model = cast(Tagger, modules["tagger"])
        return {"tagger": (model, asdict(model.config))}
