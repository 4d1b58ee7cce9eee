"""Trains VAMA: hidden audio segments recovered from the video of the same moment.

Each clip's frames pass the frame encoder once and serve several mask draws. The onset and
material terms use labels that only simulated clips have; weights of 0 leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.alignment.losses import onset_loss, recovery_losses
from foleyflow.alignment.masking import draw_kept
from foleyflow.alignment.model import Alignment
from foleyflow.alignment.targets import MelPatches
from foleyflow.data.windows import WindowSource
from foleyflow.training.task import Batch

VALIDATION_BATCHES, VALIDATION_CLIPS = 6, 16


@dataclass(frozen=True, kw_only=True)
class AlignLossConfig:
    """Masks and weights of VAMA's losses.

    Attributes:
        ratio: share of segments hidden.
        longest_block: kept blocks have up to this many segments.
        masked_draws: mask draws at `ratio` per clip.
        full_draws: draws per clip with everything hidden (what stage two sees).
        latent, mel, energy: weights of the recovery terms.
        onset, material: weights of the labelled terms; 0 for the paper's method.
    """

    ratio: float = 0.8
    longest_block: int = 4
    masked_draws: int = 1
    full_draws: int = 1
    latent: float = 1.0
    mel: float = 0.25
    energy: float = 0.5
    onset: float = 3.0
    material: float = 0.1


class AlignTask:
    """VAMA as a `Task`; one turn."""

    turns = ("align",)

    def __init__(
        self,
        model: Alignment,
        losses: AlignLossConfig,
        *,
        windows: WindowSource,
        validation_windows: WindowSource,
    ) -> None:
        self.losses = losses
        self.modules = {"align": model}
        self._windows = windows
        self._validation = validation_windows
        self._mel = MelPatches(model.config, rate_hz=windows.rate_hz)
        latents = torch.from_numpy(windows.latents.astype(np.float32)).flatten(0, 1)
        model.target_mean.copy_(latents.mean(0))
        model.target_deviation.copy_(latents.std(0).clamp_min(1e-3))

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """Augmented windows of random clips; see `WindowSource.draw`."""
        return self._windows.draw(rng, clips)

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Recovery of hidden segments over all mask draws, plus labelled terms."""
        model = self.modules["align"]
        parts = self._losses(model, batch)
        total = sum(getattr(self.losses, name) * value for name, value in parts.items())
        return total, {name: float(value.detach()) for name, value in parts.items()}

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Figures with everything hidden: R2, the gain of the true video, onset F1, material."""
        model = modules["align"]
        device = next(model.parameters()).device
        rng = np.random.default_rng(1)
        sums: dict[str, list[float]] = {}
        for _ in range(VALIDATION_BATCHES):
            drawn = self._validation.draw(rng, VALIDATION_CLIPS, plain=True)
            batch = {key: value.to(device) for key, value in drawn.items()}
            for key, value in self._validated(model, batch).items():
                sums.setdefault(key, []).append(value)
        return {key: float(np.mean(values)) for key, values in sums.items()}

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """The averaged aligner with its frame encoder inside."""
        model = modules["align"]
        config = {"model": asdict(model.config), "encoder": asdict(model.encoder.config)}
        return {"align": (model, config)}

    def _targets(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        mel = self._mel(batch["sound"])
        return {
            "latents": (batch["latents"] - model.target_mean) / model.target_deviation,
            "mel": self._mel.targets(mel),
        }

    def _validated(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        """Figures of one batch; the control sees the video of the next clip."""
        self._mel.to(batch["sound"].device)
        targets = self._targets(model, batch)
        times_s, present = batch["times_s"], batch["present"]
        video = model.contextualise(
            model.watch(batch["pixels"], times_s, present), times_s, present
        )
        segments = self._windows.segments
        hidden = torch.ones(len(video), segments, dtype=torch.bool, device=video.device)
        other = torch.arange(len(video)).roll(1)
        recovered, swapped = (
            model.recover(
                video[order],
                times_s[order],
                mel=None,
                kept=None,
                segments=segments,
                present=present[order],
            )
            for order in (torch.arange(len(video)), other)
        )
        own = recovery_losses(recovered, hidden=hidden, **targets)
        control = recovery_losses(swapped, hidden=hidden, **targets)
        figures = {
            "r2": 1 - float(own["latent"]),
            "r2_gain": float(control["latent"] - own["latent"]),
            "energy": float(own["energy"]),
            "onset": float(onset_loss(recovered.onsets, batch["onsets"], hidden)),
            "onset_f1": best_onset_f1(recovered.onsets, batch["onsets"]),
            "video_deviation": float(video.float().std(dim=(0, 1)).mean()),
        }
        known = batch["material"] >= 0
        if bool(known.any()):
            right = model.classify(video, present).argmax(-1) == batch["material"]
            figures["material_accuracy"] = float(right[known].float().mean())
        return figures

    def _losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        self._mel.to(batch["sound"].device)
        settings, segments = self.losses, self._windows.segments
        with torch.autocast(batch["sound"].device.type, enabled=False):
            mel = self._mel(batch["sound"])
            targets = self._targets(model, batch)
        features = model.watch(batch["pixels"], batch["times_s"], batch["present"])
        video = model.contextualise(features, batch["times_s"], batch["present"])
        draws = settings.masked_draws + settings.full_draws
        count = len(video)
        kept = torch.zeros(draws * count, segments, dtype=torch.bool)
        kept[: settings.masked_draws * count] = draw_kept(
            settings.masked_draws * count,
            segments,
            ratio=settings.ratio,
            longest_block=settings.longest_block,
            generator=torch.default_generator,
        )
        kept = kept.to(video.device)

        def tiled(tensor: Tensor) -> Tensor:
            return tensor.repeat(draws, *[1] * (tensor.ndim - 1))

        recovered = model.recover(
            tiled(video),
            tiled(batch["times_s"]),
            mel=tiled(mel),
            kept=kept,
            segments=segments,
            present=tiled(batch["present"]),
        )
        materials = model.classify(video, batch["present"])
        with torch.autocast(video.device.type, enabled=False):
            parts = recovery_losses(
                recovered, hidden=~kept, **{k: tiled(v) for k, v in targets.items()}
            )
            parts["onset"] = onset_loss(recovered.onsets, tiled(batch["onsets"]), ~kept)
            material = functional.cross_entropy(materials, batch["material"], ignore_index=-1)
            parts["material"] = torch.nan_to_num(material)
        return parts


def best_onset_f1(logits: Tensor, targets: Tensor) -> float:
    """Best F1 over thresholds of peaks of the onset probability, matched within 2 frames."""
    probability = logits.sigmoid().float().cpu().numpy()
    truth = targets.cpu().numpy() > 0.9
    best = 0.0
    for threshold in (0.3, 0.5, 0.7, 0.85):
        hits = found = wanted = 0
        for row, true_row in zip(probability, truth, strict=True):
            inner = row[1:-1]
            peaks = 1 + np.flatnonzero(
                (inner > threshold) & (inner >= row[:-2]) & (inner > row[2:])
            )
            events = np.flatnonzero(true_row)
            found, wanted = found + len(peaks), wanted + len(events)
            used: set[int] = set()
            for peak in peaks:
                near = [e for e in events if abs(e - peak) <= 2 and e not in used]
                if near:
                    used.add(min(near, key=lambda e: abs(e - peak)))
                    hits += 1
        best = max(best, 2 * hits / max(1, found + wanted))
    return best
