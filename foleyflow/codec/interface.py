"""What generation needs of a codec: the latents of the flow to sound, in one call or in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn


class CodecShape(Protocol):
    """The part of a codec's configuration that other packages read."""

    @property
    def rate_hz(self) -> int:
        """Audio samples per second."""

    @property
    def hop_samples(self) -> int:
        """Audio samples per latent frame."""

    @property
    def channels(self) -> int:
        """Latent channels."""

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second."""


class SoundCodec(nn.Module):
    """A network that decodes latents to sound, and may encode sound.

    Attributes:
        frames_per_group: latent frames that are decoded together; pieces are multiples of it.
    """

    config: CodecShape
    frames_per_group: int = 1

    @property
    def context_frames(self) -> int:
        """Latent frames on each side that influence a decoded frame."""
        raise NotImplementedError

    def encode(self, waveform: Tensor) -> Tensor:
        """(B, N) audio to latents (B, T, C) for the flow."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, T, C) to audio (B, T * hop_samples) float32."""
        raise NotImplementedError

    def decode_pieces(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Latents (1, T, C) that arrive in pieces to pieces of (1, n) audio, in constant memory.

        Together, they are the audio of `decode`.
        """
        raise NotImplementedError

    def level_deviations(self) -> Tensor:
        """Change of log-mel levels per unit of each latent, (C,), up to a factor; 1 if unknown."""
        return torch.ones(self.config.channels)
