"""Frozen published encoders with their exact preprocessing: frames or audio to features.

Trunks compute in the precision of their own weights (float32 as loaded), independent of the
caller's autocast. Features are computed once and stored for training, and are computed again in
generation: a single precision makes both equal.

Dimension letters: B batch, T frames, K tokens of a frame, W width, C columns in time, R rows in
frequency.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.encoders.image_preprocessing import ImagePreprocessing, normalise, resize_and_crop
from foleyflow.encoders.kaldi_fbank import HOP_SAMPLES, RATE_HZ, WINDOW_SAMPLES, FbankLevels

# Frames that are encoded together; another number changes the rounding.
FRAMES_PER_BATCH = 32
TOKENS = 5  # per frame: the class token, and the means of the four quarters


class FrozenVideo(nn.Module):
    """An image encoder that is applied to each frame.

    Its patch tokens are pooled to quarters of the image, which reduces storage 50-fold.
    """

    def __init__(self, trunk: nn.Module, preprocessing: ImagePreprocessing) -> None:
        """Wrap a trunk, (N, 3, S, S) to tokens; see `all_tokens`."""
        super().__init__()
        self.trunk = trunk
        self.preprocessing = preprocessing

    def resize_and_crop(self, pixels: Tensor) -> Tensor:
        """(T, 3, H, W) to the squares that the encoder takes, (T, 3, side, side), both uint8."""
        return resize_and_crop(pixels, self.preprocessing)

    @torch.no_grad()
    def forward(self, squares: Tensor) -> Tensor:
        """Features of each frame, from the squares of `resize_and_crop`.

        They are (T, 5, W) float32: the class token, then the means of the quarters (top left, top
        right, bottom left, bottom right).
        """
        images = normalise(squares, self.preprocessing)
        with torch.autocast(squares.device.type, enabled=False):
            dtype = next(self.trunk.parameters()).dtype
            tokens = all_tokens(self.trunk, images.to(dtype)).float()
        side = round((tokens.shape[1] - 1) ** 0.5)
        maps = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        quarters = functional.adaptive_avg_pool2d(maps, 2).flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :1], quarters], 1)


@dataclass(frozen=True, kw_only=True)
class SoundRule:
    """Preprocessing of an audio encoder, and the layout of its patches."""

    block_samples: int  # samples per block at 16 kHz; the encoder takes one block at a time
    frames: int  # spectrogram frames per block; missing ones are zeros before normalisation
    mean: float  # of the log-mel levels
    deviation: float
    patch_frames: int  # length of the patches in time
    step_frames: int  # stride of the patches in time
    rows: int  # patches in frequency
    columns: int  # patches in time that are used of a block; the next block starts after them
    time_first: bool  # (1, frames, bands), patches in order of time; else (bands, frames)

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
    """An audio encoder that is applied to consecutive blocks of a spectrogram."""

    def __init__(self, trunk: nn.Module, rule: SoundRule) -> None:
        """Wrap a trunk, spectrograms in the layout of `rule.time_first` to tokens."""
        super().__init__()
        self.trunk = trunk
        self.rule = rule
        self.levels = FbankLevels(mean=rule.mean, deviation=rule.deviation)

    def block_levels(self, sound: Tensor) -> Tensor:
        """Normalised log-mel levels of consecutive blocks, (blocks, frames, bands), of (N,) audio.

        The filter bank of each block is computed from its own samples without padding, and then
        padded, as `FbankLevels` does.
        """
        rule = self.rule
        hop = rule.columns * rule.step_frames * HOP_SAMPLES
        blocks = [
            sound[None, start : start + rule.block_samples]
            for start in range(0, max(len(sound), 1), hop)
        ]
        return torch.cat([self.levels(block, frames=rule.frames) for block in blocks])

    @torch.no_grad()
    def forward(self, sound: Tensor) -> Tensor:
        """Features of audio of any length, (N,) float32 at 16 kHz with full scale at -1..1.

        They are (C, R, W) float32. Column c is centred at first_s + c column_s; C covers the audio.
        """
        rule = self.rule
        # Tokens of each block
        dtype = next(self.trunk.parameters()).dtype
        with torch.autocast(sound.device.type, enabled=False):
            levels = self.block_levels(sound).to(dtype)
            spectrograms = levels[:, None] if rule.time_first else levels.transpose(1, 2)
            tokens = all_tokens(self.trunk, spectrograms)[:, 1:].float()
        # Columns of all blocks in order of time
        if rule.time_first:
            grid = tokens.unflatten(1, (-1, rule.rows))
        else:
            grid = tokens.unflatten(1, (rule.rows, -1)).transpose(1, 2)
        needed = max(1, -(-len(sound) // (rule.step_frames * HOP_SAMPLES)))
        return grid[:, : rule.columns].flatten(0, 1)[:needed]


def all_tokens(trunk: nn.Module, inputs: Tensor) -> Tensor:
    """All tokens of a trunk, (N, 1 + patches, W): the class token, then the patches.

    They come from `forward_features` of a timm network, or from calling one of this project.
    """
    return getattr(trunk, "forward_features", trunk)(inputs)
