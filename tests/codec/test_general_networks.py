"""Codecs on samples and on mel spectra: lengths, receptive field, streaming, storage."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.codec.mel_network import MelCodecConfig
from foleyflow.codec.streaming import decode_stream
from foleyflow.codec.waveform_network import Snake, WaveformCodecConfig
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.pretrained import load_codec, load_codec_config
from foleyflow.weights import save_component

CONFIGS = {
    "waveform": WaveformCodecConfig(
        strides=(2, 3, 4), channels=6, encoder_width=4, decoder_width=4
    ),
    "waveform 44.1 kHz": WaveformCodecConfig(
        rate_hz=44_100, strides=(2, 3, 3, 7, 7), channels=4, encoder_width=2, decoder_width=2
    ),
    "mel": MelCodecConfig(
        vocoder_strides=(3, 4), bands=16, channels=6, width=16, blocks=2, vocoder_width=4
    ),
}


@pytest.fixture(scope="module", params=CONFIGS)
def codec(request):
    torch.manual_seed(0)
    codec = Codec(CONFIGS[request.param]).eval().requires_grad_(False)
    for parameter in codec.decoder.parameters():
        if parameter.ndim > 1:
            parameter *= 2.0  # the initial weights are so small that sounds are nearly silent
    return codec


def test_full_scale_codecs_have_latents_of_50_hz():
    for config in (
        WaveformCodecConfig(),
        MelCodecConfig(),
        CONFIGS["waveform 44.1 kHz"],
        MelCodecConfig(rate_hz=44_100, vocoder_strides=(3, 3, 7, 7)),
    ):
        assert config.latent_rate_hz == 50.0
        assert config.hop_samples * 50 == config.rate_hz


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shapes_and_lengths(codec, count):
    hop, channels = codec.config.hop_samples, codec.config.channels
    latents = codec.encode(0.1 * torch.randn(2, count * hop))
    assert latents.shape == (2, count, channels)
    decoded = codec.decode(latents)
    assert decoded.shape == (2, count * hop) and decoded.dtype == torch.float32
    assert torch.equal(codec.level_deviations(), torch.ones(channels))


def test_audio_of_a_fraction_of_a_frame_is_refused(codec):
    with pytest.raises(ValueError, match="expected a multiple of"):
        codec.encode(torch.zeros(1, 2 * codec.config.hop_samples + 1))


def test_context_frames_is_the_receptive_field(codec):
    torch.manual_seed(1)
    reach, hop = codec.context_frames, codec.config.hop_samples
    middle = reach + 2
    shape = (1, 2 * reach + 5, codec.config.channels)
    latents = torch.randn(*shape, requires_grad=True)
    # Gradients show even the faintest influence on the samples of one frame
    audio = codec.decoder(latents)
    (1e20 * audio[0, middle * hop : (middle + 1) * hop].double().sum()).backward()
    read = latents.grad.abs().sum(2)[0].nonzero()[:, 0] - middle
    assert max(-int(read.min()), int(read.max())) <= reach
    # Streaming decodes the context again for each piece
    assert max(-int(read.min()), int(read.max())) >= reach - 1


@pytest.mark.parametrize("sizes", [[1], [90], [1] * 40, [70, 35, 50, 3]])
def test_streamed_pieces_equal_the_complete_decode(codec, sizes):
    torch.manual_seed(len(sizes))
    latents = torch.randn(1, sum(sizes), codec.config.channels)
    streamed = torch.cat(list(decode_stream(codec, latents.split(sizes, dim=1))), 1)
    torch.testing.assert_close(streamed, codec.decode(latents), atol=1e-5, rtol=0)


def test_stored_codecs_are_loaded_with_their_architecture(codec, tmp_path):
    save_component(
        tmp_path,
        "codec",
        module=codec,
        config=asdict(codec.config),
        provenance={},
        dtype=torch.float32,
    )
    assert load_codec_config(tmp_path) == codec.config
    loaded = load_codec(tmp_path)
    sound = 0.1 * torch.randn(1, 3 * codec.config.hop_samples)
    assert torch.equal(loaded.encode(sound), codec.encode(sound))
    latents = codec.encode(sound)
    assert torch.equal(loaded.decode(latents), codec.decode(latents))


def test_unknown_architectures_are_refused(tmp_path):
    codec = Codec(CONFIGS["waveform"])
    stored = {**asdict(codec.config), "architecture": "wavelets"}
    save_component(tmp_path, "codec", module=codec, config=stored, provenance={})
    with pytest.raises(CheckpointError, match="'wavelets', expected spectral or waveform or mel"):
        load_codec_config(tmp_path)


def test_codecs_without_an_architecture_in_their_record_are_spectral():
    from foleyflow.pretrained import EMBEDDED

    assert isinstance(load_codec_config(EMBEDDED), CodecConfig)


def test_snake_is_the_published_function():
    layer = Snake(2)
    with torch.no_grad():
        layer.alpha.copy_(torch.tensor([[0.5], [3.0]]))
    points = np.linspace(-4, 4, 9)
    found = layer(torch.tensor(np.stack([points, points])[None], dtype=torch.float32))
    for row, frequency in zip(found[0].detach().numpy(), (0.5, 3.0), strict=True):
        wanted = points + np.sin(frequency * points) ** 2 / frequency
        np.testing.assert_allclose(row, wanted, atol=1e-5)
    assert math.isclose(float(layer(torch.zeros(1, 2, 1)).detach().abs().sum()), 0.0)


def test_impossible_shapes_are_refused():
    with pytest.raises(ConfigError, match=r"strides=\(2, 1\)"):
        WaveformCodecConfig(strides=(2, 1))
    with pytest.raises(ConfigError, match="blocks=3"):
        MelCodecConfig(blocks=3)
