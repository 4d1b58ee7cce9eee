"""Trains a judge of synchrony on simulated clips with matching, shifted and other clips' sounds.

Each window of a video is paired with three sounds: its own, its own at a wrong time (a third of the
shifts are small) and that of the next clip of the batch. A wrong pair without any event in video or
sound can't be recognised and is ignored. The simulated onsets are an auxiliary target; without them
a judge of this size takes ten times as long to train.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foleyflow.data.augmentation import augment
from foleyflow.data.windows import ClipArrays, WindowSource
from foleyflow.errors import ConfigError
from foleyflow.event_peaks import event_track
from foleyflow.features.mel_levels import augment_levels
from foleyflow.judges.networks.log_mel import FRAME_RATE_HZ, normalise_to_peak
from foleyflow.judges.networks.sync import Sync, resize_frames, sync_probability
from foleyflow.judges.networks.time_shifts import (
    LARGE_SHIFTS_S,
    SMALL_SHIFT_FRACTION,
    SMALL_SHIFTS_S,
)
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task

VALIDATION_BATCHES, VALIDATION_CLIPS = 8, 16
MATCHING, SHIFTED, OTHER = range(3)  # classes of pairs
IGNORED = -1


@dataclass(frozen=True, kw_only=True)
class SyncLossConfig:
    """Training settings of the judge.

    Attributes:
        smallest_shift_s, small_shift_s, largest_shift_s: small shifts are between the first two,
            all others between the last two, as far as the clip allows.
        small_shift_fraction: fraction of small shifts.
        onset: weight of the onset terms of video and sound; 0 for none.
        disturbance: strength of the changes that imitate another recording.
        augment: changes colours, framing and side of the frames.
    """

    smallest_shift_s: float = SMALL_SHIFTS_S[0]
    small_shift_s: float = SMALL_SHIFTS_S[1]
    largest_shift_s: float = LARGE_SHIFTS_S[1]
    small_shift_fraction: float = SMALL_SHIFT_FRACTION
    onset: float = 1.0
    disturbance: float = 1.0
    augment: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.smallest_shift_s < self.small_shift_s < self.largest_shift_s:
            raise ConfigError(
                f"shifts {self.smallest_shift_s}, {self.small_shift_s}, {self.largest_shift_s}: "
                "expected three numbers of seconds above 0 in ascending order"
            )


class SyncTask(Task):
    """The judge of synchrony as a `Task` of one phase."""

    phases = ("sync",)

    def __init__(
        self,
        model: Sync,
        losses: SyncLossConfig,
        *,
        windows: WindowSource,
        levels: NDArray[np.float16],
        validation_windows: WindowSource,
        validation_levels: NDArray[np.float16],
    ) -> None:
        self.losses = losses
        self.modules = {"sync": model}
        self._train = windows, levels
        self._validation = validation_windows, validation_levels

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Windows of videos with the starts of three sounds each."""
        return self._sample(rng, clips, *self._train, plain=False)

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """Cross-entropy of the pairs' classes, and of the onsets in video and sound."""
        model = _judge_of(self.modules)
        video, sound, logits, classes = _compare_pairs(model, batch)
        with torch.autocast(video.device.type, enabled=False):
            pair_loss = functional.cross_entropy(
                logits.float(), classes, ignore_index=IGNORED, label_smoothing=0.05
            )
            terms = {"pair": torch.nan_to_num(pair_loss)}
            for name, head, features in (
                ("video_onsets", model.video_onsets, video),
                ("sound_onsets", model.audio_onsets, sound),
            ):
                predicted = head(features.float())[..., 0]
                terms[name] = functional.binary_cross_entropy_with_logits(
                    predicted, batch[name], pos_weight=predicted.new_tensor(4.0)
                )
        onsets = terms["video_onsets"] + terms["sound_onsets"]
        total = terms["pair"] + self.losses.onset * onsets
        return total, {name: float(value.detach()) for name, value in terms.items()}

    def validate(self, modules: Modules) -> Figures:
        """The `figures` on some pairs."""
        return self.figures(modules, batches=VALIDATION_BATCHES)

    def figures(self, modules: Modules, *, batches: int) -> Figures:
        """Accuracy of the three classes, and of "in sync" against the others per class.

        Each window of the `batches` batches is paired with three sounds.
        """
        model = _judge_of(modules)
        device = next(model.parameters()).device
        rng = np.random.default_rng(1)
        found: list[tuple[Tensor, Tensor]] = []
        for _ in range(batches):
            batch = self._sample(rng, VALIDATION_CLIPS, *self._validation, plain=True)
            _, _, logits, classes = _compare_pairs(
                model, {key: value.to(device) for key, value in batch.items()}
            )
            used = classes != IGNORED
            found.append((logits[used].float().cpu(), classes[used].cpu()))
        logits, classes = (torch.cat(each) for each in zip(*found, strict=True))
        positive = (sync_probability(logits) > 0.5).float()
        rates = {
            "true_positive": float(positive[classes == MATCHING].mean()),
            "shifted_false_positive": float(positive[classes == SHIFTED].mean()),
            "other_false_positive": float(positive[classes == OTHER].mean()),
        }
        negatives = (1 - rates["shifted_false_positive"], 1 - rates["other_false_positive"])
        return {
            **rates,
            "three_way_accuracy": float((logits.argmax(1) == classes).float().mean()),
            # As many matching pairs as wrong ones, half of which are shifted
            "balanced_accuracy": (rates["true_positive"] + sum(negatives) / 2) / 2,
        }

    def export(self, modules: Modules) -> Exported:
        """The averaged judge, including its frame encoder."""
        model = _judge_of(modules)
        config = {"model": asdict(model.config), "encoder": asdict(model.encoder.config)}
        return {"sync": (model, config)}

    def _sample(
        self,
        rng: np.random.Generator,
        clips: int,
        source: WindowSource,
        levels: NDArray[np.float16],
        *,
        plain: bool,
    ) -> Batch:
        model = _judge_of(self.modules)
        config, grid_hz = model.config, model.config.grid_rate_hz

        # Windows of videos
        chosen = source.draw(rng, clips, plain=True)["clip"].numpy()
        first_segments = rng.integers(source.spare + 1, size=clips)
        windows = source.cut(chosen, first_segments, None)
        frames = windows["pixels"]
        pixels = resize_frames(frames.flatten(0, 1), model.encoder.config.size)
        pixels = pixels.unflatten(0, frames.shape[:2])
        if self.losses.augment and not plain:
            pixels = torch.stack([_augment(pictures, rng) for pictures in pixels])

        # Starts of the three sounds of each window, in grid steps
        starts_s = first_segments * source.config.segment_s
        grid_steps = int(levels.shape[1] * grid_hz / FRAME_RATE_HZ)
        last = grid_steps - config.steps
        own = np.minimum(np.round(starts_s * grid_hz).astype(np.int64), last)
        shifted = np.array([self._sample_shifted(rng, start, last, grid_hz) for start in own])
        other = rng.integers(last + 1, size=clips)

        # Classes of the pairs; those without any event are ignored
        def has_event(clip: int, start_s: float) -> bool:
            return _has_event(source.clips, clip, start_s, config.window_s)

        classes = np.tile(np.array([MATCHING, SHIFTED, OTHER]), (clips, 1))
        for item, clip in enumerate(chosen):
            next_clip = chosen[(item + 1) % clips]
            in_video = has_event(clip, starts_s[item])
            if shifted[item] < 0 or not (in_video or has_event(clip, shifted[item] / grid_hz)):
                classes[item, SHIFTED] = IGNORED
            if not (in_video or has_event(next_clip, other[item] / grid_hz)):
                classes[item, OTHER] = IGNORED

        # Levels and onset tracks
        sounds = [levels[clip].astype(np.float32) for clip in chosen]
        if not plain:
            sounds = [
                augment_levels(sound, rng, strength=self.losses.disturbance) for sound in sounds
            ]
        times_s = [source.clips.event_times_s[clip] for clip in chosen]
        video_onsets = [
            event_track(events_s - start_s, config.steps, grid_hz)
            for events_s, start_s in zip(times_s, starts_s, strict=True)
        ]
        sound_onsets = [event_track(events_s, grid_steps, grid_hz) for events_s in times_s]
        return {
            "pixels": pixels,
            "times_s": windows["times_s"],
            "levels": torch.from_numpy(np.stack(sounds)),
            "starts": torch.from_numpy(np.maximum(np.stack([own, shifted, other], 1), 0)),
            "classes": torch.from_numpy(classes),
            "video_onsets": torch.from_numpy(np.stack(video_onsets)),
            "sound_onsets": torch.from_numpy(np.stack(sound_onsets)),
        }

    def _sample_shifted(self, rng: np.random.Generator, own: int, last: int, grid_hz: float) -> int:
        """The start of a shifted sound in grid steps; -1 if no shift fits."""
        losses = self.losses
        if rng.random() < losses.small_shift_fraction:
            low_s, high_s = losses.smallest_shift_s, losses.small_shift_s
        else:
            low_s, high_s = losses.small_shift_s, losses.largest_shift_s
        starts = np.arange(last + 1)
        shifts_s = np.abs(starts - own) / grid_hz
        for least_s in (low_s, losses.smallest_shift_s):
            fitting = starts[(shifts_s >= least_s - 1e-9) & (shifts_s <= high_s + 1e-9)]
            if len(fitting):
                return int(rng.choice(fitting))
        return -1


def _judge_of(modules: Modules) -> Sync:
    return cast(Sync, modules["sync"])


def _compare_pairs(model: Sync, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of the videos and of the complete sounds, logits and classes of all pairs."""
    steps = model.config.steps
    video = model.encode_video(batch["pixels"], batch["times_s"], steps)
    sound = model.encode_audio(normalise_to_peak(batch["levels"]))
    clips = torch.arange(len(video), device=video.device)
    sources = torch.cat([clips, clips, clips.roll(-1)])
    starts = torch.cat(batch["starts"].unbind(1))
    positions = starts[:, None] + torch.arange(steps, device=video.device)
    logits = model.compare(video.repeat(3, 1, 1), sound[sources[:, None], positions])
    return video, sound, logits, torch.cat(batch["classes"].unbind(1))


def _has_event(clips: ClipArrays, clip: int, start_s: float, window_s: float) -> bool:
    times_s = clips.event_times_s[clip]
    return bool(((times_s >= start_s) & (times_s < start_s + window_s)).any())


def _augment(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    changed = augment(pictures.permute(0, 2, 3, 1).numpy(), rng)
    return torch.from_numpy(np.ascontiguousarray(changed)).permute(0, 3, 1, 2)
