"""Attributes of cues, predicted per latent frame from the aligner's features around it.

Dimension letters: B batch, T video frames, S segments, L latent frames (4 S), M materials, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.cues.targets import NO_FRICTION
from foleyflow.cues.tracks import QUIETEST_DB
from foleyflow.parallel.batch_sharding import rescale_to_global_mean

FRICTION_CLASSES = 3  # none, roll, scrape


@dataclass(frozen=True, kw_only=True)
class CueAttributes:
    """Predicted attributes of a hit in each latent frame, and of friction at its time."""

    levels_db: Tensor  # (B, L) level of a hit
    materials: Tensor  # (B, L, M) logits of the struck material
    strikers: Tensor  # (B, L, M) logits of the striking material
    friction: Tensor  # (B, L, 3) logits of no friction, rolling, scraping
    friction_levels_db: Tensor  # (B, L)


class AttributeHead(nn.Module):
    """A small network over neighbouring latent frames."""

    def __init__(self, width: int, *, latents_per_segment: int, materials: int) -> None:
        super().__init__()
        self.latents_per_segment, self.materials = latents_per_segment, materials
        self.unfold = nn.Linear(width, latents_per_segment * width)
        self.clip = nn.Linear(width, width)
        self.video = nn.Linear(width, width)
        self.neighbours = nn.Conv1d(width, width, 9, padding=4)
        self.output = nn.Linear(width, 2 + 2 * materials + FRICTION_CLASSES)

    def forward(self, video: Tensor, states: Tensor, clip: Tensor) -> CueAttributes:
        """Predict the attributes of a window.

        Takes F^v at the centres of the latent frames (B, L, D), the decoder's states with all audio
        masked (B, S, D), and features of the complete window (B, D).
        """
        unfolded = self.unfold(states).unflatten(-1, (self.latents_per_segment, -1)).flatten(1, 2)
        hidden = functional.gelu(self.video(video) + unfolded + self.clip(clip)[:, None])
        mixed = self.neighbours(hidden.transpose(1, 2)).transpose(1, 2)
        output = self.output(functional.gelu(hidden + mixed)).float()
        levels, materials, strikers, friction = output.split(
            [2, self.materials, self.materials, FRICTION_CLASSES], -1
        )
        # Levels in 0..1 have the size of the other outputs
        levels_db = (levels - 0.8) * -QUIETEST_DB
        return CueAttributes(
            levels_db=levels_db[..., 0],
            materials=materials,
            strikers=strikers,
            friction=friction,
            friction_levels_db=levels_db[..., 1],
        )


def attribute_losses(predicted: CueAttributes, targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """Errors of the attributes where they are known.

    Args:
        predicted: of B windows.
        targets: a batch of `WindowSource.draw` with labels of cues.

    Returns:
        "cue_level", the mean absolute error of both levels in units of 60 dB; "cue_material", the
        cross-entropy of both materials; "friction", the cross-entropy of its class.
    """
    level = _mean_where(
        (predicted.levels_db - targets["cue_levels_db"]).abs(), ~targets["cue_levels_db"].isnan()
    ) + _mean_where(
        (predicted.friction_levels_db - targets["friction_levels_db"]).abs(),
        ~targets["friction_levels_db"].isnan(),
    )
    material = _cross_entropy(predicted.materials, targets["cue_materials"]) + 0.5 * _cross_entropy(
        predicted.strikers, targets["cue_strikers"]
    )
    return {
        "cue_level": level / -QUIETEST_DB,
        "cue_material": material,
        "friction": _cross_entropy(predicted.friction, targets["friction"]),
    }


def _mean_where(errors: Tensor, known: Tensor) -> Tensor:
    """Mean over the known frames of all processes; zero if there are none."""
    count = known.sum()
    mean = torch.where(known, errors.nan_to_num(), 0.0).sum() / count.clamp_min(1)
    return rescale_to_global_mean(mean, count)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy over the frames whose class is not negative."""
    known = classes >= 0
    errors = functional.cross_entropy(
        logits.flatten(0, 1), classes.clamp_min(NO_FRICTION).flatten(), reduction="none"
    )
    return _mean_where(errors.unflatten(0, classes.shape), known)
