"""PANNs' CNN14 at 16 kHz: 527 AudioSet logits and a 2048-dimensional embedding per clip.

Tensor names are the published ones. The published file also contains the window and the mel
filters, which replace those that are computed here.

Dimension letters: B batch, N samples, T frames, M mel bands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.spectrogram import mel_triangles

RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES = 512, 160
BANDS = 64
POWER_FLOOR = 1e-10
CLASSES = 527
SHORTEST_SAMPLES = 31 * HOP_SAMPLES  # 32 frames: five halvings leave one


class _Spectrogram(nn.Module):
    """Power spectra, (B, N) to (B, T, bins), by convolutions as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        bins = WINDOW_SAMPLES // 2 + 1
        products = torch.outer(torch.arange(bins), torch.arange(WINDOW_SAMPLES)).double()
        angles = 2 * math.pi * products / WINDOW_SAMPLES
        window = torch.hann_window(WINDOW_SAMPLES, dtype=torch.float64)
        self.stft = nn.ModuleDict()
        for name, wave in (("conv_real", angles.cos()), ("conv_imag", -angles.sin())):
            conv = nn.Conv1d(1, bins, WINDOW_SAMPLES, stride=HOP_SAMPLES, bias=False)
            conv.weight.requires_grad_(False).copy_((wave * window)[:, None])
            self.stft[name] = conv

    def forward(self, sound: Tensor) -> Tensor:
        half = WINDOW_SAMPLES // 2
        padded = functional.pad(sound[:, None], (half, half), mode="reflect")
        real, imaginary = self.stft["conv_real"](padded), self.stft["conv_imag"](padded)
        return (real.square() + imaginary.square()).transpose(1, 2)


class _LogMel(nn.Module):
    """Mel bands in dB, (B, T, bins) to (B, T, M)."""

    def __init__(self) -> None:
        super().__init__()
        # A placeholder of the same shape; the published file contains librosa's filters
        filters = mel_triangles(
            bands=BANDS, window_samples=WINDOW_SAMPLES, rate_hz=RATE_HZ, low_hz=50, high_hz=8000
        )
        self.melW = nn.Parameter(filters, requires_grad=False)

    def forward(self, power: Tensor) -> Tensor:
        return 10.0 * torch.log10((power @ self.melW).clamp_min(POWER_FLOOR))


class _ConvBlock(nn.Module):
    def __init__(self, narrow: int, wide: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)
        self.pool = pool

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.relu(self.bn1(self.conv1(maps)))
        maps = functional.relu(self.bn2(self.conv2(maps)))
        return functional.avg_pool2d(maps, self.pool) if self.pool > 1 else maps


class Cnn14(nn.Module):
    """Six convolution blocks over log-mel levels; shapes other than the default are for tests.

    Reference: Kong et al. 2020, PANNs, table 1; layout of Cnn14_16k in audioset_tagging_cnn.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int, int, int] = (64, 128, 256, 512, 1024, 2048),
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        self.spectrogram_extractor = _Spectrogram()
        self.logmel_extractor = _LogMel()
        self.bn0 = nn.BatchNorm2d(BANDS)
        narrow = 1
        for index, wide in enumerate(widths, start=1):
            pool = 2 if index < len(widths) else 1
            self.add_module(f"conv_block{index}", _ConvBlock(narrow, wide, pool))
            narrow = wide
        self._blocks = len(widths)
        self.fc1 = nn.Linear(narrow, narrow)
        self.fc_audioset = nn.Linear(narrow, classes)

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 527) before the sigmoid and embeddings (B, 2048) after the ReLU of fc1.

        The sounds are (B, N) float32 at 16 kHz, N at least 4,960.
        """
        if sound.shape[-1] < SHORTEST_SAMPLES:
            raise ValueError(
                f"{sound.shape[-1]} samples at {RATE_HZ} Hz, PANNs needs at least "
                f"{SHORTEST_SAMPLES}"
            )
        mel = self.logmel_extractor(self.spectrogram_extractor(sound))[:, None]
        maps = self.bn0(mel.transpose(1, 3)).transpose(1, 3)
        for index in range(1, self._blocks + 1):
            maps = getattr(self, f"conv_block{index}")(maps)
        frames = maps.mean(3)
        hidden = functional.relu(self.fc1(frames.amax(2) + frames.mean(2)))
        return self.fc_audioset(hidden), hidden
