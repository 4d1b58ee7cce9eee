"""Trains the flow in stages: flow matching (DCF), the one-step map (GDCF) and its refinements."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.cues.variation import CueVariation
from foleyflow.errors import ConfigError, DataError
from foleyflow.flow.diffusion import PATH as DIFFUSION_PATH
from foleyflow.flow.diffusion import diffusion_loss
from foleyflow.flow.distribution_matching import Critic, critic_loss, distribution_matching_loss
from foleyflow.flow.flow_matching import flow_matching_loss
from foleyflow.flow.objective import ObjectiveConfig, masked_error
from foleyflow.flow.one_step import one_step_loss
from foleyflow.flow.path import interpolate
from foleyflow.flow.progressive_distillation import Teacher, progressive_distillation_loss
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task
from foleyflow.training.tasks.flow_batches import ContextConfig, FlowBatches, FlowData, prepare

VALIDATION_WINDOWS = 192


@dataclass(frozen=True, kw_only=True)
class FlowStageConfig:
    """Stages of a run, and the conditions of its batches.

    Attributes:
        dcf_steps: steps of flow matching; the remaining steps train the one-step map.
        merge_steps: last steps before the polish, in which one jump learns the result of several
            jumps of the flow so far; 0 for none.
        merged_jumps: number of jumps that are merged into one.
        merged_steps: number of equal steps in which the result generates.
        polish_steps: last steps of the run, with distribution matching; 0 for none.
        critic_updates: updates of the critic in each of these steps.
        one_step_weight: weight of the one-step loss in these steps, which keeps sampling in few
            steps usable.
        sound_fraction: fraction of the windows without video that are cut from sounds.
        no_video_fraction: fraction of the other windows, which do not use their video.
        latent_noise: standard deviation of noise on the standardised latents. Without it the
            latents lie so close together that the flow is stiff near the audio, where solvers and
            the inverse fail. The codec's decoder was trained to tolerate 0.05. 0 for none.
    """

    dcf_steps: int = 1000
    merge_steps: int = 0
    merged_jumps: int = 4
    merged_steps: int = 1
    polish_steps: int = 0
    critic_updates: int = 2
    one_step_weight: float = 0.25
    sound_fraction: float = 0.0
    no_video_fraction: float = 0.0
    latent_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.latent_noise < 1:
            raise ConfigError(f"stages: latent_noise={self.latent_noise}: expected 0..1")
        if min(self.polish_steps, self.one_step_weight) < 0 or self.critic_updates < 1:
            raise ConfigError(
                f"stages: polish_steps={self.polish_steps} (at least 0), critic_updates="
                f"{self.critic_updates} (at least 1), one_step_weight={self.one_step_weight} "
                "(at least 0)"
            )
        if self.merge_steps < 0 or self.merged_jumps < 2 or self.merged_steps < 1:
            raise ConfigError(
                f"stages: merge_steps={self.merge_steps} (at least 0), merged_jumps="
                f"{self.merged_jumps} (at least 2), merged_steps={self.merged_steps} (at least 1)"
            )
        if self.dcf_steps < 0:
            raise ConfigError(f"stages: dcf_steps={self.dcf_steps}: expected at least 0")


class FlowTask(Task):
    """The flow as a `Task` of one phase; with a polish, the critic's phases come before it.

    The critic and the teacher start from the averaged flow at the first step of their stage, and
    they are part of the checkpoint.
    """

    def __init__(
        self,
        network: FlowTransformer,
        objective: ObjectiveConfig,
        stages: FlowStageConfig,
        *,
        steps: int,
        data: FlowData,
        validation_data: FlowData,
        context: ContextConfig | None = None,
        variation: CueVariation | None = None,
        scale: Tensor | None = None,
        real: FlowTransformer | None = None,
    ) -> None:
        """Fits the statistics of the latents and sets up the stages of a run of `steps` steps.

        Args:
            network: the flow.
            objective, stages: settings of the losses and of their order.
            steps: of the run.
            data, validation_data: sources of the windows.
            context: known latents of the windows.
            variation: of the cues.
            scale: (C,) standard deviations of the standardised latents; None for 1.
            real: the flow of real data in the polish; None for the averaged flow at its start.

        Raises:
            ConfigError: the stages do not fit the run or the network.
            DataError: the latents are not finite.
        """
        self.objective = objective
        self.stages = stages
        self.steps = steps
        self.phases: tuple[str, ...] = ("flow",)
        self.modules: dict[str, nn.Module] = {"flow": network}
        self._batches, self._validation = (
            FlowBatches(
                source,
                network.config,
                context=context or ContextConfig(),
                variation=variation or CueVariation(),
                sound_fraction=stages.sound_fraction,
                no_video_fraction=stages.no_video_fraction,
            )
            for source in (data, validation_data)
        )

        # Statistics of the latents
        windows = data.windows
        stride = max(1, len(windows.latents) // 2000)
        latents = torch.from_numpy(np.asarray(windows.latents[::stride], np.float32)).flatten(0, 1)
        if not latents.isfinite().all():
            raise DataError(
                "the latents of the training windows are not finite",
                hint="delete the folder .flow_conditions-train-... of the data set and rerun",
            )
        network.fit_latents_(latents, torch.ones(latents.shape[1]) if scale is None else scale)

        # Stages
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
                hint="raise train.steps, or lower the steps of a stage",
            )
        if stages.merge_steps:
            self.modules["teacher"] = Teacher(network)
        if stages.polish_steps:
            self.phases = ("critic",) * stages.critic_updates + ("flow",)
            self.modules["critic"] = Critic(network, real)

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random windows; see `FlowBatches.sample`."""
        return self.sample_part(rng, clips, np.arange(clips))

    def sample_part(self, rng: np.random.Generator, clips: int, items: NDArray[np.int64]) -> Batch:
        """Some windows of the batch; only these are read."""
        return self._batches.sample(rng, clips, items)

    def begin_step(self, step: int, averages: Modules) -> tuple[str, ...]:
        """All phases in the polish, else the flow's; starts the critic and the teacher.

        From the one-step stage on, the network records that it has a flow map.
        """
        network = flow_of(self.modules)
        if step >= self.stages.dcf_steps and network.config.predicts == "velocity":
            network.record_training_(guidance=self.objective.largest_guidance > 1)
        if step >= self._polish_from:
            self._start(self._critic, averages, is_first=step == self._polish_from)
            return self.phases
        if step >= self._merge_from:
            self._start(self._teacher, averages, is_first=step == self._merge_from)
        return ("flow",)

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """The loss of the step's stage: flow matching, one-step map, merging or polish.

        A network that predicts noise has DDPM's loss in all steps. The critic's loss is flow
        matching on one-step samples of the flow.
        """
        network, objective, stages = flow_of(self.modules), self.objective, self.stages
        audio, condition = prepare(network, batch, latent_noise=stages.latent_noise)

        # Diffusion baseline, and the critic
        if network.config.predicts == "noise":
            return diffusion_loss(network, audio, condition, objective)
        if phase == "critic":
            return critic_loss(self._critic.fake, network, audio, condition, objective)

        # Stage of this step
        if step < stages.dcf_steps:
            return flow_matching_loss(network, audio, condition, objective)
        if step < self._merge_from:
            progress = (step - stages.dcf_steps) / (self._merge_from - stages.dcf_steps)
            return one_step_loss(network, audio, condition, objective, progress=progress)
        if step < self._polish_from:
            return progressive_distillation_loss(
                network,
                self._teacher.flow,
                audio,
                condition,
                objective,
                teacher_steps=stages.merged_jumps,
                student_steps=stages.merged_steps,
            )
        matching, figures = distribution_matching_loss(
            network, self._critic.real, self._critic.fake, audio, condition, objective
        )
        one_step, one_step_figures = one_step_loss(
            network, audio, condition, objective, progress=1.0
        )
        return matching + stages.one_step_weight * one_step, {**figures, **one_step_figures}

    def validate(self, modules: Modules) -> Figures:
        """Errors of the network's prediction, and differences of samples from true latents."""
        network = flow_of(modules)
        device = next(network.parameters()).device

        # Windows with exact cues and without context
        count = min(VALIDATION_WINDOWS, len(self._validation.data.windows.clip))
        batch = self._validation.exact(np.arange(count))
        audio, condition = prepare(network, {k: v.to(device) for k, v in batch.items()})

        # Prediction at three levels of noise
        embedded = network.embed(condition)
        one = torch.ones(count, device=device)
        diffusion = network.config.predicts == "noise"
        path = DIFFUSION_PATH if diffusion else self.objective.path
        figures: Figures = {}
        for level in (0.3, 0.6, 0.9):
            tau = torch.full((count,), level, device=device)
            noise = torch.randn_like(audio)
            x, velocity = interpolate(audio, noise, tau, path)
            out = network(
                x, r=tau, tau=tau, guidance_scale=one, embedded=embedded, condition=condition
            )
            error = masked_error(out, noise if diffusion else velocity, condition.known)
            figures[f"{network.config.predicts}_error_{level}"] = float(error.mean())

        # Samples
        noise = torch.randn_like(audio)
        for steps in (4, 25) if diffusion else (1, 4):
            latents = sample(
                network, condition, noise, steps=steps, guidance=1.0, path=self.objective.path
            )
            figures[f"error_{steps}"] = float((latents - audio).square().mean())
            figures[f"deviation_{steps}"] = float(latents.std() / audio.std())
        return figures

    def export(self, modules: Modules) -> Exported:
        """The averaged network."""
        network = flow_of(modules)
        return {"flow": (network, asdict(network.config))}

    @property
    def _critic(self) -> Critic:
        return cast(Critic, self.modules["critic"])

    @property
    def _teacher(self) -> Teacher:
        return cast(Teacher, self.modules["teacher"])

    def _start(self, module: Critic | Teacher, averages: Modules, *, is_first: bool) -> None:
        """Copies the averaged flow into the networks of a refinement, once."""
        # A resumed run with fewer total steps may have skipped the first step of the stage.
        if is_first or not module.started:
            module.start_from_(averages["flow"])


def flow_of(modules: Modules) -> FlowTransformer:
    """The flow among a task's modules."""
    return cast(FlowTransformer, modules["flow"])
