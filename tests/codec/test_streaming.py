"""Decoding in pieces gives the samples of the complete decode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.codec.streaming import decode_stream


@pytest.fixture(scope="module", params=["learned phases", "propagated phases"])
def codec(request):
    torch.manual_seed(0)
    config = CodecConfig(
        encoder_width=8,
        encoder_blocks=1,
        decoder_width=16,
        decoder_blocks=2,
        fine_blocks=2,
        mel_pca_bands=0,
        propagates_phase=request.param == "propagated phases",
    )
    codec = Codec(config).eval().requires_grad_(False)
    codec.decoder.head.weight *= 4.0  # many spectral peaks that start and end
    nn.init.normal_(codec.decoder.gain_head.weight)  # gains that change over time
    return codec


def random_sizes(seed: int) -> list[int]:
    random = np.random.default_rng(seed)
    longest = int(random.choice([1, 5, 30, 140]))
    return [int(size) for size in random.integers(0, longest + 1, size=random.integers(1, 40))]


@pytest.mark.parametrize(
    "sizes", [[1], [200], [1] * 60, [140, 35, 100, 3]] + [random_sizes(s) for s in range(8)]
)
def test_streamed_pieces_equal_the_complete_decode(codec, sizes):
    torch.manual_seed(len(sizes))
    latents = torch.randn(1, sum(sizes), codec.config.channels)
    blocks = list(decode_stream(codec, latents.split(sizes, dim=1)))
    if not sum(sizes):
        assert blocks == []
        return
    complete = codec.decode(latents)
    streamed = torch.cat(blocks, 1)
    assert streamed.shape == complete.shape == (1, sum(sizes) * 960)
    torch.testing.assert_close(streamed, complete, atol=1e-4, rtol=0)


def test_audio_is_returned_before_all_latents_have_arrived(codec):
    taken = []

    def pieces():
        for index in range(20):
            taken.append(index)
            yield torch.zeros(1, 25, codec.config.channels)

    next(decode_stream(codec, pieces()))
    assert len(taken) < 5


def test_no_latents_give_no_audio(codec):
    assert list(decode_stream(codec, [])) == []
