"""What the two judges made from simulated clips hear: log-mel bands, relative to the clip's peak.

A sound that is only louder or softer is the same to them, down to -70 dBFS; silence is not.
"""

from __future__ import annotations

from torch import Tensor, nn

from foleyflow.spectrogram import log_magnitude, mel_filters, stft

RATE_HZ = 48_000
HOP_SAMPLES, WINDOW_SAMPLES = 480, 1200
FRAME_RATE_HZ = RATE_HZ / HOP_SAMPLES
BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 14_000.0
RANGE = 8.0  # nepers below the peak that are heard, 70 dB
FAINTEST_PEAK = -2.3  # of the log magnitudes, -70 dBFS for a tone: a peak below it counts as this


class LogMel(nn.Module):
    """Sound to log-mel levels.

    Source: ours, on `spectrogram`.
    """

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
        """Levels of bands.

        Args:
            sound: (B, N) float32 at 48 kHz; what exceeds whole hops of 10 ms is dropped.

        Returns:
            (B, N // 480, 64) natural logarithms of magnitudes.
        """
        whole = sound[:, : sound.shape[1] // HOP_SAMPLES * HOP_SAMPLES]
        spectrum = stft(whole, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)
        return log_magnitude(spectrum, self.filters)


def relative(levels: Tensor) -> Tensor:
    """Levels against the peak of their clip.

    Args:
        levels: (B, T, M) natural logarithms of magnitudes.

    Returns:
        (B, T, M) from -1 (8 nepers below the peak or more) to 1 (the peak).

    Source: ours.
    """
    peak = levels.amax((1, 2), keepdim=True).clamp_min(FAINTEST_PEAK)
    return (levels - peak).clamp_min(-RANGE) / (RANGE / 2) + 1
