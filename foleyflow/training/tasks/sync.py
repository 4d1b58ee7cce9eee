"""Trains a judge of synchrony on simulated clips: true, shifted and other clips' sounds.

Each window of a video is seen once and paired with three sounds: its own, its own at the wrong
time (a third of the shifts are small) and that of the next clip of the batch. A pair in which
nothing happens on either side has no wrong time, so it is left out. Onsets that the simulation
knows are asked for beside it; without them a judge of this size takes ten times as long to learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.data.augmentation import augment
from foleyflow.data.windows import ClipArrays, WindowSource
from foleyflow.errors import ConfigError
from foleyflow.event_peaks import event_track
from foleyflow.features.mel_levels import disturbed
from foleyflow.judges.networks.log_mel import FRAME_RATE_HZ, relative
from foleyflow.judges.networks.sync import Sync, in_sync, shrunk
from foleyflow.judges.networks.time_shifts import LARGE_SHIFTS_S, SMALL_SHARE, SMALL_SHIFTS_S
from foleyflow.training.task import Batch, Task

VALIDATION_BATCHES, VALIDATION_CLIPS = 8, 16
LEFT_OUT = -1


@dataclass(frozen=True, kw_only=True)
class SyncLossConfig:
    """What the judge is trained on.

    Attributes:
        smallest_shift_s, small_shift_s, largest_shift_s: small shifts lie between the first two,
            all others between the last two; each as far as the clip reaches.
        small_share: share of small shifts.
        onset: weight of the onsets asked for in video and in sound; 0 for none.
        disturbance: strength of changes to the sound that another recording might make.
        augment: change the pictures' colours, framing and side.
    """

    smallest_shift_s: float = SMALL_SHIFTS_S[0]
    small_shift_s: float = SMALL_SHIFTS_S[1]
    largest_shift_s: float = LARGE_SHIFTS_S[1]
    small_share: float = SMALL_SHARE
    onset: float = 1.0
    disturbance: float = 1.0
    augment: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.smallest_shift_s < self.small_shift_s < self.largest_shift_s:
            raise ConfigError(
                f"shifts {self.smallest_shift_s}, {self.small_shift_s}, {self.largest_shift_s}: "
                "expected three seconds above 0 in ascending order"
            )


class SyncTask(Task):
    """The judge of synchrony as a `Task`; one turn."""

    turns = ("sync",)

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
        self._splits = {
            "train": (windows, levels),
            "validation": (validation_windows, validation_levels),
        }

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """Windows of videos with the starts of three sounds each."""
        return self._draw(rng, clips, split="train")

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the answers, and of the onsets on both sides."""
        model = self.modules["sync"]
        video, sound, logits, answers = self._judged(model, batch)
        with torch.autocast(video.device.type, enabled=False):
            answer = functional.cross_entropy(
                logits.float(), answers, ignore_index=LEFT_OUT, label_smoothing=0.05
            )
            parts = {"answer": torch.nan_to_num(answer)}
            for name, head, features in (
                ("seen", model.seen_onsets, video),
                ("heard", model.detected_onsets, sound),
            ):
                found = head(features.float())[..., 0]
                parts[name] = functional.binary_cross_entropy_with_logits(
                    found, batch[f"{name}_onsets"], pos_weight=found.new_tensor(4.0)
                )
        total = parts["answer"] + self.losses.onset * (parts["seen"] + parts["heard"])
        return total, {name: float(value.detach()) for name, value in parts.items()}

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """See `figures`, on some pairs."""
        return self.figures(modules, batches=VALIDATION_BATCHES)

    def figures(self, modules: Mapping[str, nn.Module], *, batches: int) -> dict[str, float]:
        """Accuracy of the three answers, and of "in sync" against the rest, per kind of pair.

        Args:
            modules: with the judge.
            batches: of held-out windows; each window is asked about with three sounds.
        """
        model = modules["sync"]
        device = next(model.parameters()).device
        rng = np.random.default_rng(1)
        answered: list[Tensor] = []
        true: list[Tensor] = []
        for _ in range(batches):
            drawn = self._draw(rng, VALIDATION_CLIPS, split="validation")
            _, _, logits, answers = self._judged(model, {k: v.to(device) for k, v in drawn.items()})
            kept = answers != LEFT_OUT
            answered.append(logits[kept].float().cpu())
            true.append(answers[kept].cpu())
        logits, answer = torch.cat(answered), torch.cat(true)
        taken_for_true = in_sync(logits) > 0.5
        shares = {
            "true_positive": float(taken_for_true[answer == 0].float().mean()),
            "shifted_false_positive": float(taken_for_true[answer == 1].float().mean()),
            "other_false_positive": float(taken_for_true[answer == 2].float().mean()),
        }
        right = (1 - shares["shifted_false_positive"], 1 - shares["other_false_positive"])
        return {
            **shares,
            "three_way_accuracy": float((logits.argmax(1) == answer).float().mean()),
            # As many true pairs as wrong ones, half of those shifted.
            "balanced_accuracy": (shares["true_positive"] + sum(right) / 2) / 2,
        }

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """The averaged judge with its frame encoder inside."""
        model = modules["sync"]
        config = {"model": asdict(model.config), "encoder": asdict(model.encoder.config)}
        return {"sync": (model, config)}

    def _judged(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features of videos and of whole sounds, logits and answers of all pairs."""
        steps = model.config.steps
        video = model.watch(batch["pixels"], batch["times_s"], steps)
        sound = model.listen(relative(batch["levels"]))
        count = len(video)
        rows = torch.arange(count, device=video.device)
        sources = torch.cat([rows, rows, rows.roll(-1)])
        starts = torch.cat(batch["starts"].unbind(1))
        places = starts[:, None] + torch.arange(steps, device=video.device)
        logits = model.compare(video.repeat(3, 1, 1), sound[sources[:, None], places])
        return video, sound, logits, torch.cat(batch["answers"].unbind(1))

    def _draw(self, rng: np.random.Generator, clips: int, *, split: str) -> Batch:
        source, levels = self._splits[split]
        model = self.modules["sync"]
        plain = split != "train"
        config, grid_hz = model.config, model.config.grid_rate_hz
        drawn = source.draw(rng, clips, plain=True)
        chosen = drawn["clip"].numpy()
        start = rng.integers(source.spare + 1, size=clips)
        drawn = source.cut(chosen, start, None)
        pixels = drawn["pixels"]
        pixels = shrunk(pixels.flatten(0, 1), model.encoder.config.size).unflatten(
            0, pixels.shape[:2]
        )
        if self.losses.augment and not plain:
            pixels = torch.stack([_augmented(row, rng) for row in pixels])
        start_s = start * source.config.segment_s
        whole_steps = int(levels.shape[1] * grid_hz / FRAME_RATE_HZ)
        last = whole_steps - config.steps
        own = np.minimum(np.round(start_s * grid_hz).astype(np.int64), last)
        shifted = np.array([self._shifted(rng, place, last, grid_hz) for place in own])
        other = rng.integers(last + 1, size=clips)
        starts = np.stack([own, shifted, other], 1)
        events = [_events_within(source.clips, clip, config.window_s) for clip in chosen]
        seen = [events[row](start_s[row]) for row in range(clips)]
        answers = np.tile(np.arange(3), (clips, 1))
        for row in range(clips):
            moved = events[row](shifted[row] / grid_hz)
            foreign = events[(row + 1) % clips](other[row] / grid_hz)
            if shifted[row] < 0 or not (seen[row] or moved):
                answers[row, 1] = LEFT_OUT
            if not (seen[row] or foreign):
                answers[row, 2] = LEFT_OUT
        heard = [
            levels[clip].astype(np.float32)
            if plain
            else disturbed(levels[clip].astype(np.float32), rng, strength=self.losses.disturbance)
            for clip in chosen
        ]
        tracks = {
            "seen_onsets": [
                event_track(source.clips.event_times_s[clip] - at_s, config.steps, grid_hz)
                for clip, at_s in zip(chosen, start_s, strict=True)
            ],
            "heard_onsets": [
                event_track(source.clips.event_times_s[clip], whole_steps, grid_hz)
                for clip in chosen
            ],
        }
        return {
            "pixels": pixels,
            "times_s": drawn["times_s"],
            "levels": torch.from_numpy(np.stack(heard)),
            "starts": torch.from_numpy(np.maximum(starts, 0)),
            "answers": torch.from_numpy(answers),
            **{name: torch.from_numpy(np.stack(rows)) for name, rows in tracks.items()},
        }

    def _shifted(self, rng: np.random.Generator, own: int, last: int, grid_hz: float) -> int:
        """Where a shifted sound starts, in grid steps; -1 where no shift fits."""
        losses = self.losses
        small = rng.random() < losses.small_share
        low_s, high_s = (
            (losses.smallest_shift_s, losses.small_shift_s)
            if small
            else (losses.small_shift_s, losses.largest_shift_s)
        )
        places = np.arange(last + 1)
        shifts_s = np.abs(places - own) / grid_hz
        for least_s in (low_s, losses.smallest_shift_s):
            fitting = places[(shifts_s >= least_s - 1e-9) & (shifts_s <= high_s + 1e-9)]
            if len(fitting):
                return int(rng.choice(fitting))
        return -1


def _events_within(clips: ClipArrays, clip: int, window_s: float) -> Any:
    """Start of a window in seconds -> whether an event falls into it."""
    times_s = clips.event_times_s[clip]

    def within(start_s: float) -> bool:
        return bool(((times_s >= start_s) & (times_s < start_s + window_s)).any())

    return within


def _augmented(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    changed = augment(pictures.permute(0, 2, 3, 1).numpy(), rng)
    return torch.from_numpy(np.ascontiguousarray(changed)).permute(0, 3, 1, 2)
