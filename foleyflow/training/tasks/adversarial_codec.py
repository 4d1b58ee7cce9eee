"""Trains the codec against discriminators, in addition to its reconstruction losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from foleyflow.codec.adversarial_losses import (
    AdversarialKind,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    judge_frozen,
)
from foleyflow.codec.discriminators import DiscriminatorConfig, Discriminators, Judgement
from foleyflow.errors import ConfigError
from foleyflow.training.task import Batch, Figures, Modules, weighted_sum
from foleyflow.training.tasks.codec import CodecTask, codec_of

SILENT_POWER = 1e-6  # mean square of the samples: -60 dB
DISCRIMINATORS, CODEC = "discriminators", "codec"  # phases


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """Discriminators, and their weight in the loss of the codec.

    Attributes:
        networks: size of the discriminators.
        kind: adversarial loss.
        adversarial, feature_matching: weights.
        from_step: first step with discriminators; the codec learns to reconstruct before it.
    """

    networks: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    kind: AdversarialKind = "least squares"
    adversarial: float = 1.0
    feature_matching: float = 2.0
    from_step: int = 0

    def __post_init__(self) -> None:
        if min(self.adversarial, self.feature_matching, self.from_step) < 0:
            raise ConfigError(
                f"adversarial: adversarial={self.adversarial}, feature_matching="
                f"{self.feature_matching}, from_step={self.from_step}: expected at least 0"
            )


class AdversarialCodecTask(CodecTask):
    """The codec as a `Task` of two phases: its discriminators, then itself.

    The discriminators have an optimiser of their own and are part of the checkpoint, not of the
    exported model. The weights that are exported are the average of the codec's.
    """

    def __init__(self, adversarial: AdversarialConfig, **settings: Any) -> None:
        """Build the discriminators; `settings` are those of `CodecTask`."""
        super().__init__(**settings)
        self.adversarial = adversarial
        self.phases = (DISCRIMINATORS, CODEC)
        self.modules[DISCRIMINATORS] = Discriminators(adversarial.networks)

    def begin_step(self, step: int, averages: Modules) -> tuple[str, ...]:
        """Both phases from `from_step` on; the codec alone before it."""
        return self.phases if step >= self.adversarial.from_step else (CODEC,)

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """The loss of the discriminators, or that of the codec with the terms that they add."""
        if step < self.adversarial.from_step:
            return super().loss(phase, batch, step)
        settings, discriminators = self.adversarial, self._discriminators
        sound = batch["sound"]

        # The discriminators' turn: decoded sounds are given
        if phase == DISCRIMINATORS:
            with torch.no_grad():
                latents, _ = self.sample_latents(sound)
                decoded = codec_of(self.modules).decoder(latents)
            true, false = discriminators(sound), discriminators(decoded)
            loss = discriminator_loss(true, false, settings.kind)
            return loss, {"discriminators_right": _fraction_right(true, false)}

        # The codec's turn: reconstruction, then what the discriminators find
        decoded, terms = self.reconstruct(sound)
        loss, figures = weighted_sum(terms, self.losses)
        with torch.no_grad():
            true = discriminators(sound)
        found = judge_frozen(discriminators, decoded)
        against = {
            "adversarial": adversarial_loss(found, settings.kind),
            "feature_matching": feature_matching_loss(true, found),
        }
        added, more_figures = weighted_sum(against, settings)
        return loss + added, {**figures, **more_figures}

    def validate(self, modules: Modules) -> Figures:
        """Losses of reconstructions, and how many sounds the averaged discriminators recognise.

        "recognised" is the mean over discriminators of the fraction of validation sounds, silence
        left out, whose mean score is higher than that of the decoded sound; 0.5 is chance.
        """
        figures = super().validate(modules)
        codec = codec_of(modules)
        discriminators = cast(Discriminators, modules[DISCRIMINATORS])
        device = next(codec.parameters()).device
        right: list[Tensor] = []
        for sound in self._validation.to(device).split(16):
            sounding = sound[sound.square().mean(1) > SILENT_POWER]
            if len(sounding):
                true = discriminators(sounding)
                decoded = discriminators(codec.decoder(codec.encoder(sounding)[0]))
                right += [
                    (one.scores.flatten(1).mean(1) > other.scores.flatten(1).mean(1)).float()
                    for one, other in zip(true, decoded, strict=True)
                ]
        return figures | ({"recognised": float(torch.cat(right).mean())} if right else {})

    @property
    def _discriminators(self) -> Discriminators:
        return cast(Discriminators, self.modules[DISCRIMINATORS])


def _fraction_right(true: Sequence[Judgement], false: Sequence[Judgement]) -> float:
    """Mean fraction of places at which a true sound has a higher score than the decoded one."""
    right = [
        (one.scores > other.scores).float().mean() for one, other in zip(true, false, strict=True)
    ]
    return float(torch.stack(right).mean())
