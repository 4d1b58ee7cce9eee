"""VGGish: a 128-dimensional embedding of each 0.96 s of sound, the usual features of the FAD.

As in av-benchmark and audioldm_eval, without the last ReLU, PCA and 8-bit quantisation. Tensor
names are those of torchvggish.

Dimension letters: B batch, P patches, T frames, M mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foleyflow.spectrogram import mel_triangles

RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512
BANDS = 64
PATCH_FRAMES = 96
LOG_OFFSET = 0.01
SHORTEST_SAMPLES = WINDOW_SAMPLES + (PATCH_FRAMES - 1) * HOP_SAMPLES
EMBEDDING = 128


class Vggish(nn.Module):
    """Convolutions over patches of log-mel magnitudes; shapes other than the default are for tests.

    Reference: Hershey et al., ICASSP 2017; layout of harritaylor/torchvggish.
    """

    filters: Tensor

    def __init__(
        self, widths: tuple[int, int, int, int] = (64, 128, 256, 512), hidden: int = 4096
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for wide, convolutions in zip(widths, (1, 1, 2, 2), strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(width, wide, 3, padding=1), nn.ReLU()]
                width = wide
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(width * (PATCH_FRAMES // 16) * (BANDS // 16), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, EMBEDDING),
        )
        filters = mel_triangles(
            bands=BANDS, window_samples=FFT_SAMPLES, rate_hz=RATE_HZ, low_hz=125.0, high_hz=7500.0
        )
        self.register_buffer("filters", filters, persistent=False)

    def patches(self, sound: Tensor) -> Tensor:
        """Complete log-mel patches of a (N,) float32 sound at 16 kHz, N >= 15,600, as (P, 96, 64).

        Reference: VGGish's mel_features (frames without padding, periodic Hann, magnitudes).
        """
        if len(sound) < SHORTEST_SAMPLES:
            raise ValueError(
                f"{len(sound)} samples at {RATE_HZ} Hz, VGGish needs at least {SHORTEST_SAMPLES}"
            )
        window = torch.hann_window(WINDOW_SAMPLES, device=sound.device)
        frames = sound.unfold(0, WINDOW_SAMPLES, HOP_SAMPLES) * window
        mel = torch.fft.rfft(frames, n=FFT_SAMPLES).abs() @ self.filters
        count = len(mel) // PATCH_FRAMES
        return torch.log(mel + LOG_OFFSET)[: count * PATCH_FRAMES].unflatten(
            0, (count, PATCH_FRAMES)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """(P, 96, 64) to (P, 128)."""
        maps = self.features(patches[:, None])
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))
