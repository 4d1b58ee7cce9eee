"""Trains VAMA: hidden audio segments recovered from the video of the same moment.

Each clip's frames pass the frame encoder once and serve several mask draws. Terms with a weight
of 0 are not computed, so the same task trains the rivals too: contrast alone (CAVP), or labels
alone. The material term, and the onset term where it is told to, use labels that only simulated
clips have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.alignment.contrastive import contrast_losses
from foleyflow.alignment.losses import onset_loss, recovery_losses
from foleyflow.alignment.masking import sample_visible_mask, visible_frames
from foleyflow.alignment.model import Alignment
from foleyflow.alignment.targets import CodecLatents, FeatureTarget, LogMel, MelPatches, SlowStudent
from foleyflow.data.windows import WindowSource
from foleyflow.errors import ConfigError
from foleyflow.parallel.batch_sharding import rescale_to_global_mean, sample_for_full_batch
from foleyflow.training.task import Batch, Task
from foleyflow.training.tasks.alignment_validation import validation_figures

VALIDATION_BATCHES, VALIDATION_CLIPS = 6, 16
SHIFTS_S = tuple(round(0.1 * k, 1) for k in range(-4, 5))  # of the video, in the journal


@dataclass(frozen=True, kw_only=True)
class AlignLossConfig:
    """Masks and weights.

    Attributes:
        ratio: share of segments hidden.
        sampling: kept segments in "block"s, or one by one ("random").
        longest_block: kept blocks have up to this many segments.
        draws: mask draws of each clip.
        fully_masked_fraction: fraction of them, the last ones, with all audio hidden.
        latent, mel, energy: weights of the recovery terms.
        onset: weight of the term that says when something begins to sound.
        onset_from: found in the "sound" itself (`MelPatches.rises`), or the simulation's "labels".
        material: weight of the labelled material term; 0 for the paper's method.
        contrast, stretches: weights of the contrast between clips and within one; 0 for the
            paper's method.
    """

    ratio: float = 0.8
    sampling: Literal["block", "random"] = "block"
    longest_block: int = 4
    draws: int = 2
    fully_masked_fraction: float = 0.5
    latent: float = 1.0
    mel: float = 0.25
    energy: float = 0.5
    onset: float = 3.0
    onset_from: Literal["sound", "labels"] = "sound"
    material: float = 0.0
    contrast: float = 0.0
    stretches: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.ratio <= 1 and 0 <= self.fully_masked_fraction <= 1):
            raise ConfigError(
                f"losses: ratio={self.ratio}, "
                f"fully_masked_fraction={self.fully_masked_fraction}: expected 0..1"
            )
        if self.draws < 1 or self.longest_block < 1:
            raise ConfigError(
                f"losses: draws={self.draws}, longest_block={self.longest_block}: expected at "
                "least 1"
            )

    @property
    def recovers(self) -> bool:
        """Whether any term needs the decoder."""
        return any((self.latent, self.mel, self.energy, self.onset))

    @property
    def contrasts(self) -> bool:
        """Whether any term compares sound and video as wholes."""
        return bool(self.contrast or self.stretches)


class AlignTask(Task):
    """VAMA, or what it is compared with, as a `Task`; one turn."""

    turns = ("align",)

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
        """Takes the model and what it is trained on.

        Args:
            model: an aligner.
            losses: masks and weights.
            windows: training windows.
            held_out_windows: of other clips, to be measured.
            target: what hidden segments are recovered to; None for the windows' codec latents.
            patches: spectra as the student hears them; None for those of its own.

        Raises:
            ConfigError: a contrast term for a model without a space for it.
        """
        if losses.contrasts and not model.config.contrast_width:
            raise ConfigError(
                f"losses.contrast={losses.contrast}, losses.stretches={losses.stretches}: the "
                "model has no space to compare in",
                hint="set model.contrast_width=128",
            )
        self.losses = losses
        self.modules: dict[str, nn.Module] = {"align": model}
        self.windows = windows
        self.held_out_windows = held_out_windows
        self._mel = patches or MelPatches(
            model.config, LogMel(model.config, rate_hz=windows.rate_hz)
        )
        if target is None:
            if not bool(model.target_mean.any()):  # else trained, and it keeps its statistics
                latents = torch.from_numpy(windows.latents.astype(np.float32)).flatten(0, 1)
                model.target_mean.copy_(latents.mean(0))
                model.target_deviation.copy_(latents.std(0).clamp_min(1e-3))
            target = CodecLatents(model.target_mean.clone(), model.target_deviation.clone())
        elif isinstance(target, SlowStudent):
            self.modules["slow_student"] = target.module  # a resumed run needs it as it stood
        self._target = target

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """Augmented windows of random clips; see `WindowSource.draw`."""
        return self.windows.draw(rng, clips)

    def draw_rows(self, rng: np.random.Generator, clips: int, rows: NDArray[np.int64]) -> Batch:
        """Some of them; only these are cut and augmented."""
        return self.windows.draw(rng, clips, rows=rows)

    def begin_step(self, step: int, averages: Mapping[str, nn.Module]) -> tuple[str, ...]:
        """Tells the target of the student as it stands."""
        self._target.follow(cast(Alignment, self.modules["align"]))
        return self.turns

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of all terms, and each for itself."""
        model = cast(Alignment, self.modules["align"])
        self._mel.to(batch["sound"].device)
        features = model.watch(batch["pixels"], batch["times_s"], batch["present"])
        video = model.contextualise(features, batch["times_s"], batch["present"])
        with torch.autocast(video.device.type, enabled=False):
            mel = self._mel(batch["sound"])
        parts: dict[str, Tensor] = {}
        if self.losses.recovers:
            parts |= self._recovery(model, batch, video, mel)
        if self.losses.contrasts:
            parts |= contrast_losses(model, video, batch["times_s"], mel, present=batch["present"])
        if self.losses.material:
            materials = model.classify(video, batch["present"])
            with torch.autocast(video.device.type, enabled=False):
                known = functional.cross_entropy(materials, batch["material"], ignore_index=-1)
            parts["material"] = rescale_to_global_mean(
                torch.nan_to_num(known), (batch["material"] >= 0).sum()
            )
        total = sum(getattr(self.losses, name) * value for name, value in parts.items())
        return total, {name: float(value.detach()) for name, value in parts.items()}

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Monitors on some held-out windows; see `figures`."""
        model = cast(Alignment, modules["align"])
        rng = np.random.default_rng(1)
        batches = (
            self.held_out_windows.draw(rng, VALIDATION_CLIPS, plain=True)
            for _ in range(VALIDATION_BATCHES)
        )
        return self.figures(model, batches, shifts_s=SHIFTS_S)

    def figures(
        self, model: Alignment, batches: Iterable[Batch], *, shifts_s: tuple[float, ...]
    ) -> dict[str, float]:
        """Monitors of an aligner on windows; see `validation_figures`."""
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
        )

    @torch.no_grad()
    def example(self, model: Alignment) -> dict[str, NDArray[np.float32]]:
        """One held-out clip for the eye: as it is shown to the aligner, recovered, and true.

        The clip is in the middle by number of events, of those that have any. A recovered patch
        has no spread of its own, for it is recovered in normalised form: it is drawn with the
        mean spread of the clip's.

        Returns:
            "masked", "recovered", "true": (frames, bands) log-mel, NaN where hidden; "onsets",
            what is said of the video alone, and "rises", what the sound does: (L,) 0..1;
            "duration_s": ().
        """
        device = next(model.parameters()).device
        source, config = self.held_out_windows, model.config
        counts = np.array([len(times_s) for times_s in source.clips.event_times_s])
        order = np.argsort(counts, kind="stable")
        # Of real clips no events are known: any will do.
        middle = order[min((len(order) + np.count_nonzero(counts == 0)) // 2, len(order) - 1)]
        batch = {
            key: value.to(device)
            for key, value in source.cut(np.array([middle]), np.zeros(1, np.int64), None).items()
        }
        times_s, segments = batch["times_s"], self.windows.segments
        video = model.contextualise(model.watch(batch["pixels"], times_s), times_s)
        mel = self._mel.to(device)(batch["sound"])
        kept = sample_visible_mask(
            1,
            segments,
            ratio=self.losses.ratio,
            longest_block=self.longest_block,
            generator=torch.Generator().manual_seed(0),
        ).to(device)
        masked = model.recover(video, times_s, mel=mel, kept=kept, segments=segments)
        alone = model.recover(video, times_s, mel=None, kept=None, segments=segments)
        patches = mel.unflatten(1, (segments, -1)).flatten(2)
        spread = patches.std(-1).mean() + 0.1
        drawn = masked.mel[..., :-1] * spread + masked.mel[..., -1:]
        frames = kept.repeat_interleave(config.mel_frames_per_segment, dim=1)[..., None]
        shown = visible_frames(kept, config.mel_frames_per_segment)[..., None]
        recovered = drawn.reshape(1, segments * config.mel_frames_per_segment, -1)
        arrays = {
            "masked": torch.where(shown, mel, torch.nan)[0],
            "recovered": torch.where(frames, mel, recovered)[0],
            "true": mel[0],
            "onsets": alone.onsets[0].sigmoid(),
            "rises": self._mel.rises(mel)[0],
            "duration_s": torch.tensor(segments * config.segment_s),
        }
        return {name: value.float().cpu().numpy() for name, value in arrays.items()}

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """The averaged aligner with its frame encoder inside."""
        model = cast(Alignment, modules["align"])
        config = {"model": asdict(model.config), "encoder": asdict(model.encoder.config)}
        if model.student is not None:
            config["student"] = asdict(model.student.config)
        return {"align": (model, config)}

    @property
    def longest_block(self) -> int:
        """Segments in the longest kept block."""
        return self.losses.longest_block if self.losses.sampling == "block" else 1

    def _recovery(
        self, model: Alignment, batch: Batch, video: Tensor, mel: Tensor
    ) -> dict[str, Tensor]:
        settings, segments = self.losses, self.windows.segments

        def masks(rows: int) -> Tensor:
            """(rows, draws, S): the draws of all rows come one after the other."""
            kept = sample_visible_mask(
                settings.draws * rows,
                segments,
                ratio=settings.ratio,
                longest_block=self.longest_block,
                fully_masked_fraction=settings.fully_masked_fraction,
                generator=torch.default_generator,
            )
            return kept.unflatten(0, (settings.draws, rows)).transpose(0, 1)

        kept = (
            sample_for_full_batch(masks, len(video)).transpose(0, 1).flatten(0, 1).to(video.device)
        )

        def tiled(tensor: Tensor) -> Tensor:
            return tensor.repeat(settings.draws, *[1] * (tensor.ndim - 1))

        recovered = model.recover(
            tiled(video),
            tiled(batch["times_s"]),
            mel=tiled(mel),
            kept=kept,
            segments=segments,
            present=tiled(batch["present"]),
        )
        with torch.autocast(video.device.type, enabled=False):
            parts = recovery_losses(
                recovered,
                latents=tiled(self._target(batch, mel)),
                mel=tiled(self._mel.targets(mel)),
                hidden=~kept,
            )
            from_sound = settings.onset_from == "sound"
            onsets = self._mel.rises(mel) if from_sound else batch["onsets"]
            parts["onset"] = onset_loss(recovered.onsets, tiled(onsets), ~kept)
        return parts
