"""Trains the flow in one run: DCF (many steps), GDCF (one step) from it, then its refinements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import ConfigError, DataError
from foleyflow.features.flow_condition_windows import GuidedWindows
from foleyflow.flow.diffusion import PATH as DIFFUSION_PATH
from foleyflow.flow.diffusion import diffusion_loss
from foleyflow.flow.distribution_matching import Critic, critic_loss, distribution_matching_loss
from foleyflow.flow.objective import (
    ObjectiveConfig,
    flow_matching_loss,
    masked_error,
    one_step_loss,
)
from foleyflow.flow.path import interpolate
from foleyflow.flow.progressive_distillation import Teacher, progressive_distillation_loss
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like
from foleyflow.training.task import Batch, Task


@dataclass(frozen=True, kw_only=True)
class FlowStageConfig:
    """How the run is divided, and what conditions are shown.

    Attributes:
        dcf_steps: steps of flow matching; what the run has beyond them trains the one-step map.
        merge_steps: of those the last before the polish, in which one jump learns what the flow
            so far does in several; 0 for none.
        merged_jumps: how many become one.
        polish_steps: the run's last steps, in which distribution matching joins in; 0 for none.
        critic_turns: steps of the critic in each of them.
        map_weight: of the one-step map's own loss in them, which keeps few steps usable.
        context_share: share of rows that start with known latents.
        shortest_context, longest_context: their latent frames.
        context_noise: deviation of noise on some of them, as their own output will have it.
        material_share: share of rows that are told their material.
        latent_noise: deviation of noise on the standardised latents that are learned. Without it
            they lie so close together that the flow is stiff near the audio, where solvers and
            the inverse lose their way; the codec's decoder was trained to forgive 0.05. 0 for
            none.
    """

    dcf_steps: int = 1000
    merge_steps: int = 0
    merged_jumps: int = 4
    polish_steps: int = 0
    critic_turns: int = 2
    map_weight: float = 0.25
    context_share: float = 0.4
    shortest_context: int = 10
    longest_context: int = 50
    context_noise: float = 0.1
    material_share: float = 0.5
    latent_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.latent_noise < 1:
            raise ConfigError(f"stages: latent_noise={self.latent_noise}: expected 0..1")
        if min(self.polish_steps, self.map_weight) < 0 or self.critic_turns < 1:
            raise ConfigError(
                f"stages: polish_steps={self.polish_steps} (at least 0), critic_turns="
                f"{self.critic_turns} (at least 1), map_weight={self.map_weight} (at least 0)"
            )
        if self.merge_steps < 0 or self.merged_jumps < 2:
            raise ConfigError(
                f"stages: merge_steps={self.merge_steps} (at least 0), merged_jumps="
                f"{self.merged_jumps} (at least 2)"
            )
        if self.dcf_steps < 0 or not 0 < self.shortest_context <= self.longest_context:
            raise ConfigError(
                f"stages: dcf_steps={self.dcf_steps} (at least 0), shortest_context="
                f"{self.shortest_context}, longest_context={self.longest_context} (0 < shortest <= "
                "longest)"
            )


class FlowTask(Task):
    """The flow as a `Task`; `steps` is the length of the whole run.

    One turn, or with a polish the critic's before it. The critic's judges and the merging's teacher
    begin as the averaged flow at the first step of theirs and are in the checkpoint.
    """

    def __init__(
        self,
        network: FlowTransformer,
        objective: ObjectiveConfig,
        stages: FlowStageConfig,
        *,
        steps: int,
        windows: GuidedWindows,
        validation_windows: GuidedWindows,
        scale: Tensor | None = None,
    ) -> None:
        """Takes the network and what it is trained on.

        `scale` are the deviations, (C,), that the latents have for the network; None for 1.
        """
        self.objective = objective
        self.stages = stages
        self.steps = steps
        self.turns: tuple[str, ...] = ("flow",)
        self.modules: dict[str, nn.Module] = {"flow": network}
        self._windows = windows
        self._validation = validation_windows
        sample = np.asarray(windows.latents[:: max(1, len(windows.latents) // 2000)], np.float32)
        flat = torch.from_numpy(sample).flatten(0, 1)
        if not flat.isfinite().all():
            raise DataError(
                "the windows' latents are not finite, so that their mean isn't either",
                hint="remove the folder .guided-train-... of the data set; it is made again",
            )
        network.fit_latents_(flat, torch.ones(flat.shape[1]) if scale is None else scale)
        self._polish_from = steps - stages.polish_steps
        self._merge_from = self._polish_from - stages.merge_steps
        refinements = f"merge_steps={stages.merge_steps}, polish_steps={stages.polish_steps}"
        refined = stages.merge_steps + stages.polish_steps > 0
        if refined and network.config.predicts == "noise":
            raise ConfigError(
                f"stages: {refinements}: expected 0 for a network that predicts noise, which has "
                "no one-step map"
            )
        if refined and self._merge_from < stages.dcf_steps:
            raise ConfigError(
                f"stages: dcf_steps={stages.dcf_steps}, {refinements} are more than the run's "
                f"{steps} steps",
                hint="set train.steps higher, or steps of a stage lower",
            )
        if stages.merge_steps:
            self.modules["teacher"] = Teacher(network)
        if stages.polish_steps:
            self.turns = ("critic",) * stages.critic_turns + ("flow",)
            self.modules["critic"] = Critic(network)

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random windows with context and material shown to some of them."""
        return self.draw_rows(rng, clips, np.arange(clips))

    def draw_rows(self, rng: np.random.Generator, clips: int, rows: NDArray[np.int64]) -> Batch:
        """Some of them; only their windows are read."""
        chosen = np.sort(rng.integers(len(self._windows.clip), size=clips))
        batch = rows_of(self._windows, chosen[rows])
        frames = batch["latents"].shape[1]
        longest = min(self.stages.longest_context, frames - 1)
        lengths = rng.integers(min(self.stages.shortest_context, longest), longest + 1, size=clips)
        lengths[rng.random(clips) >= self.stages.context_share] = 0
        batch["context_length"] = torch.from_numpy(lengths[rows])
        told = torch.from_numpy((rng.random(clips) < self.stages.material_share)[rows])
        batch["material"] = torch.where(told, batch["material"] + 1, 0)
        noisy = (rng.random(clips) < 0.3)[rows]
        batch["context_noise"] = torch.from_numpy(
            self.stages.context_noise * noisy.astype(np.float32)
        )
        return batch

    def begin_step(self, step: int, averages: Mapping[str, nn.Module]) -> tuple[str, ...]:
        """All turns in the polish, else the flow's; merging and polish begin with the average."""
        if step >= self._polish_from:
            self._start("critic", averages, first=step == self._polish_from)
            return self.turns
        if step >= self._merge_from:
            self._start("teacher", averages, first=step == self._merge_from)
        return ("flow",)

    def _start(self, name: str, averages: Mapping[str, nn.Module], *, first: bool) -> None:
        """Gives a refinement's fixed networks the averaged flow, once."""
        module = self.modules[name]
        # Not only at the first step: a resumed run may have been given fewer steps in all.
        if first or not module.started:
            module.start_from_(averages["flow"])

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """DCF's loss in the first steps, then GDCF's, then those of merging and of the polish.

        A network that predicts noise has DDPM's loss throughout. The critic's turn has flow
        matching on what the flow makes in one step.
        """
        network = self.modules["flow"]
        audio, condition = prepare(network, batch, latent_noise=self.stages.latent_noise)
        if network.config.predicts == "noise":
            return diffusion_loss(network, audio, condition, self.objective)
        if turn == "critic":
            fake = self.modules["critic"].fake
            return critic_loss(fake, network, audio, condition, self.objective)
        if step < self.stages.dcf_steps:
            return flow_matching_loss(network, audio, condition, self.objective)
        if step < self._merge_from:
            progress = (step - self.stages.dcf_steps) / (self._merge_from - self.stages.dcf_steps)
            return one_step_loss(network, audio, condition, self.objective, progress=progress)
        if step < self._polish_from:
            return progressive_distillation_loss(
                network,
                self.modules["teacher"].flow,
                audio,
                condition,
                self.objective,
                jumps=self.stages.merged_jumps,
            )
        critic = self.modules["critic"]
        matching, figures = distribution_matching_loss(
            network, critic.real, critic.fake, audio, condition, self.objective
        )
        own, own_figures = one_step_loss(network, audio, condition, self.objective, progress=1.0)
        return matching + self.stages.map_weight * own, {**figures, **own_figures}

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Error of what the network predicts, and how samples differ from the true latents."""
        network = modules["flow"]
        device = next(network.parameters()).device
        count = min(192, len(self._validation.clip))
        batch = rows_of(self._validation, np.arange(count))
        batch |= {
            "context_length": torch.zeros(count, dtype=torch.int64),
            "context_noise": torch.zeros(count),
            "material": torch.zeros(count, dtype=torch.int64),
        }
        audio, condition = prepare(network, {k: v.to(device) for k, v in batch.items()})
        embedded = network.embed(condition)
        one = torch.ones(count, device=device)
        diffusion = network.config.predicts == "noise"
        path = DIFFUSION_PATH if diffusion else self.objective.path
        figures: dict[str, float] = {}
        for level in (0.3, 0.6, 0.9):
            tau = torch.full((count,), level, device=device)
            noise = torch.randn_like(audio)
            x, velocity = interpolate(audio, noise, tau, path)
            out = network(
                x, r=tau, tau=tau, guidance_scale=one, embedded=embedded, condition=condition
            )
            error = masked_error(out, noise if diffusion else velocity, condition.known)
            figures[f"{network.config.predicts}_error_{level}"] = float(error.mean())
        noise = torch.randn_like(audio)
        for steps in (4, 25) if diffusion else (1, 4):
            made = sample(
                network, condition, noise, steps=steps, guidance=1.0, path=self.objective.path
            )
            figures[f"error_{steps}"] = float((made - audio).square().mean())
            figures[f"deviation_{steps}"] = float(made.std() / audio.std())
        return figures

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """The averaged network."""
        return {"flow": (modules["flow"], asdict(modules["flow"].config))}


def prepare(
    network: nn.Module, batch: Batch, *, latent_noise: float = 0.0
) -> tuple[Tensor, Condition]:
    """Standardised latents, and the condition with their known beginning, of a drawn batch."""
    with torch.autocast(batch["latents"].device.type, enabled=False):
        audio = network.standardise(batch["latents"])
        if latent_noise:
            audio = audio + latent_noise * network.latent_scale * normal_like(audio)
        frames = torch.arange(audio.shape[1], device=audio.device)
        known = frames[None] < batch["context_length"][:, None]
        noise = batch["context_noise"][:, None, None] * normal_like(audio) * network.latent_scale
        context = (audio + noise) * known[..., None]
    return audio, Condition(
        video=batch["video"],
        states=batch["states"],
        events=batch["events"],
        material=batch["material"],
        context=context,
        known=known,
    )


def rows_of(windows: GuidedWindows, rows: np.ndarray) -> Batch:
    """Some rows as tensors, float32 where they are floating."""
    batch: Batch = {}
    for name in ("video", "states", "events", "latents"):
        batch[name] = torch.from_numpy(np.asarray(getattr(windows, name)[rows], np.float32))
    for name in ("material", "clip"):
        batch[name] = torch.from_numpy(np.asarray(getattr(windows, name)[rows]))
    return batch
