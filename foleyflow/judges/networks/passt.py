"""PaSST (patchout spectrogram transformer): 527 AudioSet logits and 768-dimensional embeddings.

The base model of hear21passt in evaluation, without patchout. Patches of 16 x 16 with a stride of
10 cover 128 mel bands. Tensor names are the published ones.

Dimension letters: B batch, N samples, T frames, D width, F and U patches in frequency and time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foleyflow.attention import Mlp
from foleyflow.judges.networks.spectra import centred_power
from foleyflow.judges.networks.transformer import QkvAttention
from foleyflow.spectrogram import mel_triangles

RATE_HZ = 32_000
LONGEST_S = 10.0
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 800, 320, 1024
BANDS = 128
PREEMPHASIS = 0.97
HIGHEST_HZ = 15_000.0  # Nyquist frequency less half the range of the training augmentation
POWER_OFFSET = 1e-5
LEVEL_MEAN, LEVEL_SCALE = -4.5, 5.0
PATCH, STRIDE = 16, 10
CLASSES = 527


@dataclass(frozen=True, kw_only=True)
class PasstConfig:
    """Shape of the transformer; the defaults are the published shape, others are for tests."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    classes: int = CLASSES
    longest_frames: int = 998  # that have learned positions

    @property
    def grid(self) -> tuple[int, int]:
        """Number of patches in frequency and the largest number in time."""
        return (BANDS - PATCH) // STRIDE + 1, (self.longest_frames - PATCH) // STRIDE + 1


class _Block(nn.Module):
    def __init__(self, config: PasstConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = QkvAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = Mlp(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Passt(nn.Module):
    """A vision transformer over overlapping patches of a mel spectrogram.

    Reference: Koutini et al., Interspeech 2022; layout of kkoutini/passt_hear21.
    """

    filters: Tensor

    def __init__(self, config: PasstConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PasstConfig()
        width, (rows, columns) = config.width, config.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, width))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, rows, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, columns))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, PATCH, stride=STRIDE)})
        self.blocks = nn.Sequential(*(_Block(config) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.classes))
        # Part of the published file, but not used in evaluation
        self.head_dist = nn.Linear(width, config.classes)
        filters = mel_triangles(
            bands=BANDS, window_samples=FFT_SAMPLES, rate_hz=RATE_HZ, low_hz=0, high_hz=HIGHEST_HZ
        )
        self.register_buffer("filters", filters, persistent=False)

    def spectrogram(self, sound: Tensor) -> Tensor:
        """Normalised log-mel power, (B, N) to (B, 128, T), T = 1 + (N - 1) // 320.

        Reference: hear21passt, AugmentMelSTFT in evaluation.
        """
        emphasised = sound[:, 1:] - PREEMPHASIS * sound[:, :-1]
        window = torch.hann_window(WINDOW_SAMPLES, periodic=False, device=sound.device)
        power = centred_power(emphasised, window, fft_samples=FFT_SAMPLES, hop_samples=HOP_SAMPLES)
        mel = torch.log(self.filters.T @ power + POWER_OFFSET)
        return (mel - LEVEL_MEAN) / LEVEL_SCALE

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 527) and embeddings (B, 768) of sounds (B, N) float32 at 32 kHz.

        They are up to 10 s long (in the published protocol exactly 10 s).
        """
        patches = self.patch_embed["proj"](self.spectrogram(sound)[:, None])
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
