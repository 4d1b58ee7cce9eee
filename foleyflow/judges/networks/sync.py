"""The judge of synchrony: whether a sound matches a video, is shifted, or belongs to another clip.

It is trained on simulated clips only (`foleyflow train judge --recipe sync`). Features of video
and sound on a common grid of 20 ms are compared by their products at equal times and at all lags
up to 1.4 s.

Dimension letters: B videos, P pairs, T frames, L grid steps, F mel frames, W width, H heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow import clock
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import ConfigError
from foleyflow.judges.networks.log_mel import BANDS, FRAME_RATE_HZ

CLASSES = ("true", "shifted", "other")
HEAD_WIDTH = 8
KERNEL_STEPS = 5  # of the temporal convolutions


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """Shape of the network."""

    window_s: float = 2.56  # length of the windows that are classified
    hop_s: float = 0.48  # between the windows of a longer pair
    grid_rate_hz: float = 50.0  # of the compared features
    longest_lag_s: float = 1.4  # the largest lag that is compared
    width: int = 64  # of the features
    heads: int = 4  # products at each lag, in addition to that of the onsets

    def __post_init__(self) -> None:
        if FRAME_RATE_HZ % self.grid_rate_hz or self.lags >= self.steps:
            raise ConfigError(
                f"grid_rate_hz={self.grid_rate_hz} (a divisor of {FRAME_RATE_HZ:g}), longest_lag_s="
                f"{self.longest_lag_s} (below window_s={self.window_s})"
            )

    @property
    def steps(self) -> int:
        """Grid steps of a window."""
        return clock.count_at(self.window_s, self.grid_rate_hz)

    @property
    def lags(self) -> int:
        """Lags to each side, in grid steps."""
        return clock.count_at(self.longest_lag_s, self.grid_rate_hz)


class _TemporalBlock(nn.Module):
    """A residual block of two temporal convolutions, (B, W, L) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, KERNEL_STEPS, padding=KERNEL_STEPS // 2)
        self.second = nn.Conv1d(width, width, KERNEL_STEPS, padding=KERNEL_STEPS // 2)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.second(functional.gelu(self.first(functional.gelu(hidden))))


class Sync(nn.Module):
    """Encoders of video and sound, and a classifier of pairs of their windows."""

    def __init__(self, config: SyncConfig, *, encoder: MotionEncoder) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        width, heads = config.width, config.heads

        # Video encoder
        self.video_input = nn.Linear(encoder.config.dim, width)
        self.video_temporal = _TemporalBlock(width)

        # Audio encoder
        stride = int(FRAME_RATE_HZ / config.grid_rate_hz)
        self.audio_encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=(stride, 2), padding=1),
            nn.GELU(),
            nn.Conv2d(16, 24, 3, stride=(1, 2), padding=1),
            nn.GELU(),
            nn.Conv2d(24, 32, 3, stride=(1, 2), padding=1),
            nn.GELU(),
        )
        self.gather = nn.Linear(32 * BANDS // 8, width)
        self.audio_temporal = _TemporalBlock(width)

        # Comparison at all lags and at equal times
        self.video_onsets, self.audio_onsets = nn.Linear(width, 1), nn.Linear(width, 1)
        self.query, self.key = (nn.Linear(width, heads * HEAD_WIDTH) for _ in range(2))
        self.at_lags = nn.Linear((heads + 1) * (2 * config.lags + 1), 2 * width)
        self.join = nn.Linear(3 * width, width)
        self.joined = _TemporalBlock(width)
        self.answer = nn.Sequential(
            nn.GELU(), nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, len(CLASSES))
        )

    def encode_video(self, pixels: Tensor, times_s: Tensor, steps: int) -> Tensor:
        """Features (B, L, W) of videos on the grid, held before the first and after the last frame.

        Args:
            pixels: (B, T + window, 3, S, S) uint8, as the frame encoder takes them.
            times_s: (B, T) ascending seconds from the start of the grid.
            steps: L of the grid.
        """
        # Features of the frames
        side = self.encoder.config.size
        if pixels.shape[-1] != side:
            pixels = resize_frames(pixels.flatten(0, 1), side).unflatten(0, pixels.shape[:2])
        features = self.video_input(self.encoder(pixels))

        # Frames before and after each grid step
        centres = (torch.arange(steps, device=times_s.device) + 0.5) / self.config.grid_rate_hz
        centres = centres.expand(len(times_s), -1).contiguous()
        last = times_s.shape[1] - 1
        after = torch.searchsorted(times_s.contiguous(), centres).clamp(0, last)
        before = (after - 1).clamp_min(0)

        # Linear interpolation between them
        gap_s = times_s.gather(1, after) - times_s.gather(1, before)
        fraction = (centres - times_s.gather(1, before)) / gap_s.clamp_min(1e-6)
        fraction = fraction.clamp(0, 1)[..., None].to(features.dtype)
        items = torch.arange(len(times_s), device=times_s.device)[:, None]
        on_grid = (1 - fraction) * features[items, before] + fraction * features[items, after]
        return self.video_temporal(on_grid.transpose(1, 2)).transpose(1, 2)

    def encode_audio(self, levels: Tensor) -> Tensor:
        """Features of sounds on the grid, (B, F, 64) from `normalise_to_peak` to (B, L, W)."""
        maps = self.audio_encoder(levels[:, None])
        features = self.gather(maps.transpose(1, 2).flatten(2))
        return self.audio_temporal(features.transpose(1, 2)).transpose(1, 2)

    def compare(self, video: Tensor, sound: Tensor) -> Tensor:
        """Logits of `CLASSES`, (P, 3), for pairs of windows from both encoders, each (P, L, W)."""
        # Products of all times of the video with all times of the sound
        queries = self.query(video).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
        keys = self.key(sound).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
        products = (queries @ keys.transpose(2, 3)).float() / HEAD_WIDTH
        tracks = [
            head(features).float().sigmoid()
            for head, features in ((self.video_onsets, video), (self.audio_onsets, sound))
        ]
        first, second = (track - track.mean(1, keepdim=True) for track in tracks)
        products = torch.cat([products, (first @ second.transpose(1, 2))[:, None]], 1)

        # Their means at each lag, together with features at equal times
        at_lags = diagonal_means(products, self.config.lags).flatten(1)
        joined = self.join(torch.cat([video, sound, video * sound], -1)).transpose(1, 2)
        joined = self.joined(joined)
        pooled = torch.cat([self.at_lags(at_lags), joined.mean(2), joined.amax(2)], 1)
        return self.answer(pooled)


def sync_probability(logits: Tensor) -> Tensor:
    """Probability (P,) that a pair is in sync, from logits (P, 3), for a prior of one half.

    In training, each true sound comes with two wrong ones; Bayes' rule corrects for that prior.
    """
    balanced = logits.float() + logits.new_tensor([math.log(len(CLASSES) - 1.0), 0.0, 0.0]).float()
    return balanced.softmax(1)[:, 0]


def diagonal_means(products: Tensor, lags: int) -> Tensor:
    """Means along the diagonals of square matrices: products of two tracks at each lag.

    Args:
        products: (P, H, L, L), first index the video's time, second the sound's.
        lags: furthest diagonal to each side, below L.

    Returns:
        (P, H, 2 lags + 1): the mean of products[t, t + k] at index lags + k, which is large for
        a sound that is late by k steps.
    """
    count = products.shape[-1]
    # Shift each row to the right by one more than the row below it: diagonals become columns
    shifted = functional.pad(products.flip(2), (0, count)).flatten(2)[..., :-count]
    sums = shifted.unflatten(2, (count, 2 * count - 1)).sum(2)
    lengths = count - (torch.arange(2 * count - 1, device=products.device) - (count - 1)).abs()
    return (sums / lengths)[..., count - 1 - lags : count + lags]


def resize_frames(frames: Tensor, side: int) -> Tensor:
    """Frames (N, 3, S, S) uint8 resized to (N, 3, side, side), bilinear with antialiasing."""
    return functional.interpolate(frames, size=side, mode="bilinear", antialias=True)
