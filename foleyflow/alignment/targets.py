"""Reconstruction targets of masked segments, computed from the audio alone, without labels.

A `FeatureTarget` computes the features that the latent head predicts: the codec's latents, features
of a frozen teacher, or those of a moving average of the student. `MelPatches` computes the mel
target of every configuration, and an onset strength.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.errors import ConfigError
from foleyflow.spectrogram import log_magnitude, mel_filters, stft

LOG_MEL_MEAN, LOG_MEL_DEVIATION = -6.0, 3.0  # of logarithms of magnitudes, approximately
CLEAR_RISE = 0.2  # mean rise of the bands at a clear onset, for `SegmentLogMel`


class SegmentLogMel(nn.Module):
    """Log-mel levels on the grid of the aligner's segments.

    Windows are two hops long (one sample less for an odd hop), so that a single guard frame hides
    all audio of a masked neighbour (masking.py).
    """

    filters: Tensor

    def __init__(self, config: AlignmentConfig, *, rate_hz: int) -> None:
        super().__init__()
        hop_s = config.segment_s / config.mel_frames_per_segment
        self.hop_samples = round(hop_s * rate_hz)
        self.window_samples = 2 * self.hop_samples - self.hop_samples % 2
        filters = mel_filters(
            bands=config.mel_bands,
            window_samples=self.window_samples,
            rate_hz=rate_hz,
            low_hz=50.0,
            high_hz=min(20_000.0, rate_hz / 2),
        )
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, N) audio to (B, N / hop, bands), of about zero mean and unit standard deviation."""
        spectrum = stft(waveform, window_samples=self.window_samples, hop_samples=self.hop_samples)
        return (log_magnitude(spectrum, self.filters) - LOG_MEL_MEAN) / LOG_MEL_DEVIATION


class MelPatches(nn.Module):
    """Log-mel levels as the student's input, as a target, and as an onset detector."""

    def __init__(
        self, config: AlignmentConfig, front: nn.Module, *, clear_rise: float = CLEAR_RISE
    ) -> None:
        """Wrap a front end, (B, N) audio to (B, N / hop, bands) levels."""
        super().__init__()
        self.config = config
        self.front = front
        self.clear_rise = clear_rise

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, N) audio to (B, N / hop, bands) log-mel levels."""
        return self.front(waveform)

    def targets(self, mel: Tensor) -> Tensor:
        """Patch of each segment, normalised to zero mean and unit deviation, and its mean level.

        (B, S * frames, bands) from `forward` to (B, S, frames * bands + 1), the level last.
        """
        patches = mel.unflatten(1, (-1, self.config.mel_frames_per_segment)).flatten(2)
        level = patches.mean(-1, keepdim=True)
        spread = patches.std(-1, keepdim=True)
        return torch.cat([(patches - level) / (spread + 0.1), level], -1)

    def onset_strength(self, mel: Tensor) -> Tensor:
        """Rise of the spectrum in each latent frame.

        The rise of a band is relative to its own level and that of its neighbours in the two
        previous frames, so that vibrato is no onset. The first and last frame are ignored: their
        windows reach beyond the audio, where a cut sound rises in all bands.

        (B, S * frames, bands) from `forward` to (B, L) in 0..1; 1 is a clear onset.

        Reference: Böck & Widmer 2013 (SuperFlux).
        """
        # Replace the first and last frame by their neighbours
        inner = mel[:, 1:-1]
        mel = torch.cat([inner[:, :1], inner, inner[:, -1:]], 1)
        # Maximum over the two previous frames and the neighbouring bands
        first = mel[:, :1]
        before = torch.maximum(
            torch.cat([first, mel[:, :-1]], 1), torch.cat([first, first, mel[:, :-2]], 1)
        )
        before = functional.max_pool1d(before, 3, stride=1, padding=1)
        rise = (mel - before).clamp_min(0.0).mean(-1)
        # From mel frames to latent frames
        frames, latents = self.config.mel_frames_per_segment, self.config.latents_per_segment
        if frames < latents:
            rise = rise.repeat_interleave(latents // frames, 1)
        per_latent = max(1, frames // latents)
        return (rise.unflatten(1, (-1, per_latent)).amax(-1) / self.clear_rise).clamp_max(1.0)


class FeatureTarget:
    """Features that masked segments are reconstructed to, (B, L, C) standardised."""

    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """Compute them from a batch and its (B, frames, bands) levels from `MelPatches`."""
        raise NotImplementedError

    def update(self, model: Alignment) -> None:
        """Called with the student before each training step; frozen targets ignore it."""


class CodecLatents(FeatureTarget):
    """Latents of the frozen codec, `batch["latents"]` (B, L, C): the space of the flow."""

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the mean and standard deviation of each channel over the training set, (C,)."""
        self.mean, self.deviation = mean, deviation

    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """Standardised latents."""
        return self.standardise(batch["latents"])

    def standardise(self, features: Tensor) -> Tensor:
        """Features (B, L, C) to zero mean and unit deviation over the training set."""
        return (features - self.mean.to(features.device)) / self.deviation.to(features.device)


class StoredTeacher(CodecLatents):
    """Features of a frozen audio network that were stored before: `batch["latents"]` (B, L, C)."""

    def __init__(self, some: Tensor) -> None:
        """Fit the standardisation to the features of some training clips, (N, L, C)."""
        rows = some.flatten(0, 1)
        super().__init__(rows.mean(0), rows.std(0).clamp_min(1e-3))


class TeacherFeatures(StoredTeacher):
    """Features of a frozen audio network, computed during training."""

    def __init__(self, teacher: nn.Module, config: AlignmentConfig, some_mel: Tensor) -> None:
        """Fit the standardisation to the teacher's features of some training clips.

        The teacher maps (B, S * frames, bands) log-mel to (B, S, F). F must be the size of the
        latent head of `config`, the student's; else `split_features` raises a ConfigError.
        """
        self.teacher = teacher.eval().requires_grad_(False)
        self.config = config
        super().__init__(self._features(some_mel))

    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """Standardised features of the teacher."""
        self.teacher.to(mel.device)
        return self.standardise(self._features(mel))

    @torch.no_grad()
    def _features(self, mel: Tensor) -> Tensor:
        return split_features(self.teacher(mel), self.config)


class SlowStudent(FeatureTarget):
    """Features of a moving average of the student for the complete, unmasked audio.

    Features are normalised token by token, so that the student can't lower the loss by shrinking
    them. The monitors show whether they collapse to a constant.

    Reference: Baevski et al. 2022 (data2vec); Chen et al. 2024 (EAT).
    """

    def __init__(self, model: Alignment, *, decay: float = 0.999) -> None:
        self.decay = decay
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.module.encoder = nn.Identity()  # only the audio encoder is used
        self.config = model.config

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """Normalised features of the moving average."""
        features = self.module.to(mel.device).encode_audio(mel)
        return split_features(functional.layer_norm(features, features.shape[-1:]), self.config)

    @torch.no_grad()
    def update(self, model: Alignment) -> None:
        """Move the average towards the student."""
        for name, slow in self.module.named_parameters():
            slow.lerp_(model.get_parameter(name).to(slow.device), 1 - self.decay)


def split_features(features: Tensor, config: AlignmentConfig) -> Tensor:
    """(B, S, F) features of segments to (B, L, C), the shape of the latent head.

    Raises:
        ConfigError: F is not latents_per_segment * latent_channels.
    """
    expected = config.latents_per_segment * config.latent_channels
    if features.shape[-1] != expected:
        raise ConfigError(
            f"the target has {features.shape[-1]} numbers per segment, the latent head {expected}",
            hint="set model.latents_per_segment and model.latent_channels so that their product "
            "is the size of the target",
        )
    return features.unflatten(-1, (config.latents_per_segment, -1)).flatten(1, 2)
