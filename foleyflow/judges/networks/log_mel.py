"""The input of the judges that are trained on simulated clips: log-mel levels relative to the peak.

The gain of a sound has no effect if its peak exceeds -70 dBFS.
"""

from __future__ import annotations

from torch import Tensor, nn

from foleyflow.spectrogram import log_magnitude, mel_filters, stft

RATE_HZ = 48_000
HOP_SAMPLES, WINDOW_SAMPLES = 480, 1200
FRAME_RATE_HZ = RATE_HZ / HOP_SAMPLES
BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 14_000.0
RANGE = 8.0  # below the peak, in nepers: 70 dB
LOWEST_PEAK = -2.3  # of the log magnitudes, -70 dBFS for a tone


class JudgeLogMel(nn.Module):
    """Sound to log-mel levels."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = mel_filters(
            bands=BANDS,
            window_samples=WINDOW_SAMPLES,
            rate_hz=RATE_HZ,
            low_hz=LOWEST_HZ,
            high_hz=HIGHEST_HZ,
        )
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """Natural logarithms of magnitudes, (B, N) float32 at 48 kHz to (B, N // 480, 64)."""
        complete = sound[:, : sound.shape[1] // HOP_SAMPLES * HOP_SAMPLES]
        spectrum = stft(complete, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)
        return log_magnitude(spectrum, self.filters)


def normalise_to_peak(levels: Tensor) -> Tensor:
    """Levels (B, T, M) relative to the peak of their clip, -1 (70 dB below it or lower) to 1."""
    peak = levels.amax((1, 2), keepdim=True).clamp_min(LOWEST_PEAK)
    return (levels - peak).clamp_min(-RANGE) / (RANGE / 2) + 1
