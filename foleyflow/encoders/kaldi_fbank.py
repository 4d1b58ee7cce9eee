"""Kaldi's log-mel filter banks, the input of the published audio encoders, without its library.

Dimension letters: B batch, N samples, T frames, M mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.spectrogram import mel_triangles

RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512  # 25 ms every 10 ms
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
POWER_FLOOR = torch.finfo(torch.float32).eps


class Fbank(nn.Module):
    """Audio to log-mel powers, with a Hann window and without dither, energy or padding.

    Reference: Kaldi's compute-fbank-feats with htk_compat, hanning and dither 0, as AST, AudioMAE
    and ImageBind call it after subtracting the mean of the audio.
    """

    filters: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = mel_triangles(
            bands=128,
            window_samples=FFT_SAMPLES,
            rate_hz=RATE_HZ,
            low_hz=LOWEST_HZ,
            high_hz=RATE_HZ / 2,
        )
        self.register_buffer("filters", filters, persistent=False)
        window = torch.hann_window(WINDOW_SAMPLES, periodic=False)
        self.register_buffer("window", window, persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """Natural logarithms of powers (B, T, M), T = 1 + (N - 400) // 160, 0 if N is below 400.

        `sound` is (B, N) float32 at 16 kHz, full scale at -1..1. Frame n is centred at
        12.5 + 10 n ms.
        """
        if sound.shape[-1] < WINDOW_SAMPLES:
            return sound.new_zeros(len(sound), 0, self.filters.shape[1])
        sound = sound - sound.mean(-1, keepdim=True)
        frames = sound.unfold(-1, WINDOW_SAMPLES, HOP_SAMPLES)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
        frames = (frames - PREEMPHASIS * before) * self.window
        frames = functional.pad(frames, (0, FFT_SAMPLES - WINDOW_SAMPLES))
        power = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1)
        return torch.log((power @ self.filters).clamp_min(POWER_FLOOR))


class FbankLevels(nn.Module):
    """`Fbank`, normalised for an encoder and of a given length."""

    def __init__(self, *, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.fbank = Fbank()

    def forward(self, sound: Tensor, frames: int | None = None) -> Tensor:
        """Normalised log-mel powers, (B, T, M), of audio as `Fbank` takes it.

        T is `frames`, or N // 160. Missing frames are zero before the normalisation, -mean /
        deviation after it, so `sound` must not be padded before.

        Reference: AudioMAE's dataset.py, AST's dataloader.py and ImageBind's data.py, which pad the
        filter bank and then normalise it.
        """
        wanted = sound.shape[1] // HOP_SAMPLES if frames is None else frames
        levels = self.fbank(sound)[:, :wanted]
        levels = functional.pad(levels, (0, 0, 0, wanted - levels.shape[1]))
        return (levels - self.mean) / self.deviation
