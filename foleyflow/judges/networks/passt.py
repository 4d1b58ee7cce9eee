"""PaSST (patchout spectrogram transformer): 527 AudioSet logits and 768 numbers per 10 s.

The base model of hear21passt, as it listens (no patchout): patches of 16 x 16 at steps of 10 over
128 mel bands. Tensor names are those of the published file.

Dimension letters: B batch, N samples, T frames, D width, F and U patches in frequency and time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.spectrogram import mel_triangles

RATE_HZ = 32_000
LONGEST_S = 10.0
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 800, 320, 1024
BANDS = 128
PREEMPHASIS = 0.97
HIGHEST_HZ = 15_000.0  # half the rate less half the range of the training's augmentation
POWER_OFFSET = 1e-5
LEVEL_MEAN, LEVEL_SCALE = -4.5, 5.0
PATCH, STRIDE = 16, 10
CLASSES = 527


@dataclass(frozen=True, kw_only=True)
class PasstConfig:
    """Shape of the transformer; the defaults are the published one's, others are for tests.

    Attributes:
        width: of each token.
        depth: blocks.
        heads: of attention.
        classes: logits given out.
        longest_frames: spectrogram frames that there are positions for.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    classes: int = CLASSES
    longest_frames: int = 998

    @property
    def grid(self) -> tuple[int, int]:
        """Patches in frequency and, at most, in time."""
        return (BANDS - PATCH) // STRIDE + 1, (self.longest_frames - PATCH) // STRIDE + 1


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.proj(mixed.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(tokens)))


class _Block(nn.Module):
    def __init__(self, config: PasstConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = _Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = _Mlp(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, PATCH, stride=STRIDE)


class Passt(nn.Module):
    """A vision transformer over overlapping patches of a mel spectrogram.

    Source: Koutini et al., Interspeech 2022; layout of kkoutini/passt_hear21.
    """

    def __init__(self, config: PasstConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PasstConfig()
        width, (rows, columns) = config.width, config.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, width))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, rows, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, columns))
        self.patch_embed = _PatchEmbed(width)
        self.blocks = nn.Sequential(*(_Block(config) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.classes))
        # In the published file, though what is listened to is `head` alone.
        self.head_dist = nn.Linear(width, config.classes)
        filters = mel_triangles(
            bands=BANDS, window_samples=FFT_SAMPLES, rate_hz=RATE_HZ, low_hz=0, high_hz=HIGHEST_HZ
        )
        self.register_buffer("filters", filters, persistent=False)

    def spectrogram(self, sound: Tensor) -> Tensor:
        """Normalised log-mel power.

        Args:
            sound: (B, N) float32 at 32 kHz.

        Returns:
            (B, 128, T), T = 1 + (N - 1) // 320.

        Source: hear21passt's AugmentMelSTFT in evaluation.
        """
        emphasised = sound[:, 1:] - PREEMPHASIS * sound[:, :-1]
        spectrum = torch.stft(
            emphasised,
            FFT_SAMPLES,
            hop_length=HOP_SAMPLES,
            win_length=WINDOW_SAMPLES,
            window=torch.hann_window(WINDOW_SAMPLES, periodic=False, device=sound.device),
            center=True,
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        mel = torch.log(self.filters.T @ power + POWER_OFFSET)
        return (mel - LEVEL_MEAN) / LEVEL_SCALE

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """What is heard in sounds of one length.

        Args:
            sound: (B, N) float32 at 32 kHz, up to 10 s (the published rule: exactly 10 s).

        Returns:
            (B, 527) logits, (B, 768) embeddings.
        """
        patches = self.patch_embed.proj(self.spectrogram(sound)[:, None])
        columns = patches.shape[-1]
        patches = patches + self.time_new_pos_embed[..., :columns] + self.freq_new_pos_embed
        batch = len(patches)
        heads = [
            token.expand(batch, -1, -1) + position
            for token, position in zip(
                (self.cls_token, self.dist_token), self.new_pos_embed.split(1, dim=1), strict=True
            )
        ]
        tokens = torch.cat([*heads, patches.flatten(2).transpose(1, 2)], 1)
        tokens = self.norm(self.blocks(tokens))
        features = (tokens[:, 0] + tokens[:, 1]) / 2
        return self.head(features), features
