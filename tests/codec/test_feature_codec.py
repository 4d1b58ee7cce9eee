"""The decoder of published features: times, streaming and errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from foleyflow.codec.feature_codec import FeatureCodec, FeatureCodecConfig, MelDecoder
from foleyflow.codec.paper_mel import BANDS, PaperMel
from foleyflow.codec.streaming import decode_stream
from foleyflow.codec.vocoder import GriffinLim, NeuralVocoder, Vocoder, VocoderConfig
from foleyflow.errors import ConfigError, DataError
from foleyflow.training.tasks.mel_decoder import FeaturesAndSounds, MelDecoderTask, MelLossConfig

SMALL = FeatureCodecConfig(
    published="audiomae", channels=6, width=16, blocks=1, fine_width=16, fine_blocks=1
)


def small_codec(kind: str, config: FeatureCodecConfig = SMALL) -> FeatureCodec:
    torch.manual_seed(0)
    vocoder: Vocoder = GriffinLim(iterations=4)
    if kind == "neural":
        shape = VocoderConfig(width=16, blocks=1, fine_width=16, fine_blocks=1)
        vocoder = NeuralVocoder(shape)
    return FeatureCodec(config, vocoder).eval()


@pytest.mark.parametrize(
    ("segment_s", "rate_hz", "hop", "together"),
    [
        (10 / 64, 32_000, 625, 4),
        (0.16, 8000, 160, 5),
        (0.16, 48_000, 960, 5),
        (0.1, 16_000, 200, 1),
    ],
)
def test_segments_have_whole_samples(segment_s, rate_hz, hop, together):
    config = dataclasses.replace(SMALL, segment_s=segment_s, rate_hz=rate_hz)
    assert (config.hop_samples, config.segments_together) == (hop, together)
    assert config.latent_rate_hz == pytest.approx(rate_hz / hop)
    codec = small_codec("neural", config)
    with torch.no_grad():
        audio = codec.decode(torch.randn(2, 7 * 8, 6))
    assert audio.shape == (2, 7 * 8 * hop)


def test_fractional_samples_are_refused():
    with pytest.raises(ConfigError, match=r"937\.5 samples at rate_hz: expected a whole number"):
        dataclasses.replace(SMALL, rate_hz=48_000)
    with pytest.raises(ConfigError, match="at least 8000 Hz"):
        dataclasses.replace(SMALL, segment_s=0.16, rate_hz=4000)


@pytest.mark.parametrize("kind", ["neural", "griffin-lim"])
@pytest.mark.parametrize("segments", [3, 32, 117])
def test_pieces_give_the_sound_of_one_call(kind, segments):
    codec = small_codec(kind)
    torch.manual_seed(1)
    latents = torch.randn(1, segments * 8, 6)
    with torch.inference_mode():
        complete = codec.decode(latents)
        for size in (8, 56, 400):
            pieces = list(decode_stream(codec, latents.split(size, dim=1)))
            torch.testing.assert_close(torch.cat(pieces, 1), complete, atol=0, rtol=0)
    assert complete.shape == (1, segments * 5000)


def test_blocks_of_the_network_leave_no_seams():
    """The same levels in one block and in several; the mel decoder and vocoder are local."""
    codec = small_codec("neural")
    torch.manual_seed(1)
    latents = torch.randn(1, 100 * 8, 6)
    with torch.inference_mode():
        at_once = codec.vocoder(codec.mel_decoder(latents))
        blocks = torch.cat([audio for audio, _, _ in codec._blocks([latents])], 1)
    torch.testing.assert_close(blocks, at_once, atol=1e-5, rtol=1e-4)


def test_upsampling_keeps_times():
    """Every fourth sample at 32 kHz is a sample at 8 kHz, up to what the filter takes away."""
    codec = small_codec("neural")
    torch.manual_seed(1)
    latents = torch.randn(1, 70 * 8, 6)
    with torch.inference_mode():
        narrow = torch.cat([audio for audio, _, _ in codec._blocks([latents])], 1)[0]
        wide = codec.decode(latents)[0, ::4]
    similarities = {
        lag: float(torch.cosine_similarity(narrow[8:-8], wide.roll(-lag)[8:-8], dim=0))
        for lag in range(-2, 3)
    }
    assert max(similarities, key=similarities.get) == 0
    assert similarities[0] > 0.95


def test_a_part_that_is_decoded_with_its_context_is_that_of_the_sound():
    codec = small_codec("neural")
    torch.manual_seed(1)
    latents, reach = torch.randn(1, 100 * 8, 6), codec.context_frames
    first, last, hop = 40 * 8, 48 * 8, codec.config.hop_samples
    assert first % codec.frames_per_group == 0
    with torch.inference_mode():
        complete = codec.decode(latents)
        part = codec.decode(latents[:, first - reach : last + reach])
    inside = slice(first * hop, last * hop)
    own = part[:, reach * hop : (reach + last - first) * hop]
    torch.testing.assert_close(own, complete[:, inside], atol=1e-4, rtol=1e-3)


def test_a_change_of_one_segment_shows_at_its_time():
    torch.manual_seed(0)
    decoder = MelDecoder(SMALL)
    features = torch.randn(1, 64 * 8, 6)
    changed = features.clone()
    changed[:, 30 * 8 : 31 * 8] += 3.0
    with torch.no_grad():
        difference = (decoder(changed) - decoder(features))[0].abs().mean(1)
    assert len(difference) == 400
    centre_s = float((difference * (torch.arange(400) + 0.5) / 40).sum() / difference.sum())
    assert abs(centre_s - 30.5 * 10 / 64) < 0.05
    reach_s = (decoder.context_segments + 0.5) * 10 / 64
    outside = (torch.arange(400) / 40 - centre_s).abs() > reach_s + 0.1
    assert difference[outside].max() == 0


def test_incomplete_segments_and_encoding_are_refused():
    codec = small_codec("griffin-lim")
    with pytest.raises(ValueError, match="12 latent frames: expected a multiple of 8"):
        codec.decode(torch.zeros(1, 12, 6))
    with pytest.raises(ConfigError, match="no encoder"):
        codec.encode(torch.zeros(1, 8000))
    assert codec.level_deviations().tolist() == [1.0] * 6


def small_data(segments: int = 16, clips: int = 12) -> FeaturesAndSounds:
    """Noise whose level changes from segment to segment, with features that contain the level."""
    rng = np.random.default_rng(0)
    level = rng.uniform(-6, -1, (clips, segments))
    noise = rng.standard_normal((clips, segments, 1250))
    sounds = np.clip(noise * np.exp(level)[..., None], -1, 1) * 32767
    features = np.repeat(level, 8, 1)[..., None] * np.linspace(0.5, 1.5, 6)
    return FeaturesAndSounds(
        features=features.astype(np.float16), sounds=sounds.reshape(clips, -1).astype(np.int16)
    )


def test_the_mel_decoder_learns_levels():
    data = small_data()
    codec, losses = small_codec("griffin-lim"), MelLossConfig(crop_segments=8)
    task = MelDecoderTask(codec, losses, data=data, validation_data=data)
    with torch.no_grad():
        before = task.validate(task.modules)["mel"]
    optimiser = torch.optim.Adam(codec.mel_decoder.parameters(), 5e-3)
    rng = np.random.default_rng(0)
    for step in range(150):
        batch = task.sample_batch(rng, 6)
        assert batch["features"].shape == (6, 64, 6) and batch["sound"].shape == (6, 10_000)
        loss, _ = task.loss("codec", batch, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        after = task.validate(task.modules)["mel"]
    assert after < 0.6 < before


def test_crops_must_fit():
    data = small_data()
    for segments, error, message in (
        (6, ConfigError, "crop_segments=6: expected a multiple of 4"),
        (20, DataError, "clips of 16 segments"),
    ):
        losses = MelLossConfig(crop_segments=segments)
        with pytest.raises(error, match=message):
            MelDecoderTask(small_codec("neural"), losses, data=data, validation_data=data)


def test_levels_of_crops_lie_on_the_grid_of_the_sound():
    """25 frames are four segments, so that targets of a crop are those of the complete sound."""
    data = small_data()
    sound = torch.from_numpy(data.sounds[:1].astype(np.float32) / 32767)
    mel = PaperMel()
    complete, crop = mel(sound), mel(sound[:, 4 * 1250 : 12 * 1250])
    assert complete.shape[1:] == (100, BANDS)
    torch.testing.assert_close(crop[:, 1:-1], complete[:, 26:74])
