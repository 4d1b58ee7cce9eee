"""A small judge of synchrony: is this sound that of the video, at its time, or another clip's?

Trained on simulated clips alone (`foleyflow train judge --recipe sync`). Video and sound become
features on one grid of 20 ms; how well they fit is seen in their products at equal times and at
all lags up to a second and a half.

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

ANSWERS = ("true", "shifted", "other")
HEAD_WIDTH = 8
REACH = 5  # grid steps that a temporal convolution sees


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """Shape of the network.

    Attributes:
        window_s: length of a pair that is judged at once.
        hop_s: from one window of a longer pair to the next.
        grid_rate_hz: of the features that are compared.
        longest_lag_s: of the lags that are looked at.
        width: of the features.
        heads: products at each lag, beside that of the onsets.
    """

    window_s: float = 2.56
    hop_s: float = 0.48
    grid_rate_hz: float = 50.0
    longest_lag_s: float = 1.4
    width: int = 64
    heads: int = 4

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
        """Lags to each side, grid steps."""
        return clock.count_at(self.longest_lag_s, self.grid_rate_hz)


class _InTime(nn.Module):
    """Two convolutions over time, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, REACH, padding=REACH // 2)
        self.second = nn.Conv1d(width, width, REACH, padding=REACH // 2)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.second(functional.gelu(self.first(functional.gelu(hidden))))


class Sync(nn.Module):
    """Two trunks and what compares them.

    Source: ours; after Diff-Foley's classifier in what it is asked, SparseSync in that lags are.
    """

    def __init__(self, config: SyncConfig, *, encoder: MotionEncoder) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        width, heads = config.width, config.heads
        self.see = nn.Linear(encoder.config.dim, width)
        self.seen = _InTime(width)
        stride = int(FRAME_RATE_HZ / config.grid_rate_hz)
        self.hear = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=(stride, 2), padding=1),
            nn.GELU(),
            nn.Conv2d(16, 24, 3, stride=(1, 2), padding=1),
            nn.GELU(),
            nn.Conv2d(24, 32, 3, stride=(1, 2), padding=1),
            nn.GELU(),
        )
        self.gather = nn.Linear(32 * BANDS // 8, width)
        self.heard = _InTime(width)
        self.seen_onsets, self.heard_onsets = nn.Linear(width, 1), nn.Linear(width, 1)
        self.query, self.key = (nn.Linear(width, heads * HEAD_WIDTH) for _ in range(2))
        self.at_lags = nn.Linear((heads + 1) * (2 * config.lags + 1), 2 * width)
        self.join = nn.Linear(3 * width, width)
        self.joined = _InTime(width)
        self.answer = nn.Sequential(
            nn.GELU(), nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, len(ANSWERS))
        )

    def watch(self, pixels: Tensor, times_s: Tensor, steps: int) -> Tensor:
        """Features of a video on the grid.

        Args:
            pixels: (B, T + window, 3, S, S) uint8, as the frame encoder takes them.
            times_s: (B, T) ascending seconds from the grid's start.
            steps: L of the grid.

        Returns:
            (B, L, W); before the first frame and after the last one, theirs.
        """
        side = self.encoder.config.size
        if pixels.shape[-1] != side:
            pixels = shrunk(pixels.flatten(0, 1), side).unflatten(0, pixels.shape[:2])
        features = self.see(self.encoder(pixels))
        centres = (torch.arange(steps, device=times_s.device) + 0.5) / self.config.grid_rate_hz
        centres = centres.expand(len(times_s), -1).contiguous()
        last = times_s.shape[1] - 1
        after = torch.searchsorted(times_s.contiguous(), centres).clamp(0, last)
        before = (after - 1).clamp_min(0)
        gap_s = times_s.gather(1, after) - times_s.gather(1, before)
        share = (centres - times_s.gather(1, before)) / gap_s.clamp_min(1e-6)
        share = share.clamp(0, 1)[..., None].to(features.dtype)
        rows = torch.arange(len(times_s), device=times_s.device)[:, None]
        on_grid = (1 - share) * features[rows, before] + share * features[rows, after]
        return self.seen(on_grid.transpose(1, 2)).transpose(1, 2)

    def listen(self, levels: Tensor) -> Tensor:
        """Features of a sound on the grid, (B, F, 64) of `relative` to (B, L, W)."""
        maps = self.hear(levels[:, None])
        features = self.gather(maps.transpose(1, 2).flatten(2))
        return self.heard(features.transpose(1, 2)).transpose(1, 2)

    def compare(self, video: Tensor, sound: Tensor) -> Tensor:
        """Logits of `ANSWERS` for pairs of windows.

        Args:
            video: (P, L, W) of `watch`.
            sound: (P, L, W) of `listen`.

        Returns:
            (P, 3).
        """
        lags = self.config.lags
        queries = self.query(video).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
        keys = self.key(sound).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
        products = (queries @ keys.transpose(2, 3)).float() / HEAD_WIDTH
        tracks = [
            head(features).float().sigmoid()
            for head, features in ((self.seen_onsets, video), (self.heard_onsets, sound))
        ]
        first, second = (track - track.mean(1, keepdim=True) for track in tracks)
        products = torch.cat([products, (first @ second.transpose(1, 2))[:, None]], 1)
        at_lags = diagonal_means(products, lags).flatten(1)
        joined = self.join(torch.cat([video, sound, video * sound], -1)).transpose(1, 2)
        joined = self.joined(joined)
        pooled = torch.cat([self.at_lags(at_lags), joined.mean(2), joined.amax(2)], 1)
        return self.answer(pooled)


def in_sync(logits: Tensor) -> Tensor:
    """Probability that a pair is in sync, where as many are as are not.

    In training two wrong sounds stand beside each true one.

    Args:
        logits: (P, 3) of `Sync.compare`.

    Returns:
        (P,) 0..1.

    Source: ours; Bayes' rule for another prior.
    """
    evened = logits.float() + logits.new_tensor([math.log(len(ANSWERS) - 1.0), 0.0, 0.0]).float()
    return evened.softmax(1)[:, 0]


def diagonal_means(products: Tensor, lags: int) -> Tensor:
    """Means along the diagonals of square matrices: products of two tracks at each lag.

    Args:
        products: (P, H, L, L), first index the video's time, second the sound's.
        lags: furthest diagonal to each side, below L.

    Returns:
        (P, H, 2 lags + 1): at lags + k, the mean of products[t, t + k]; a sound that is late by k
        steps shows there.

    Source: ours.
    """
    count = products.shape[-1]
    # Each row one place further to the right than the one below it: diagonals become columns.
    rows = functional.pad(products.flip(2), (0, count)).flatten(2)[..., :-count]
    sums = rows.unflatten(2, (count, 2 * count - 1)).sum(2)
    lengths = count - (torch.arange(2 * count - 1, device=products.device) - (count - 1)).abs()
    middle = slice(count - 1 - lags, count + lags)
    return (sums / lengths)[..., middle]


def shrunk(pictures: Tensor, side: int) -> Tensor:
    """Pictures squashed to a smaller square.

    Args:
        pictures: (N, 3, S, S) uint8.
        side: pixels wanted.

    Returns:
        (N, 3, side, side) uint8.

    Source: ours; bilinear with antialiasing.
    """
    return functional.interpolate(pictures, size=side, mode="bilinear", antialias=True)
