"""Trains the mel decoder of a codec of published features; the vocoder stays frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.codec.feature_codec import FeatureCodec
from foleyflow.codec.paper_mel import PaperMel
from foleyflow.codec.vocoder import NeuralVocoder
from foleyflow.errors import ConfigError, DataError
from foleyflow.parallel.batch_sharding import normal_like
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task, weighted_sum

STATISTICS_CLIPS = 64  # clips from which the mean and deviation of the features are computed
VALIDATION_CLIPS = 96


@dataclass(frozen=True, kw_only=True)
class MelLossConfig:
    """Weights and windows of the mel decoder's losses.

    Attributes:
        crop_segments: length of each training window; with complete mel frames.
        mel: weight of the L1 distance of log-mel levels, in nepers.
        rise: weight of the L1 distance of their change from frame to frame, which keeps attacks.
        feature_noise: standard deviation of noise on the standardised features, so that the decoder
            tolerates errors of a generator.
    """

    crop_segments: int = 16
    mel: float = 1.0
    rise: float = 0.5
    feature_noise: float = 0.1


@dataclass(frozen=True, kw_only=True)
class FeaturesAndSounds:
    """One split.

    Attributes:
        features: (N, segments * bands, W) float16.
        sounds: (N, samples) int16 at 8 kHz.
    """

    features: NDArray[np.float16]
    sounds: NDArray[np.int16]


class MelDecoderTask(Task):
    """The codec as a `Task` of one phase."""

    phases = ("codec",)

    def __init__(
        self,
        codec: FeatureCodec,
        losses: MelLossConfig,
        *,
        data: FeaturesAndSounds,
        validation_data: FeaturesAndSounds,
    ) -> None:
        """Fits the statistics of the features.

        Raises:
            ConfigError: a crop does not contain complete mel frames.
            DataError: the clips are shorter than a crop.
        """
        together, available = codec.config.segments_together, self._segments(codec, data)
        if losses.crop_segments % together or losses.crop_segments < 1:
            raise ConfigError(
                f"losses.crop_segments={losses.crop_segments}: expected a multiple of {together}, "
                "so that mel frames are complete"
            )
        if available < losses.crop_segments:
            raise DataError(
                f"clips of {available} segments: expected at least losses.crop_segments="
                f"{losses.crop_segments}",
                hint="set losses.crop_segments lower",
            )
        self.losses = losses
        self.modules = {"codec": codec}
        self._config, self._data, self._mel = codec.config, data, PaperMel()
        some = np.asarray(data.features[:STATISTICS_CLIPS], np.float32)
        rows = torch.from_numpy(some).flatten(0, 1)
        codec.mel_decoder.latent_mean.copy_(rows.mean(0))
        codec.mel_decoder.latent_deviation.copy_(rows.std(0).clamp_min(1e-3))
        count = min(VALIDATION_CLIPS, len(validation_data.features))
        starts = np.zeros(count, np.int64)
        self._validation = self._crops(validation_data, np.arange(count), starts)

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random windows: "features" (B, L, W), "sound" (B, N) at 8 kHz, and "clip" (B,)."""
        chosen = rng.integers(len(self._data.features), size=clips)
        available = self._segments(feature_codec_of(self.modules), self._data)
        spare = available - self.losses.crop_segments
        return self._crops(self._data, chosen, rng.integers(spare + 1, size=clips))

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """Distances of the levels that are decoded from noisy features from the true ones."""
        codec, features = feature_codec_of(self.modules), batch["features"]
        deviation = codec.mel_decoder.latent_deviation
        noise = self.losses.feature_noise * deviation * normal_like(features)
        terms = self._distances(codec, features + noise, batch["sound"])
        return weighted_sum(terms, self.losses)

    def validate(self, modules: Modules) -> Figures:
        """Distances for exact features of validation clips."""
        codec = feature_codec_of(modules)
        device = next(codec.parameters()).device
        values: dict[str, list[float]] = {}
        pairs = (self._validation[name].to(device).split(16) for name in ("features", "sound"))
        for features, sound in zip(*pairs, strict=True):
            for name, value in self._distances(codec, features, sound).items():
                values.setdefault(name, []).append(float(value))
        return {name: float(np.mean(each)) for name, each in values.items()}

    def export(self, modules: Modules) -> Exported:
        """The averaged codec with its vocoder."""
        codec = feature_codec_of(modules)
        shape: dict[str, Any] | None = None
        if isinstance(codec.vocoder, NeuralVocoder):
            shape = asdict(codec.vocoder.config)
        return {"codec": (codec, {"mel_decoder": asdict(codec.config), "vocoder": shape})}

    def _crops(
        self, data: FeaturesAndSounds, clips: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> Batch:
        """Windows that begin at given segments of given clips."""
        bands, samples = self._config.bands, self._config.segment_samples
        length = self.losses.crop_segments
        pairs = list(zip(clips, starts, strict=True))
        features = [data.features[c, s * bands : (s + length) * bands] for c, s in pairs]
        sounds = [data.sounds[c, s * samples : (s + length) * samples] for c, s in pairs]
        return {
            "features": torch.from_numpy(np.stack(features).astype(np.float32)),
            "sound": torch.from_numpy(np.stack(sounds).astype(np.float32) / INT16_FULL_SCALE),
            "clip": torch.from_numpy(np.asarray(clips, np.int64)),
        }

    def _segments(self, codec: FeatureCodec, data: FeaturesAndSounds) -> int:
        """Segments of the clips that have both features and sound."""
        config = codec.config
        return min(
            data.features.shape[1] // config.bands, data.sounds.shape[1] // config.segment_samples
        )

    def _distances(self, codec: FeatureCodec, features: Tensor, sound: Tensor) -> dict[str, Tensor]:
        """Distances of decoded from true levels, without the frames whose windows are cut."""
        with torch.autocast(sound.device.type, enabled=False):
            levels = self._mel.to(sound.device)(sound)
        error = (codec.mel_decoder(features) - levels)[:, 1:-1]
        return {"mel": error.abs().mean(), "rise": error.diff(dim=1).abs().mean()}


def feature_codec_of(modules: Modules) -> FeatureCodec:
    """The codec among a task's modules."""
    return cast(FeatureCodec, modules["codec"])
