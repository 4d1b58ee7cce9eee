"""LAION-CLAP's audio encoder: 512-dimensional embeddings of up to 10 s of sound.

Network and front end come from `transformers`, without torchaudio. The weights are those of
laion/larger_clap_general; the text half is left out. The library takes a random excerpt of sounds
longer than 10 s, so they are refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import import_failure

RATE_HZ = 48_000
LONGEST_S = 10.0
# HTSAT-base and CLAP's projection, as in the published config.json
PUBLISHED_SHAPE: dict[str, Any] = {
    "patch_embeds_hidden_size": 128,
    "depths": [2, 2, 12, 2],
    "hidden_size": 1024,
    "projection_dim": 512,
    "enable_fusion": False,
}


class Clap(nn.Module):
    """The audio half of CLAP, with the published tensor names; other shapes are for tests.

    Raises:
        MissingExtra: transformers is not installed.
        ConfigError: transformers is installed but can't be imported.

    Reference: Wu et al., ICASSP 2023; ClapModel of transformers.
    """

    def __init__(self, shape: dict[str, Any] | None = None) -> None:
        super().__init__()
        try:
            from transformers import (
                ClapAudioConfig,
                ClapAudioModelWithProjection,
                ClapFeatureExtractor,
            )
        except ImportError as error:
            raise import_failure(error, "transformers", "judges") from error
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
        """Embedding of a (N,) float32 sound at 48 kHz of up to 10 s, (512,) of unit length.

        A shorter sound is repeated as often as it fits into 10 s, then padded.
        """
        longest = round(LONGEST_S * RATE_HZ)
        if not 0 < len(sound) <= longest:
            raise ValueError(
                f"{len(sound)} samples at {RATE_HZ} Hz, CLAP accepts 1 to {longest} samples"
            )
        inputs = self._front_end(
            sound.cpu().numpy().astype(np.float64), sampling_rate=RATE_HZ, return_tensors="pt"
        )
        features = self._network(
            input_features=inputs["input_features"].float().to(sound.device),
            is_longer=torch.zeros(1, 1, dtype=torch.bool, device=sound.device),
        ).audio_embeds
        return functional.normalize(features[0], dim=-1)
