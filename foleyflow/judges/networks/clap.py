"""LAION-CLAP's ear: 512 numbers of length one for 10 s of sound, by the library that carries it.

The network and its front end are those of `transformers` (no torchaudio is needed); the file is
laion/larger_clap_general's, converted from music_speech_audioset_epoch_15_esc_89.98. Its text half
is not looked at. The library draws a random stretch of sounds beyond 10 s, so nothing longer may
come here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import why_not_imported

RATE_HZ = 48_000
LONGEST_S = 10.0
# HTSAT-base and CLAP's projection, as in the config.json of the published folder.
PUBLISHED_SHAPE: dict[str, Any] = {
    "patch_embeds_hidden_size": 128,
    "depths": [2, 2, 12, 2],
    "hidden_size": 1024,
    "projection_dim": 512,
    "enable_fusion": False,
}


class Clap(nn.Module):
    """The sound half of CLAP, under the names of the published file.

    Source: Wu et al., ICASSP 2023; transformers' ClapModel.
    """

    def __init__(self, shape: dict[str, Any] | None = None) -> None:
        """Builds the layers; the default is the published shape, others are for tests.

        Raises:
            MissingExtra: transformers is not installed.
            ConfigError: it is there and can't be imported.
        """
        super().__init__()
        try:
            from transformers import (
                ClapAudioConfig,
                ClapAudioModelWithProjection,
                ClapFeatureExtractor,
            )
        except ImportError as error:
            raise why_not_imported(error, "transformers", "judges") from error
        network = ClapAudioModelWithProjection(ClapAudioConfig(**(shape or PUBLISHED_SHAPE)))
        self.audio_model = network.audio_model
        self.audio_projection = network.audio_projection
        self._network: Callable[..., Any] = network.forward
        self._front_end = ClapFeatureExtractor(
            sampling_rate=RATE_HZ,
            max_length_s=int(LONGEST_S),
            frequency_min=50,
            frequency_max=14_000,
            truncation="rand_trunc",
            padding="repeatpad",
        )

    def forward(self, sound: Tensor) -> Tensor:
        """What is heard in one sound; a shorter one is repeated up to 10 s, then filled.

        Args:
            sound: (N,) float32 at 48 kHz, N from 1 to 480,000.

        Returns:
            (512,) of length one.

        Raises:
            ValueError: an empty sound, or one beyond 10 s.
        """
        longest = round(LONGEST_S * RATE_HZ)
        if not 0 < len(sound) <= longest:
            raise ValueError(f"{len(sound)} samples at {RATE_HZ} Hz, CLAP hears 1 to {longest}")
        heard = self._front_end(
            sound.numpy().astype(np.float64), sampling_rate=RATE_HZ, return_tensors="pt"
        )
        features = self._network(
            input_features=heard["input_features"].float(), is_longer=torch.zeros(1, 1).bool()
        ).audio_embeds
        return functional.normalize(features[0], dim=-1)
