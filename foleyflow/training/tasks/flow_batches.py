"""Batches of the flow's training: windows of clips with video and of sounds, with cues and context.

Dimension letters: B batch, L latent frames, C latent channels, S segments, D width, Q cue channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.cues.arrays import CueArrays
from foleyflow.cues.tracks import TrackLayout, condition_tracks
from foleyflow.cues.variation import CueVariation, vary_cues
from foleyflow.data.mixture import WeightedIndices
from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.features.sound_windows import SoundWindows
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like
from foleyflow.training.task import Batch


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Known latents of the training windows.

    Attributes:
        context_fraction: fraction of the windows that start with known latents.
        tail_fraction: fraction of the windows that end with known latents, independent of the
            start, so that a stretch inside an existing sound can be generated again.
        shortest_context, longest_context: number of known latent frames at the start.
        shortest_gap: smallest number of frames that are not known; in windows with a known end, the
            number of known frames is uniform up to there.
        context_noise: standard deviation of noise on some of them, like that of generated latents.
    """

    context_fraction: float = 0.4
    tail_fraction: float = 0.0
    shortest_context: int = 10
    longest_context: int = 50
    shortest_gap: int = 8
    context_noise: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.shortest_context <= self.longest_context or self.shortest_gap < 1:
            raise ConfigError(
                f"context: shortest_context={self.shortest_context}, longest_context="
                f"{self.longest_context}, shortest_gap={self.shortest_gap}: expected "
                "0 < shortest <= longest, and a gap of at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class FlowData:
    """Sources of the training windows.

    Attributes:
        windows: of clips with video.
        cues: of the clips, by index; empty without cues.
        sounds: clips without video; None for none.
        probabilities: (N,) of the windows; None samples all equally often.
    """

    windows: ConditionWindows
    cues: Sequence[CueArrays] = ()
    sounds: SoundWindows | None = None
    probabilities: NDArray[np.float64] | None = None


class FlowBatches:
    """Samples training batches of a flow."""

    def __init__(
        self,
        data: FlowData,
        network: FlowConfig,
        *,
        context: ContextConfig,
        variation: CueVariation,
        sound_fraction: float,
        no_video_fraction: float,
    ) -> None:
        """Takes the sources and the settings of `training.tasks.flow.FlowStageConfig`."""
        self.data, self.context, self.variation = data, context, variation
        self._layout = TrackLayout(materials=len(network.cue_materials))
        weights = data.probabilities
        self._weighted = None if weights is None else WeightedIndices(weights)
        self._uses_cues = bool(network.cue_materials)
        self._rate_hz = network.latent_rate_hz
        self._sound_fraction = sound_fraction if data.sounds is not None else 0.0
        self._no_video_fraction = no_video_fraction if self._uses_cues else 0.0

    def sample(self, rng: np.random.Generator, clips: int, items: NDArray[np.int64]) -> Batch:
        """Some windows of a random batch of `clips` windows; only these are read.

        Returns:
            "latents" (B, L, C), "video" (B, L, D), "states" (B, S, D), "cues" (B, L, Q) and
            "context_noise" (B,) float32; "clip", "context_length" and "tail_length" (B,) int64;
            "has_video" (B,) bool.
        """
        windows, context = self.data.windows, self.context
        frames = windows.latents.shape[1]
        # Random choices of the complete batch
        if self._weighted is None:
            chosen = np.sort(rng.integers(len(windows.clip), size=clips))
        else:
            chosen = self._weighted.sample(rng, clips)
        seeds = rng.integers(2**63, size=clips)
        is_sound = rng.random(clips) < self._sound_fraction
        no_video = rng.random(clips) < self._no_video_fraction
        heads, tails = self._known_lengths(rng, clips, frames)
        noisy = (rng.random(clips) < 0.3)[items]

        # Windows with video, some of which are replaced by sounds
        batch = read_windows(windows, chosen[items])
        tracks = []
        for row, item in enumerate(items):
            own = np.random.default_rng(int(seeds[item]))
            if is_sound[item] and self.data.sounds is not None:
                latents, cues = self.data.sounds.cut(own, frames, self._rate_hz)
                batch["latents"][row] = torch.from_numpy(latents)
            elif self._uses_cues:
                clip, start_s = int(windows.clip[chosen[item]]), windows.start_s[chosen[item]]
                cues = self.data.cues[clip].shift(-float(start_s))
            if self._uses_cues:
                cues = vary_cues(
                    cues,
                    own,
                    self.variation,
                    duration_s=frames / self._rate_hz,
                    materials=self._layout.materials,
                )
                tracks.append(self.tracks(cues, frames))
        if self._uses_cues:
            batch["cues"] = torch.from_numpy(np.stack(tracks))
        # Condition and context
        batch["has_video"] = torch.from_numpy(~(is_sound | no_video)[items])
        batch["context_length"] = torch.from_numpy(heads[items])
        batch["tail_length"] = torch.from_numpy(tails[items])
        batch["context_noise"] = torch.from_numpy(context.context_noise * noisy.astype(np.float32))
        return batch

    def tracks(self, cues: CueArrays, frames: int) -> NDArray[np.float32]:
        """The tracks of a window's cues, (L, Q)."""
        return condition_tracks(cues, frames, rate_hz=self._rate_hz, layout=self._layout)

    def exact(self, indices: NDArray[np.int64]) -> Batch:
        """Windows with video, exact cues and no context, as for validation."""
        windows = self.data.windows
        batch = read_windows(windows, indices)
        if self._uses_cues:
            frames = batch["latents"].shape[1]
            shifted = (
                self.data.cues[int(windows.clip[index])].shift(-float(windows.start_s[index]))
                for index in indices
            )
            batch["cues"] = torch.from_numpy(np.stack([self.tracks(c, frames) for c in shifted]))
        return batch

    def _known_lengths(
        self, rng: np.random.Generator, clips: int, frames: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of known frames at the start and at the end of each window."""
        context = self.context
        longest = min(context.longest_context, frames - 1)
        shortest = min(context.shortest_context, longest)
        heads = rng.integers(shortest, longest + 1, size=clips)
        heads[rng.random(clips) >= context.context_fraction] = 0
        # A known end is any length that leaves a gap; half of these windows also get a long start
        has_tail = rng.random(clips) < context.tail_fraction
        most = max(frames - context.shortest_gap, 1)
        long_head = has_tail & (rng.random(clips) < 0.5)
        heads = np.where(long_head, rng.integers(0, most, size=clips), heads)
        heads = np.where(has_tail, np.minimum(heads, most - 1), heads)
        tails = 1 + (rng.random(clips) * (most - heads)).astype(np.int64)
        tails = np.where(has_tail, tails, 0)
        return heads, tails


def prepare(
    network: FlowTransformer, batch: Batch, *, latent_noise: float = 0.0
) -> tuple[Tensor, Condition]:
    """Standardised latents of a sampled batch, and the condition with their known frames."""
    with torch.autocast(batch["latents"].device.type, enabled=False):
        audio = network.standardise(batch["latents"])
        if latent_noise:
            audio = audio + latent_noise * network.latent_scale * normal_like(audio)
        count = audio.shape[1]
        frames = torch.arange(count, device=audio.device)[None]
        known = frames < batch["context_length"][:, None]
        known = known | (frames >= count - batch["tail_length"][:, None])
        noise = batch["context_noise"][:, None, None] * normal_like(audio) * network.latent_scale
        context = (audio + noise) * known[..., None]
    return audio, Condition(
        video=batch["video"],
        states=batch["states"],
        cues=batch["cues"],
        has_video=batch["has_video"],
        context=context,
        known=known,
    )


def read_windows(windows: ConditionWindows, indices: NDArray[np.int64]) -> Batch:
    """Some windows with video as tensors, without cues and without known frames.

    Floating-point arrays become float32.
    """
    batch: Batch = {}
    for name in ("video", "states", "latents"):
        batch[name] = torch.from_numpy(np.asarray(getattr(windows, name)[indices], np.float32))
    batch["clip"] = torch.from_numpy(np.asarray(windows.clip[indices]))
    count, frames = batch["latents"].shape[:2]
    lengths = torch.zeros(count, dtype=torch.int64)
    return batch | {
        "cues": torch.zeros(count, frames, 0),
        "has_video": torch.ones(count, dtype=torch.bool),
        "context_length": lengths,
        "tail_length": lengths,
        "context_noise": torch.zeros(count),
    }
