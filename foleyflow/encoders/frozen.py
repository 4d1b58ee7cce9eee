"""Published encoders as they enter alignment: frames or sound in, features with their times out.

A `FrozenVideo` or `FrozenSound` is a trunk with its exact preprocessing. Nothing here knows files:
which weights fill a trunk is `catalogue`'s matter.

Trunks compute in the precision of their own weights (fp32 as loaded), whatever the caller's
autocast. Features are computed once and stored for training, perhaps on many machines, and
computed again in generation; only one precision for all of them makes a stored feature the one
that generation sees. bfloat16 would also lose what is stored: it has 8 significant bits, float16
has 11.

Dimension letters: B batch, T frames, K tokens of a frame, W width, C columns in time, R rows in
frequency.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.encoders.image_preprocessing import PictureRule, normalised, squares
from foleyflow.encoders.kaldi_fbank import HOP_SAMPLES, RATE_HZ, WINDOW_SAMPLES, FbankLevels

TOKENS = 5  # of each frame: the whole, and the means of its four quarters


class FrozenVideo(nn.Module):
    """A picture network that sees frames one by one.

    Its patches are pooled to quarters: all of them for all frames would take 50 times the space.
    """

    def __init__(self, trunk: nn.Module, rule: PictureRule) -> None:
        """Takes a trunk: (N, 3, S, S) to tokens, see `all_tokens`."""
        super().__init__()
        self.trunk = trunk
        self.rule = rule

    def squares(self, pixels: Tensor) -> Tensor:
        """The part of frames that is shown, (T, 3, H, W) to (T, 3, side, side), both uint8."""
        return squares(pixels, self.rule)

    @torch.no_grad()
    def forward(self, squared: Tensor) -> Tensor:
        """Features of frames, each for itself.

        Args:
            squared: (T, 3, side, side) uint8 RGB, of `squares`.

        Returns:
            (T, 5, W) float32: the token of the whole picture, then the means of its quarters (top
            left, top right, bottom left, bottom right).
        """
        pictures = normalised(squared, self.rule)
        with torch.autocast(squared.device.type, enabled=False):
            dtype = next(self.trunk.parameters()).dtype
            tokens = all_tokens(self.trunk, pictures.to(dtype)).float()
        side = round((tokens.shape[1] - 1) ** 0.5)
        maps = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        quarters = functional.adaptive_avg_pool2d(maps, 2).flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :1], quarters], 1)


@dataclass(frozen=True, kw_only=True)
class SoundRule:
    """What is done to a sound before a network hears it, and how it is cut.

    Attributes:
        block_samples: samples heard at once, at 16 kHz.
        frames: spectrogram frames that the network wants; missing ones are zeros.
        mean, deviation: of the log-mel levels, subtracted and divided by.
        patch_frames, step_frames: size and distance of the patches in time.
        rows: patches in frequency.
        columns: patches in time that are used of a block; the next block goes on after them.
        time_first: the spectrogram is (1, frames, bands), its patches numbered time by time;
            else (bands, frames), numbered row by row.
    """

    block_samples: int
    frames: int
    mean: float
    deviation: float
    patch_frames: int
    step_frames: int
    rows: int
    columns: int
    time_first: bool

    @property
    def column_s(self) -> float:
        """Seconds from one column to the next."""
        return self.step_frames * HOP_SAMPLES / RATE_HZ

    @property
    def first_s(self) -> float:
        """Centre of the first column, seconds."""
        frames_s = (self.patch_frames - 1) / 2 * HOP_SAMPLES / RATE_HZ
        return frames_s + WINDOW_SAMPLES / 2 / RATE_HZ


class FrozenSound(nn.Module):
    """A network that hears spectrograms, block after block."""

    def __init__(self, trunk: nn.Module, rule: SoundRule) -> None:
        """Takes a trunk: levels, as `rule.time_first` says, to tokens, see `all_tokens`."""
        super().__init__()
        self.trunk = trunk
        self.rule = rule
        self.levels = FbankLevels(mean=rule.mean, deviation=rule.deviation)

    @torch.no_grad()
    def forward(self, sound: Tensor) -> Tensor:
        """Features of a sound of any length.

        Args:
            sound: (N,) float32 at 16 kHz, full scale at -1..1.

        Returns:
            (C, R, W) float32: column c is centred at first_s + c column_s; C covers the sound.
        """
        rule = self.rule
        hop = rule.columns * rule.step_frames * HOP_SAMPLES
        count = max(1, -(-len(sound) // hop))
        padded = functional.pad(sound, (0, (count - 1) * hop + rule.block_samples - len(sound)))
        blocks = padded.unfold(0, rule.block_samples, hop)
        dtype = next(self.trunk.parameters()).dtype
        with torch.autocast(sound.device.type, enabled=False):
            levels = self.levels(blocks, frames=rule.frames).to(dtype)
            shown = levels[:, None] if rule.time_first else levels.transpose(1, 2)
            tokens = all_tokens(self.trunk, shown)[:, 1:].float()
        if rule.time_first:
            grid = tokens.unflatten(1, (-1, rule.rows))
        else:
            grid = tokens.unflatten(1, (rule.rows, -1)).transpose(1, 2)
        needed = max(1, -(-len(sound) // (rule.step_frames * HOP_SAMPLES)))
        return grid[:, : rule.columns].flatten(0, 1)[:needed]


def all_tokens(trunk: nn.Module, inputs: Tensor) -> Tensor:
    """All tokens of a trunk: of one of timm by `forward_features`, of ours by calling it.

    Args:
        trunk: a network.
        inputs: what it takes, N rows.

    Returns:
        (N, 1 + patches, W): the whole, then the patches.

    Source: ours.
    """
    features = getattr(trunk, "forward_features", trunk)
    tokens: Tensor = features(inputs)
    return tokens
