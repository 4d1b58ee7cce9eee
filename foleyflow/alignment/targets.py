"""What hidden segments are recovered to: targets that cannot collapse, made from the sound.

A `FeatureTarget` gives the features that `Alignment`'s latent head predicts: the codec's latents
(the embedded model's), a frozen teacher's features (the full scale's), or those of a slow copy of
the student. `MelPatches` gives what is recovered beside them in every case, and `rises` says when
something begins to sound. None of them needs a label.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.errors import ConfigError
from foleyflow.spectrogram import log_magnitude, mel_filters, stft

LOG_MEL_DEVIATION = 3.0  # of logarithms of magnitudes, about
CLEAR_RISE = 0.2  # a mean rise of the bands of `LogMel` that is an onset beyond doubt


class LogMel(nn.Module):
    """Log-mel levels whose windows are two hops long (less a sample where the hop is odd), so that
    one guard frame hides all of a neighbour (masking.py).

    Source: method section B.2.
    """

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
        """(B, N) sound to (B, N / hop, bands), about zero mean and unit deviation."""
        spectrum = stft(waveform, window_samples=self.window_samples, hop_samples=self.hop_samples)
        return (log_magnitude(spectrum, self.filters) + 6.0) / LOG_MEL_DEVIATION


class MelPatches(nn.Module):
    """Log-mel spectra of sound, as the student's input and as a target.

    Source: method sections B.2 and B.4.
    """

    def __init__(
        self,
        config: AlignmentConfig,
        front: nn.Module,
        *,
        clear_rise: float = CLEAR_RISE,
    ) -> None:
        """Takes the aligner's shape and what makes levels: (B, N) sound to (B, N / hop, bands).

        `clear_rise` is a mean rise of them that is an onset beyond doubt.
        """
        super().__init__()
        self.config = config
        self.front = front
        self.clear_rise = clear_rise

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, N) sound to (B, N / hop, bands) log-mel, about zero mean and unit deviation."""
        levels: Tensor = self.front(waveform)
        return levels

    def targets(self, mel: Tensor) -> Tensor:
        """Each segment's patch, normalised by its own mean and deviation, and its energy.

        Args:
            mel: (B, S * frames, bands) from `forward`.

        Returns:
            (B, S, frames * bands + 1); the last is the patch's mean level.
        """
        patches = mel.unflatten(1, (-1, self.config.mel_frames_per_segment)).flatten(2)
        level = patches.mean(-1, keepdim=True)
        spread = patches.std(-1, keepdim=True)
        return torch.cat([(patches - level) / (spread + 0.1), level], -1)

    def rises(self, mel: Tensor) -> Tensor:
        """When something begins to sound: how much the spectrum rises in each latent frame.

        A band rises by what it is above itself and its neighbours in the two frames before, so
        that vibrato is no onset. The outermost frames, whose windows reach beyond the sound, do
        not count: a sound that is cut there rises in all bands.

        Args:
            mel: (B, S * frames, bands) from `forward`.

        Returns:
            (B, L) 0..1; 1 is a clear onset.

        Source: Böck & Widmer 2013 (SuperFlux); its peaks find the exact contacts of simulated
            clips with an F1 of 0.91 at ±50 ms, as well as the onset detector of evaluation.
        """
        inner = mel[:, 1:-1]
        mel = torch.cat([inner[:, :1], inner, inner[:, -1:]], 1)
        first = mel[:, :1]
        before = torch.maximum(
            torch.cat([first, mel[:, :-1]], 1), torch.cat([first, first, mel[:, :-2]], 1)
        )
        before = functional.max_pool1d(before, 3, stride=1, padding=1)
        rise = (mel - before).clamp_min(0.0).mean(-1)
        frames, latents = self.config.mel_frames_per_segment, self.config.latents_per_segment
        if frames < latents:  # several latent frames lie in a mel frame
            rise = rise.repeat_interleave(latents // frames, 1)
        per_latent = max(1, frames // latents)
        return (rise.unflatten(1, (-1, per_latent)).amax(-1) / self.clear_rise).clamp_max(1.0)


class FeatureTarget(Protocol):
    """Features that hidden segments are recovered to."""

    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """(B, L, C) standardised; `mel` is (B, frames, bands) from `MelPatches`."""

    def follow(self, model: Alignment) -> None:
        """Is told of the student before each training step."""


class CodecLatents:
    """Latents of the frozen codec, which stage two will have to make.

    Source: method section B.4; `batch["latents"]` (B, L, C).
    """

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        """Takes each channel's mean and deviation over the training set, (C,)."""
        self.mean, self.deviation = mean, deviation

    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """Standardised latents, (B, L, C)."""
        latents = batch["latents"]
        return (latents - self.mean.to(latents.device)) / self.deviation.to(latents.device)

    def follow(self, model: Alignment) -> None:
        """Frozen: nothing to do."""


class TeacherFeatures:
    """Features of a frozen network that knows sound.

    Source: method section B.4 (AudioMAE at full scale).
    """

    def __init__(self, teacher: nn.Module, config: AlignmentConfig, some_mel: Tensor) -> None:
        """Takes the teacher and some training sounds, by which its features are standardised.

        Args:
            teacher: (B, S * frames, bands) log-mel to (B, S, F), F = latents_per_segment *
                latent_channels.
            config: the student's.
            some_mel: (B, S * frames, bands).

        Raises:
            ConfigError: the student's latent head has another size than the features.
        """
        self.teacher = teacher.eval().requires_grad_(False)
        self.config = config
        self.mean, self.deviation = torch.zeros(()), torch.ones(())
        with torch.no_grad():
            features = self._features(some_mel).flatten(0, 1)
        self.mean, self.deviation = features.mean(0), features.std(0).clamp_min(1e-3)

    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """Standardised features, (B, L, C)."""
        self.teacher.to(mel.device)
        with torch.no_grad():
            return self._features(mel)

    def follow(self, model: Alignment) -> None:
        """Frozen: nothing to do."""

    def _features(self, mel: Tensor) -> Tensor:
        features = self.teacher(mel)
        split = split_features(features, self.config)
        return (split - self.mean.to(mel.device)) / self.deviation.to(mel.device)


class StoredTeacher(CodecLatents):
    """Features of a frozen network that were computed once and come with the batch.

    They stand where the codec's latents do otherwise: `batch["latents"]` (B, L, C).

    Source: method section B.4 (AudioMAE at full scale).
    """

    def __init__(self, some: Tensor) -> None:
        """Takes the features of some training clips, (N, L, C), by which all are standardised."""
        rows = some.flatten(0, 1)
        super().__init__(rows.mean(0), rows.std(0).clamp_min(1e-3))


class SlowStudent:
    """A moving average of the student itself, told the whole sound.

    Its features are normalised token by token, so that it cannot win by shrinking them; whether
    they still differ from each other is for the monitors to see.

    Source: method section B.4 (data2vec, EAT).
    """

    def __init__(self, model: Alignment, *, decay: float = 0.999) -> None:
        """Takes the student; the copy begins as it stands."""
        self.decay = decay
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.module.encoder = nn.Identity()  # it only listens
        self.config = model.config

    def __call__(self, batch: Mapping[str, Tensor], mel: Tensor) -> Tensor:
        """The copy's features of the whole sound, each token normalised, (B, L, C)."""
        with torch.no_grad():
            features = self.module.to(mel.device).listen(mel)
            return split_features(functional.layer_norm(features, features.shape[-1:]), self.config)

    @torch.no_grad()
    def follow(self, model: Alignment) -> None:
        """Moves a little towards the student."""
        for name, slow in self.module.named_parameters():
            slow.lerp_(model.get_parameter(name).to(slow.device), 1 - self.decay)


def split_features(features: Tensor, config: AlignmentConfig) -> Tensor:
    """(B, S, F) features of segments to (B, L, C), the shape of the latent head.

    Raises:
        ConfigError: F is not latents_per_segment * latent_channels.

    Source: ours.
    """
    wanted = config.latents_per_segment * config.latent_channels
    if features.shape[-1] != wanted:
        raise ConfigError(
            f"the target has {features.shape[-1]} numbers a segment, the latent head {wanted}",
            hint="set model.latents_per_segment and model.latent_channels so that their product "
            "is the target's size",
        )
    return features.unflatten(-1, (config.latents_per_segment, -1)).flatten(1, 2)
