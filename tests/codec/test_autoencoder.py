"""The codec's network: shapes, lengths, receptive field, standardisation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.errors import ConfigError

SMALL = CodecConfig(
    encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=2, fine_blocks=3
)
HOP = SMALL.hop_samples


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return Codec(SMALL).eval().requires_grad_(False)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shapes_and_lengths(codec, count):
    sound = 0.1 * torch.randn(2, count * HOP)
    latents = codec.encode(sound)
    assert latents.shape == (2, count, SMALL.channels)
    decoded = codec.decode(latents)
    assert decoded.shape == sound.shape
    assert decoded.dtype == torch.float32


def test_audio_of_a_fraction_of_a_frame_is_refused(codec):
    with pytest.raises(ValueError, match="961 samples: expected a multiple of 960"):
        codec.encode(torch.zeros(1, 961))


def test_the_tiny_codec_has_at_most_12_million_parameters():
    config = CodecConfig()
    assert sum(p.numel() for p in Codec(config).parameters()) <= 12e6
    assert (config.rate_hz, config.latent_rate_hz) == (48_000, 50.0)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e4])
def test_silence_and_loud_audio_stay_finite(codec, level):
    sound = level * torch.randn(1, 4 * HOP, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(codec.decode(codec.encode(sound))).all())
    assert bool(torch.isfinite(codec.decode(level * torch.ones(1, 4, SMALL.channels))).all())


@pytest.mark.parametrize("fine_blocks", [0, 1, 2, 3])
def test_context_frames_is_the_receptive_field(fine_blocks):
    torch.manual_seed(1)
    config = replace(SMALL, decoder_width=8, decoder_blocks=1, fine_blocks=fine_blocks)
    codec = Codec(config).requires_grad_(False)
    nn.init.normal_(codec.decoder.gain_head.weight)
    reach = codec.context_frames
    latents = torch.randn(1, 2 * reach + 5, SMALL.channels)
    middle = reach + 2
    changed = latents.clone()
    changed[0, middle] += 10.0
    difference = (codec.decode(changed) - codec.decode(latents)).abs().reshape(-1, HOP).amax(1)
    moved = difference.nonzero()[:, 0]
    assert middle - int(moved.min()) <= reach
    assert int(moved.max()) - middle <= reach
    # Not much larger than needed either, because streaming recomputes it for each piece
    assert int(moved.max()) - middle >= reach - 2


def test_latents_are_equivariant_to_shifts_by_a_hop(codec):
    sound = torch.randn(1, 30 * HOP, generator=torch.Generator().manual_seed(2))
    late = torch.roll(sound, 3 * HOP, dims=1)
    # Away from the ends
    shifted, wanted = codec.encode(late)[:, 12:20], codec.encode(sound)[:, 9:17]
    torch.testing.assert_close(shifted, wanted, atol=1e-4, rtol=0)


def test_gains_multiply_the_sound_in_steps_of_a_few_milliseconds():
    """A gain of zero before a moment removes what a window spreads to the time before it."""
    config = replace(SMALL, fine_blocks=0, propagates_phase=False)
    codec = Codec(config).eval().requires_grad_(False)
    assert torch.equal(
        codec.decoder.spectra(torch.randn(1, 4, SMALL.channels)).gains.unique(), torch.ones(1)
    )
    spectra = codec.spectra(torch.randn(1, 4, SMALL.channels))
    gains = spectra.gains.clone()
    gains.view(-1)[:20] = 0.0  # the first 20 of 64 steps of 60 samples
    full, gated = (codec.decoder.synthesise(s) for s in (spectra, spectra._replace(gains=gains)))
    step = HOP // (2 * config.gains_per_spectrum)
    middle = 20 * step - step // 2  # the centre of the last step with a gain of 0
    assert bool((gated[0, :middle] == 0).all())
    torch.testing.assert_close(gated[0, middle + step :], full[0, middle + step :])
    ramp = (gated / full)[0, middle : middle + step]
    torch.testing.assert_close(ramp, (torch.arange(step) + 0.5) / step, atol=1e-3, rtol=0)


def test_decoding_inverts_the_standardisation(codec):
    torch.manual_seed(3)
    other = Codec(SMALL).requires_grad_(False)
    other.load_state_dict(codec.state_dict())
    other.latent_mean += torch.randn(SMALL.channels)
    other.latent_deviation *= 3.0
    sound = 0.1 * torch.randn(1, 5 * HOP)
    plain, standardised = codec.encode(sound), other.encode(sound)
    torch.testing.assert_close(standardised, (plain - other.latent_mean) / 3.0)
    torch.testing.assert_close(
        other.decode(standardised), codec.decode(plain), atol=1e-5, rtol=1e-4
    )


def test_hops_that_are_no_multiple_of_8_are_refused():
    with pytest.raises(ConfigError, match="hop_samples=100: expected a multiple of 8"):
        CodecConfig(hop_samples=100)
