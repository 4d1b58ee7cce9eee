"""What the codec is trained to keep: spectra, loudness in time, small latents.

Pure functions on tensors, and one module that holds mel filters. No discriminator: it belongs to
the recipe for large machines.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.spectrogram import LOG_FLOOR, magnitude, mel_filters, stft

# (window in samples, hop in samples, mel bands) at 48 kHz
RESOLUTIONS = ((1920, 480, 128), (960, 240, 80), (480, 120, 40))

QUIET_WEIGHT = 0.1  # of places that are masked


class SpectralLosses(nn.Module):
    """How far the spectra of two sounds lie apart, over several resolutions.

    Mel bands average over bins: of noise they keep what can be kept, its level in each band at each
    moment. Single bins keep tones.

    Source: Yamamoto et al. 2020 (multi-resolution STFT loss); Kumar et al. 2023 (several mel
    resolutions).
    """

    def __init__(self, rate_hz: int, *, audible_nepers: float = 0.0) -> None:
        """Takes samples per second; the windows are meant for 48 kHz.

        With `audible_nepers` errors weigh less the further both sounds lie below the loudest place
        of a spectrogram, down to a tenth at that distance; 0 weighs all places alike.
        """
        super().__init__()
        self.audible_nepers = audible_nepers
        for index, (window_samples, _, bands) in enumerate(RESOLUTIONS):
            filters = mel_filters(
                bands=bands,
                window_samples=window_samples,
                rate_hz=rate_hz,
                low_hz=30.0,
                high_hz=rate_hz / 2,
            )
            self.register_buffer(f"filters_{index}", filters, persistent=False)

    def forward(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compares sounds.

        Args:
            decoded: (B, N) sound; N a multiple of 480.
            target: (B, N) sound.

        Returns:
            "mel": L1 of log-mel spectra in nepers (natural logarithm of magnitude), "spectral":
            log-magnitude L1 plus spectral convergence of single bins; each () and a mean over
            `RESOLUTIONS`.
        """
        mel = decoded.new_zeros(())
        spectral = decoded.new_zeros(())
        for index, (window_samples, hop_samples, _) in enumerate(RESOLUTIONS):
            got, wanted = (
                magnitude(stft(sound, window_samples=window_samples, hop_samples=hop_samples))
                for sound in (decoded, target)
            )
            filters = self.get_buffer(f"filters_{index}")
            mel = mel + log_l1(got @ filters, wanted @ filters, self.audible_nepers)
            difference = (got - wanted).flatten(1).norm(dim=1)
            convergence = (difference / (wanted.flatten(1).norm(dim=1) + 1.0)).mean()
            spectral = spectral + log_l1(got, wanted, self.audible_nepers) + convergence
        return {"mel": mel / len(RESOLUTIONS), "spectral": spectral / len(RESOLUTIONS)}


def log_l1(got: Tensor, wanted: Tensor, audible_nepers: float = 0.0) -> Tensor:
    """Mean difference of log magnitudes, of all places alike or of audible ones more.

    Args:
        got, wanted: (B, T, M) magnitudes.
        audible_nepers: see `SpectralLosses`.

    Returns:
        () nepers.

    Source: ours; a quiet place beside a loud one is masked, and most of a spectrogram is quiet.
    """
    levels = [torch.log(each + LOG_FLOOR) for each in (got, wanted)]
    error = (levels[0] - levels[1]).abs()
    if not audible_nepers:
        return error.mean()
    louder = torch.maximum(levels[0].detach(), levels[1])
    peak = levels[1].amax((1, 2), keepdim=True)
    weight = ((louder - peak) / audible_nepers + 1).clamp(QUIET_WEIGHT, 1.0)
    return (error * weight).mean() / weight.mean()


def envelope_loss(decoded: Tensor, target: Tensor) -> Tensor:
    """L1 of the logarithm of 1 ms energies: keeps attacks where they are.

    Source: method section E (transient term), ours.
    """

    def log_energy(sound: Tensor) -> Tensor:
        return torch.log(functional.avg_pool1d(sound.square()[:, None], 48, 48) + 1e-7)

    return functional.l1_loss(log_energy(decoded), log_energy(target))


def kl_to_unit(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of the latents' posterior from N(0, 1), nats per dimension, averaged.

    Source: Kingma & Welling 2014, appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
