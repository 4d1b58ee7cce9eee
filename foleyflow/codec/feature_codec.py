"""Features of a published sound encoder to sound: to the paper's mel spectrogram, then a vocoder.

The encoder's rows of a segment, from low to high frequencies, are consecutive latent frames. The
encoder itself is not part of the codec: its features are computed for training only.

Dimension letters: B batch, S segments, L latent frames (S times the bands), C channels, T mel
frames, M mel bands, N samples at 8 kHz, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.codec.autoencoder import ConvNextBlock
from foleyflow.codec.interface import SoundCodec
from foleyflow.codec.paper_mel import BANDS, FRAME_RATE_HZ, HOP_SAMPLES, RATE_HZ
from foleyflow.codec.vocoder import Vocoder
from foleyflow.errors import ConfigError

BLOCK_SEGMENTS = 32  # segments that are decoded together, at least
LEVEL_MEAN, LEVEL_DEVIATION = -6.0, 3.0  # of the log-mel levels, approximately


@dataclass(frozen=True, kw_only=True)
class FeatureCodecConfig:
    """Shape of the codec."""

    published: str  # name of the sound encoder
    channels: int  # width of its features
    bands: int = 8  # rows of features per segment
    segment_s: float = 10.0 / 64
    rate_hz: int = 32_000  # of the decoded sound, which has no content above 4 kHz
    width: int = 512
    blocks: int = 3  # ConvNeXt blocks at the rate of the segments
    fine_width: int = 256
    fine_blocks: int = 3  # at the rate of the mel frames

    def __post_init__(self) -> None:
        for name, rate_hz, parts in (
            ("rate_hz", self.rate_hz, self.bands),
            ("8000 Hz", RATE_HZ, 1),
        ):
            samples = rate_hz * self.segment_s / parts
            if self.rate_hz < RATE_HZ or samples < 1 or abs(samples - round(samples)) > 1e-6:
                raise ConfigError(
                    f"rate_hz={self.rate_hz}, segment_s={self.segment_s}, bands={self.bands}: "
                    f"{samples:g} samples at {name}: expected a whole number, and at least 8000 Hz",
                    hint="32000 Hz fits segments of 10/64 s and of 0.16 s with 8 bands",
                )

    @property
    def hop_samples(self) -> int:
        """Samples of the decoded sound per latent frame."""
        return round(self.rate_hz * self.segment_s / self.bands)

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second: rows of features, of which each segment has `bands`."""
        return self.bands / self.segment_s

    @property
    def segment_samples(self) -> int:
        """Samples of a segment at 8 kHz."""
        return round(RATE_HZ * self.segment_s)

    @property
    def segments_together(self) -> int:
        """The smallest number of segments that contains complete mel frames only."""
        return Fraction(self.segment_samples, HOP_SAMPLES).denominator


class MelDecoder(nn.Module):
    """Features (B, L, C) to log-mel levels (B, T, M); a regression without noise."""

    latent_mean: Tensor
    latent_deviation: Tensor

    def __init__(self, config: FeatureCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("latent_mean", torch.zeros(config.channels))
        self.register_buffer("latent_deviation", torch.ones(config.channels))
        self.input = nn.Linear(config.bands * config.channels, config.width)
        self.blocks = nn.Sequential(*(ConvNextBlock(config.width) for _ in range(config.blocks)))
        self.expand = nn.Linear(config.width, config.bands * config.fine_width)
        self.fine = nn.Sequential(
            *(ConvNextBlock(config.fine_width) for _ in range(config.fine_blocks))
        )
        self.norm = nn.LayerNorm(config.fine_width)
        self.head = nn.Linear(config.fine_width, BANDS)

    @property
    def context_segments(self) -> int:
        """Segments on each side that influence the levels of a segment."""
        fine_s = 3 * self.config.fine_blocks / FRAME_RATE_HZ + self.config.segment_s
        return 3 * self.config.blocks + math.ceil(fine_s / self.config.segment_s)

    def forward(self, features: Tensor) -> Tensor:
        """Takes complete segments; T covers them, rounded up to complete mel frames."""
        # Blocks at the rate of the segments
        standard = (features - self.latent_mean) / self.latent_deviation
        hidden = self.input(standard.unflatten(1, (-1, self.config.bands)).flatten(2))
        hidden = self.expand(self.blocks(hidden))
        # As many steps as latent frames, interpolated at the centres of the mel frames
        hidden = hidden.unflatten(2, (self.config.bands, -1)).flatten(1, 2)
        hidden = self.fine(self._at_mel_frames(hidden))
        return self.head(self.norm(hidden)).float() * LEVEL_DEVIATION + LEVEL_MEAN

    def _at_mel_frames(self, steps: Tensor) -> Tensor:
        """(B, L, D) to (B, T, D), linearly in time."""
        count = steps.shape[1]
        samples = count // self.config.bands * self.config.segment_samples
        centres = torch.arange(-(-samples // HOP_SAMPLES), device=steps.device) + 0.5
        positions = centres / FRAME_RATE_HZ * self.config.latent_rate_hz - 0.5
        positions = positions.clamp(0, count - 1)
        before = positions.floor().long()
        after = (before + 1).clamp_max(count - 1)
        weight = (positions - before).to(steps.dtype)[:, None]
        return torch.lerp(steps[:, before], steps[:, after], weight)


class FeatureCodec(SoundCodec):
    """The mel decoder and a vocoder, with sound at the rate of the output."""

    config: FeatureCodecConfig

    def __init__(self, config: FeatureCodecConfig, vocoder: Vocoder) -> None:
        """Wrap a vocoder, whose weights are part of the codec and stay frozen."""
        super().__init__()
        self.config = config
        self.frames_per_group = config.bands
        self.mel_decoder = MelDecoder(config)
        self.vocoder = vocoder.requires_grad_(False)

    @property
    def context_frames(self) -> int:
        """Latent frames on each side that influence a decoded frame, in complete mel frames."""
        vocoder_s = self.vocoder.context_frames / FRAME_RATE_HZ
        segments = self.mel_decoder.context_segments + math.ceil(vocoder_s / self.config.segment_s)
        return self._whole(segments) * self.config.bands

    def encode(self, waveform: Tensor) -> Tensor:
        """Not possible without the published encoder.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"a codec of features of {self.config.published!r} has no encoder: expected latents",
            hint="train flow computes the features; measure vocoder measures the decoder",
        )

    def decode(self, latents: Tensor) -> Tensor:
        """Features (B, L, C), complete segments, to audio (B, L * hop_samples)."""
        return torch.cat(
            [torch.cat(list(self.decode_pieces([each])), 1) for each in latents.split(1)]
        )

    def decode_pieces(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decodes blocks of a fixed length with features on both sides; see `SoundCodec`."""
        device = self.mel_decoder.latent_mean.device
        upsample = soxr.ResampleStream(
            RATE_HZ, self.config.rate_hz, 1, dtype="float32", quality="VHQ"
        )
        samples, received = 0, 0
        blocks = self._blocks(self._counted(piece, device) for piece in pieces)
        for audio, frames, is_last in blocks:
            found = upsample.resample_chunk(audio[0].cpu().numpy(), last=is_last)
            received += frames
            found = _first_samples(found, received * self.config.hop_samples - samples, is_last)
            samples += len(found)
            yield torch.from_numpy(found)[None].to(device)

    def _counted(self, piece: Tensor, device: torch.device) -> Tensor:
        if piece.shape[1] % self.config.bands:
            raise ValueError(
                f"{piece.shape[1]} latent frames: expected a multiple of {self.config.bands}"
            )
        return piece.to(device)

    def _blocks(self, pieces: Iterable[Tensor]) -> Iterator[tuple[Tensor, int, bool]]:
        """Audio (1, N) at 8 kHz of each block, its latent frames, and whether it is the last one.

        The blocks depend on the total length only. A vocoder that continues its own sound gets that
        of the frames before the block.
        """
        bands, context = self.config.bands, self.context_frames
        block = self._whole(BLOCK_SEGMENTS) * bands
        held = torch.zeros(1, 0, self.config.channels, device=self.mel_decoder.latent_mean.device)
        known = held.new_zeros(1, 0)
        before = 0  # frames at the start of `held` that are decoded already

        def decode(frames: int) -> Tensor:
            """Audio of the first frames of `held`, without those that are decoded already."""
            levels = self.mel_decoder(held[:, : frames + context])
            audio = self.vocoder(levels, known)
            first, last = (
                count // bands * self.config.segment_samples for count in (before, frames)
            )
            return audio[:, first:last].float()

        for piece in pieces:
            held = torch.cat([held, piece], 1)
            while held.shape[1] - before >= block + context:
                audio = decode(before + block)
                yield audio, block, False
                # Keep the left context of the next block
                drop = max(0, before + block - context)
                held, before = held[:, drop:], before + block - drop
                kept = before // bands * self.config.segment_samples
                known = torch.cat([known, audio], 1)[:, -kept:]
        if held.shape[1]:
            yield decode(held.shape[1]), held.shape[1] - before, True

    def _whole(self, segments: int) -> int:
        """The number of segments, rounded up so that mel frames are complete."""
        together = self.config.segments_together
        return -(-segments // together) * together


def _first_samples(samples: NDArray[np.float32], count: int, is_last: bool) -> NDArray[np.float32]:
    """At most `count` samples; exactly so many at the end of a sound, with zeros if needed."""
    if is_last and len(samples) < count:
        return np.pad(samples, (0, count - len(samples)))
    return samples[:count]
