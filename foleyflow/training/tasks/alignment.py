"""Trains VAMA: hidden audio segments are recovered from the video at the same time.

The frames of a clip are encoded once for several masks. Terms with a weight of 0 are not computed,
so that the same task trains the baselines: contrast alone (CAVP) or labels alone.
The material term and, with `onset_from="labels"`, the onset term need labels, which only simulated
clips have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.alignment.attributes import CueAttributes, attribute_losses
from foleyflow.alignment.contrastive import (
    ContrastiveLosses,
    Pooling,
    contrastive_losses,
    part_embeddings,
    sharpness_of,
)
from foleyflow.alignment.losses import onset_loss, reconstruction_losses
from foleyflow.alignment.masking import (
    sample_visible_mask,
    shortest_block,
    visible_fraction,
    visible_frames,
)
from foleyflow.alignment.model import Alignment
from foleyflow.alignment.targets import (
    CodecLatents,
    FeatureTarget,
    MelPatches,
    SegmentLogMel,
    SlowStudent,
)
from foleyflow.data.windows import WindowSource
from foleyflow.errors import ConfigError
from foleyflow.parallel.batch_sharding import rescale_to_global_mean, sample_for_full_batch
from foleyflow.training.alignment_plots import plot_run
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task, weighted_sum
from foleyflow.training.tasks.alignment_validation import validation_figures

VALIDATION_BATCHES, VALIDATION_CLIPS = 6, 16
STATISTICS_CLIPS = 20_000  # whose latents are standardised; of up to twice as many, all are
SHIFTS_S = tuple(round(0.1 * k, 1) for k in range(-4, 5))  # of the video, in the journal


@dataclass(frozen=True, kw_only=True)
class AlignLossConfig:
    """Masks and weights of the loss terms.

    Attributes:
        ratio: fraction of the spectrogram frames that are hidden, guard frames included.
        sampling: visible segments form "block"s of random lengths, or blocks of the shortest
            length that shows a frame ("random"; see `masking.shortest_block`).
        longest_block: largest number of segments in a visible block.
        masks_per_clip: number of masks of each clip.
        fully_masked_fraction: fraction of the masks, the last ones, that hide all audio.
        latent, mel, energy: weights of the recovery terms.
        onset: weight of the onset term.
        onset_from: onsets are detected in the "sound" (`MelPatches.onset_strength`), or are the
            "labels" of the simulation.
        material: weight of the labelled material term; 0 in the paper.
        cue_level, cue_material, friction: weights of the labelled terms of
            `attributes.attribute_losses`; 0 in the paper.
        contrast, stretches: weights of the contrast between clips and within a clip; 0 in the
            paper.
        contrast_parts: equal parts of a window that contrast compares.
        contrast_pooling: of the features of a part over time, "mean" or "max".
    """

    ratio: float = 0.8
    sampling: Literal["block", "random"] = "block"
    longest_block: int = 4
    masks_per_clip: int = 2
    fully_masked_fraction: float = 0.5
    latent: float = 1.0
    mel: float = 0.25
    energy: float = 0.5
    onset: float = 3.0
    onset_from: Literal["sound", "labels"] = "sound"
    material: float = 0.0
    cue_level: float = 0.0
    cue_material: float = 0.0
    friction: float = 0.0
    contrast: float = 0.0
    stretches: float = 0.0
    contrast_parts: int = 3
    contrast_pooling: Pooling = "max"

    def __post_init__(self) -> None:
        if not (0 <= self.ratio <= 1 and 0 <= self.fully_masked_fraction <= 1):
            raise ConfigError(
                f"losses: ratio={self.ratio}, "
                f"fully_masked_fraction={self.fully_masked_fraction}: expected 0..1"
            )
        if self.masks_per_clip < 1 or self.longest_block < 1:
            raise ConfigError(
                f"losses: masks_per_clip={self.masks_per_clip}, longest_block="
                f"{self.longest_block}: expected at least 1"
            )
        if self.contrast_parts < 1 + bool(self.stretches):
            raise ConfigError(
                f"losses: contrast_parts={self.contrast_parts}: expected at least "
                f"{1 + bool(self.stretches)} with stretches={self.stretches}"
            )

    @property
    def recovers(self) -> bool:
        """Whether any term needs the decoder."""
        return any((self.latent, self.mel, self.energy, self.onset))

    @property
    def predicts_attributes(self) -> bool:
        """Whether any term needs the attributes of cues."""
        return any((self.cue_level, self.cue_material, self.friction))

    @property
    def contrasts(self) -> bool:
        """Whether any term contrasts pairs of sound and video."""
        return bool(self.contrast or self.stretches)


class AlignTask(Task):
    """VAMA or one of its baselines as a `Task` of one phase."""

    phases = ("align",)

    def __init__(
        self,
        model: Alignment,
        losses: AlignLossConfig,
        *,
        windows: WindowSource,
        held_out_windows: WindowSource,
        target: FeatureTarget | None = None,
        patches: MelPatches | None = None,
    ) -> None:
        """Prepares the targets, and fits the statistics of the latents for an untrained model.

        Args:
            model: an aligner.
            losses: masks and weights.
            windows: training windows.
            held_out_windows: validation windows of other clips.
            target: features that hidden segments are recovered as; None for the codec latents.
            patches: spectra at the student's input; None for the model's own.

        Raises:
            ConfigError: a contrast term for a model without a contrast space, or terms of cues for
                a model that does not predict their attributes.
        """
        if losses.contrasts and not model.config.contrast_width:
            raise ConfigError(
                f"losses.contrast={losses.contrast}, losses.stretches={losses.stretches}: the "
                "model has no contrast space",
                hint="set model.contrast_width=128",
            )
        if losses.predicts_attributes and not model.config.predicts_attributes:
            raise ConfigError(
                f"losses.cue_level={losses.cue_level}, losses.cue_material={losses.cue_material}, "
                f"losses.friction={losses.friction}: the model does not predict attributes of cues",
                hint="set model.predicts_attributes=true",
            )
        self.losses = losses
        self.modules: dict[str, nn.Module] = {"align": model}
        self.windows = windows
        self.held_out_windows = held_out_windows
        self._mel = patches or MelPatches(
            model.config, SegmentLogMel(model.config, rate_hz=windows.rate_hz)
        )
        if target is None:
            if not bool(model.target_mean.any()):  # a trained model keeps its statistics
                stride = max(1, len(windows.latents) // STATISTICS_CLIPS)
                latents = torch.from_numpy(np.asarray(windows.latents[::stride], np.float32))
                latents = latents.flatten(0, 1)
                model.target_mean.copy_(latents.mean(0))
                model.target_deviation.copy_(latents.std(0).clamp_min(1e-3))
            target = CodecLatents(model.target_mean.clone(), model.target_deviation.clone())
        elif isinstance(target, SlowStudent):
            self.modules["slow_student"] = target.module  # a resumed run needs its weights
        self._target = target

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Augmented windows of random clips, from `WindowSource.draw`."""
        return self.windows.draw(rng, clips)

    def sample_part(self, rng: np.random.Generator, clips: int, items: NDArray[np.int64]) -> Batch:
        """Some windows of the batch; only these are cut and augmented."""
        return self.windows.draw(rng, clips, rows=items)

    def begin_step(self, step: int, averages: Modules) -> tuple[str, ...]:
        """Updates the target if it follows the student."""
        self._target.update(aligner_of(self.modules))
        return self.phases

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """The weighted sum of all terms; and each term, and monitors.

        Monitors: "visible_fraction" of the frames over all masks of the step, also those that hide
        everything; "contrast_chance", the term "contrast" of uninformative embeddings.
        """
        return self.loss_of(aligner_of(self.modules), batch)

    def loss_of(self, model: Alignment, batch: Batch) -> tuple[Tensor, Figures]:
        """The same of any aligner of the task's configuration, such as the averaged one."""
        self._mel.to(batch["sound"].device)

        # Video features and spectra
        features = model.encode_video(batch["pixels"], present=batch["present"])
        video = model.add_temporal_context(features, batch["times_s"], batch["present"])
        with torch.autocast(video.device.type, enabled=False):
            mel = self._mel(batch["sound"])

        # Loss terms
        terms: dict[str, Tensor] = {}
        monitors: Figures = {}
        if self.losses.recovers:
            visible = self._sample_masks(len(video)).to(video.device)
            terms |= self._recovery(model, batch, video, mel, visible)
            monitors["visible_fraction"] = visible_fraction(visible, self._frames_per_segment)
        if self.losses.contrasts:
            contrast = self._contrast(model, batch, features, mel)
            terms |= {"contrast": contrast.contrast, "stretches": contrast.stretches}
            monitors["contrast_chance"] = contrast.chance
        if self.losses.material:
            materials = model.classify_material(video, batch["present"])
            with torch.autocast(video.device.type, enabled=False):
                mean = functional.cross_entropy(materials, batch["material"], ignore_index=-1)
            terms["material"] = rescale_to_global_mean(
                torch.nan_to_num(mean), (batch["material"] >= 0).sum()
            )
        if self.losses.predicts_attributes:
            terms |= self._attributes(model, batch, video)
        weighted = {name: value for name, value in terms.items() if getattr(self.losses, name)}
        total, figures = weighted_sum(weighted, self.losses)
        return total, figures | monitors

    def validate(self, modules: Modules) -> Figures:
        """Monitors on some held-out windows; see `figures`."""
        rng = np.random.default_rng(1)
        batches = (
            self.held_out_windows.draw(rng, VALIDATION_CLIPS, plain=True)
            for _ in range(VALIDATION_BATCHES)
        )
        return self.figures(aligner_of(modules), batches, shifts_s=SHIFTS_S)

    def figures(
        self, model: Alignment, batches: Iterable[Batch], *, shifts_s: tuple[float, ...]
    ) -> Figures:
        """Monitors of an aligner on batches of windows; see `validation_figures`."""
        device = next(model.parameters()).device
        self._mel.to(device)
        return validation_figures(
            model,
            ({key: value.to(device) for key, value in batch.items()} for batch in batches),
            mel_of=self._mel,
            target=self._target,
            ratio=self.losses.ratio,
            longest_block=self.longest_block,
            shifts_s=shifts_s,
            contrast=self._contrast if self.losses.contrasts else None,
        )

    @torch.no_grad()
    def example(self, model: Alignment) -> dict[str, NDArray[np.float32]]:
        """One held-out clip as masked, recovered and true spectrogram, for a plot.

        The clip has the median number of events among the clips with events. Patches are recovered
        in normalised form, so they are shown with the mean spread of the clip's patches.

        Returns:
            "masked", "recovered", "true": (frames, bands) log-mel, NaN where hidden; "onsets"
            predicted from the video alone and "rises" of the sound: (L,) 0..1; "duration_s": ().
        """
        config, segments = model.config, self.windows.segments
        batch = self._example_batch(next(model.parameters()).device)

        # Recovery of one mask, and onsets with all audio hidden
        times_s = batch["times_s"]
        video = model.add_temporal_context(model.encode_video(batch["pixels"]), times_s)
        mel = self._mel.to(video.device)(batch["sound"])
        visible = sample_visible_mask(
            1,
            segments,
            frames_per_segment=config.mel_frames_per_segment,
            ratio=self.losses.ratio,
            longest_block=self.longest_block,
            generator=torch.Generator().manual_seed(0),
        ).to(video.device)
        masked = model.reconstruct(video, times_s, mel=mel, visible=visible, segments=segments)
        alone = model.reconstruct(video, times_s, segments=segments)

        # Recovered patches as a spectrogram
        patches = mel.unflatten(1, (segments, -1)).flatten(2)
        spread = patches.std(-1).mean() + 0.1
        recovered = masked.mel[..., :-1] * spread + masked.mel[..., -1:]
        recovered = recovered.reshape(1, segments * config.mel_frames_per_segment, -1)
        frames = visible.repeat_interleave(config.mel_frames_per_segment, dim=1)[..., None]
        shown = visible_frames(visible, config.mel_frames_per_segment)[..., None]
        arrays = {
            "masked": torch.where(shown, mel, torch.nan)[0],
            "recovered": torch.where(frames, mel, recovered)[0],
            "true": mel[0],
            "onsets": alone.onsets[0].sigmoid(),
            "rises": self._mel.onset_strength(mel)[0],
            "duration_s": torch.tensor(segments * config.segment_s),
        }
        return {name: value.float().cpu().numpy() for name, value in arrays.items()}

    def export(self, modules: Modules) -> Exported:
        """The averaged aligner, including its frame encoder."""
        model = aligner_of(modules)
        config = {"model": asdict(model.config), "encoder": asdict(cast(Any, model.encoder.config))}
        if model.student is not None:
            config["student"] = asdict(cast(Any, model.student.config))
        return {"align": (model, config)}

    def plot(self, folder: Path, journal: Sequence[Mapping[str, Any]], modules: Modules) -> None:
        """Plots the recovery of one clip, and the monitors over the steps."""
        plot_run(folder, journal, self.example(aligner_of(modules)))

    @property
    def longest_block(self) -> int:
        """Segments in the longest visible block."""
        if self.losses.sampling == "block":
            return self.losses.longest_block
        return shortest_block(self._frames_per_segment)

    @property
    def _frames_per_segment(self) -> int:
        return aligner_of(self.modules).config.mel_frames_per_segment

    def _example_batch(self, device: torch.device) -> Batch:
        source = self.held_out_windows
        counts = np.array([len(times_s) for times_s in source.clips.event_times_s])
        order = np.argsort(counts, kind="stable")
        # Real clips have no labelled events; then any clip will do.
        middle = min((len(order) + int(np.count_nonzero(counts == 0))) // 2, len(order) - 1)
        batch = source.cut(order[middle : middle + 1], np.zeros(1, np.int64), None)
        return {key: value.to(device) for key, value in batch.items()}

    def _sample_masks(self, clips: int) -> Tensor:
        """Visible segments for each mask of each clip, (masks * clips, S) bool, on the CPU.

        The first masks of all clips come before their second ones, in the full batch too, so that
        the last masks are those that hide everything.
        """
        losses, masks = self.losses, self.losses.masks_per_clip

        def sample(clips: int) -> Tensor:
            """(clips, masks, S)"""
            visible = sample_visible_mask(
                masks * clips,
                self.windows.segments,
                frames_per_segment=self._frames_per_segment,
                ratio=losses.ratio,
                longest_block=self.longest_block,
                fully_masked_fraction=losses.fully_masked_fraction,
                generator=torch.default_generator,
            )
            return visible.unflatten(0, (masks, clips)).transpose(0, 1)

        return sample_for_full_batch(sample, clips).transpose(0, 1).flatten(0, 1)

    def _contrast(
        self,
        model: Alignment,
        batch: Batch,
        features: Tensor,
        mel: Tensor,
    ) -> ContrastiveLosses:
        video, audio = part_embeddings(
            model,
            features,
            batch["times_s"],
            mel,
            parts=self.losses.contrast_parts,
            pooling=self.losses.contrast_pooling,
            present=batch["present"],
        )
        with torch.autocast(mel.device.type, enabled=False):  # similarities need float32
            return contrastive_losses(video, audio, sharpness_of(model))

    def _recovery(
        self, model: Alignment, batch: Batch, video: Tensor, mel: Tensor, visible: Tensor
    ) -> dict[str, Tensor]:
        """Terms over the masked segments of `visible`, (masks * clips, S) bool."""
        losses, masks = self.losses, self.losses.masks_per_clip

        def repeat(tensor: Tensor) -> Tensor:
            """Repeats the clips once per mask."""
            return tensor.repeat(masks, *[1] * (tensor.ndim - 1))

        recovered = model.reconstruct(
            repeat(video),
            repeat(batch["times_s"]),
            mel=repeat(mel),
            visible=visible,
            segments=self.windows.segments,
            present=repeat(batch["present"]),
        )
        terms: dict[str, Tensor] = {}
        with torch.autocast(video.device.type, enabled=False):
            if losses.latent or losses.mel or losses.energy:
                terms |= reconstruction_losses(
                    recovered,
                    latents=repeat(self._target(batch, mel)),
                    mel=repeat(self._mel.targets(mel)),
                    masked=~visible,
                )
            if losses.onset:
                from_sound = losses.onset_from == "sound"
                onsets = self._mel.onset_strength(mel) if from_sound else batch["onsets"]
                terms["onset"] = onset_loss(recovered.onsets, repeat(onsets), ~visible)
        return terms

    def _attributes(self, model: Alignment, batch: Batch, video: Tensor) -> dict[str, Tensor]:
        """Terms of the attributes of cues, with all audio masked as in stage two."""
        times_s, present = batch["times_s"], batch["present"]
        hidden = model.reconstruct(video, times_s, segments=self.windows.segments, present=present)
        predicted = model.predict_attributes(video, times_s, hidden.states, present)
        with torch.autocast(video.device.type, enabled=False):
            return attribute_losses(cast(CueAttributes, predicted), batch)


def aligner_of(modules: Modules) -> Alignment:
    """The aligner among a task's modules."""
    return cast(Alignment, modules["align"])
