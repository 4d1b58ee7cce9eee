"""Training losses of the codec: spectra, temporal envelope and the KL term of the latents.

Those of discriminators are in `adversarial_losses.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.parallel.batch_sharding import all_gather_with_grad
from foleyflow.spectrogram import LOG_FLOOR, magnitude, mel_filters, stft

# (window in samples, hop in samples, mel bands) at 48 kHz
RESOLUTIONS = ((1920, 480, 128), (960, 240, 80), (480, 120, 40))

DAC_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)  # samples

# Those of the mel loss of the Descript Audio Codec (Kumar et al. 2023)
FINE_RESOLUTIONS = tuple((window, window // 4, window * 5 // 32) for window in DAC_WINDOWS)

MASKED_WEIGHT = 0.1  # smallest weight of inaudible bins


class SpectralLosses(nn.Module):
    """Distances between the spectra of two sounds, averaged over several resolutions.

    The mel term compares the level of noise per band and frame; single bins preserve tones.

    Reference: Yamamoto et al. 2020 (multi-resolution STFT loss); Kumar et al. 2023 (several mel
        resolutions).
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        audible_nepers: float = 0.0,
        resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS,
    ) -> None:
        """Build the mel filters for a sample rate; the windows are meant for 44.1 or 48 kHz.

        The weight of an error falls to a tenth at `audible_nepers` below the loudest bin of a
        spectrogram; 0 weights all bins equally.
        """
        super().__init__()
        self.audible_nepers = audible_nepers
        self.resolutions = tuple(resolutions)
        for index, (window_samples, _, bands) in enumerate(self.resolutions):
            filters = mel_filters(bands=bands, window_samples=window_samples, rate_hz=rate_hz)
            self.register_buffer(f"filters_{index}", filters, persistent=False)

    def forward(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare two sounds, (B, N) each; zeros complete the last frame.

        Returns two means over the resolutions: "mel", the L1 of log-mel spectra in nepers, and
        "spectral", the L1 of log magnitudes plus the spectral convergence of single bins.
        """
        mel = decoded.new_zeros(())
        spectral = decoded.new_zeros(())
        for index, (window_samples, hop_samples, _) in enumerate(self.resolutions):
            missing = -decoded.shape[1] % hop_samples
            one, other = (
                magnitude(
                    stft(
                        functional.pad(sound, (0, missing)),
                        window_samples=window_samples,
                        hop_samples=hop_samples,
                    )
                )
                for sound in (decoded, target)
            )
            filters = self.get_buffer(f"filters_{index}")
            mel = mel + log_l1(one @ filters, other @ filters, self.audible_nepers)
            difference = (one - other).flatten(1).norm(dim=1)
            convergence = (difference / (other.flatten(1).norm(dim=1) + 1.0)).mean()
            spectral = spectral + log_l1(one, other, self.audible_nepers) + convergence
        count = len(self.resolutions)
        return {"mel": mel / count, "spectral": spectral / count}


def log_l1(decoded: Tensor, target: Tensor, audible_nepers: float = 0.0) -> Tensor:
    """Mean absolute difference of log magnitudes (B, T, M) in nepers, weighted by audibility.

    Quiet bins next to loud ones are inaudible, and make up most of a spectrogram. For
    `audible_nepers` see `SpectralLosses`.
    """
    decoded_level, target_level = (torch.log(each + LOG_FLOOR) for each in (decoded, target))
    error = (decoded_level - target_level).abs()
    if not audible_nepers:
        return error.mean()
    louder = torch.maximum(decoded_level.detach(), target_level)
    peak = target_level.amax((1, 2), keepdim=True)
    weight = ((louder - peak) / audible_nepers + 1).clamp(MASKED_WEIGHT, 1.0)
    # The mean weight is that of all processes, whose losses are averaged
    return (error * weight).mean() / all_gather_with_grad(weight.mean()[None]).mean()


def envelope_loss(decoded: Tensor, target: Tensor, *, step_samples: int = 48) -> Tensor:
    """L1 of the logarithm of 1 ms energies (at 48 kHz), which preserves the time of attacks."""

    def log_energy(sound: Tensor) -> Tensor:
        energies = functional.avg_pool1d(sound.square()[:, None], step_samples, step_samples)
        return torch.log(energies + 1e-7)

    return functional.l1_loss(log_energy(decoded), log_energy(target))


def kl_to_unit(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of the latents' posterior from N(0, 1), nats per dimension.

    Reference: Kingma & Welling 2014, appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
