"""VGGish, PANNs and PaSST, small and with random weights, against second implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.small_judges import SMALL_PASST as SMALL
from support.small_judges import attend_by_head, noise, published_shapes, randomised, triangle
from torch.nn import functional

from foleyflow.judges.networks import diff_foley, panns, passt, synchformer, vggish
from foleyflow.judges.networks.panns import Cnn14
from foleyflow.judges.networks.passt import Passt
from foleyflow.judges.networks.vggish import Vggish
from foleyflow.spectrogram import mel_triangles


def test_mel_triangles_add_up_to_one_between_the_outer_centres():
    filters = mel_triangles(bands=20, window_samples=4096, rate_hz=16000, low_hz=100, high_hz=7000)
    hertz = torch.linspace(0, 8000, 2049)
    low_mel, high_mel = np.log(1 + 100 / 700), np.log(1 + 7000 / 700)
    centres = 700 * (torch.exp(torch.linspace(low_mel, high_mel, 22)) - 1)
    inside = (hertz > centres[1]) & (hertz < centres[-2])
    torch.testing.assert_close(filters.sum(1)[inside], torch.ones(int(inside.sum())))
    assert not filters[(hertz < 100) | (hertz > 7000)].any()
    assert not filters[0].any()
    # Linear on the mel axis: half of the peak at the mel half way between two centres
    middle_hz = 700 * (torch.sqrt((1 + centres[5] / 700) * (1 + centres[6] / 700)) - 1)
    nearest = int((hertz - middle_hz).abs().argmin())
    assert float(filters[nearest, 5]) == pytest.approx(0.5, abs=0.02)


def test_vggish_has_the_published_tensors():
    named = published_shapes(Vggish)
    assert named["features.0.weight"] == (64, 1, 3, 3)
    assert named["features.13.weight"] == (512, 512, 3, 3)
    assert named["embeddings.0.weight"] == (4096, 512 * 4 * 6)
    assert named["embeddings.4.weight"] == (128, 4096)
    assert len(named) == 18


@pytest.mark.parametrize(("seconds", "patches"), [(0.975, 1), (1.9, 1), (8.0, 8), (10.0, 10)])
def test_vggish_drops_an_incomplete_patch(seconds, patches):
    assert Vggish((2, 2, 2, 2), 4).patches(noise(round(seconds * 16000))).shape == (patches, 96, 64)


def test_vggish_patches_match_numpy():
    samples = noise(19_200)
    patch = Vggish((2, 2, 2, 2), 4).patches(samples)[0].numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)  # periodic
    edges = np.linspace(*(1127 * np.log1p(np.array([125.0, 7500.0]) / 700)), 66)
    bins = 1127 * np.log1p(np.arange(257) * 16000 / 512 / 700)
    for frame in (0, 50, 95):
        size = np.abs(np.fft.rfft(samples.numpy()[160 * frame :][:400] * window, 512))
        for band in (0, 20, 63):
            expected = np.log(size @ triangle(bins, edges[band : band + 3]) + 0.01)
            assert patch[frame, band] == pytest.approx(expected, abs=1e-3)


def test_vggish_flattens_time_before_bands_before_channels():
    network = randomised(Vggish((2, 3, 4, 5), 6))
    patches = network.patches(noise(32_000))
    maps = network.features(patches[:, None])
    assert maps.shape == (2, 5, 6, 4)
    flat = maps.transpose(1, 3).transpose(1, 2).reshape(2, -1)
    torch.testing.assert_close(network(patches), network.embeddings(flat))
    # There is no ReLU at the end, as in av-benchmark
    assert bool((network(patches) < 0).any())


def test_vggish_refuses_a_sound_shorter_than_a_patch():
    with pytest.raises(ValueError, match="15599 samples at 16000 Hz, VGGish needs at least 15600"):
        Vggish((2, 2, 2, 2), 4).patches(torch.zeros(15599))


def test_panns_has_the_published_tensors():
    named = published_shapes(Cnn14)
    assert named["spectrogram_extractor.stft.conv_real.weight"] == (257, 1, 512)
    assert named["logmel_extractor.melW"] == (257, 64)
    assert named["conv_block6.conv2.weight"] == (2048, 2048, 3, 3)
    assert named["fc1.weight"] == (2048, 2048)
    assert named["fc_audioset.weight"] == (527, 2048)
    assert named["bn0.running_var"] == (64,)


def test_panns_spectrogram_matches_librosa():
    librosa = pytest.importorskip("librosa")
    samples = noise(16_000)
    network = Cnn14((2, 2, 2, 2, 2, 2), 3)
    power = network.spectrogram_extractor(samples[None])[0].numpy()
    spectrum = librosa.stft(
        samples.numpy(), n_fft=512, hop_length=160, window="hann", center=True, pad_mode="reflect"
    )
    assert power.shape == (101, 257)
    np.testing.assert_allclose(power, np.abs(spectrum.T) ** 2, rtol=1e-3, atol=1e-4)
    mel = network.logmel_extractor(torch.from_numpy(power)[None])[0].numpy()
    filters = network.logmel_extractor.melW.detach().numpy()
    np.testing.assert_allclose(mel, librosa.power_to_db(power @ filters, top_db=None), atol=1e-3)


def test_panns_matches_explicit_layers():
    network = randomised(Cnn14((2, 3, 4, 5, 6, 7), 11))
    samples = torch.stack([noise(16_000), noise(16_000, seed=1)])
    with torch.no_grad():
        logits, hidden = network(samples)
        mel = network.logmel_extractor(network.spectrogram_extractor(samples))
        bn = network.bn0
        maps = (mel - bn.running_mean) / torch.sqrt(bn.running_var + bn.eps) * bn.weight + bn.bias
        maps = maps[:, None]
        for index in range(1, 7):
            block = getattr(network, f"conv_block{index}")
            maps = functional.relu(block.bn1(block.conv1(maps)))
            maps = functional.relu(block.bn2(block.conv2(maps)))
            if index < 6:
                maps = functional.avg_pool2d(maps, 2)
        assert maps.shape == (2, 7, 3, 2)
        frames = maps.mean(3)
        expected = functional.relu(network.fc1(frames.max(2).values + frames.mean(2)))
    torch.testing.assert_close(hidden, expected)
    torch.testing.assert_close(logits, network.fc_audioset(expected).detach())
    assert logits.shape == (2, 11)


def test_panns_refuses_sounds_that_its_pooling_reduces_to_nothing():
    network = randomised(Cnn14((2, 2, 2, 2, 2, 2), 3))
    assert network(torch.zeros(1, panns.SHORTEST_SAMPLES))[0].shape == (1, 3)
    with pytest.raises(ValueError, match="4959 samples at 16000 Hz, PANNs needs at least 4960"):
        network(torch.zeros(1, 4959))


def test_passt_has_the_published_tensors():
    named = published_shapes(Passt)
    assert named["time_new_pos_embed"] == (1, 768, 1, 99)
    assert named["freq_new_pos_embed"] == (1, 768, 12, 1)
    assert named["patch_embed.proj.weight"] == (768, 1, 16, 16)
    assert named["blocks.11.attn.qkv.weight"] == (2304, 768)
    assert named["blocks.0.mlp.fc1.weight"] == (3072, 768)
    assert named["head.0.weight"] == (768,)
    assert named["head.1.weight"] == (527, 768)
    assert named["head_dist.weight"] == (527, 768)
    assert len(named) == 5 + 2 + 12 * 12 + 2 + 4 + 2


def test_passt_spectrogram_matches_numpy():
    network = Passt(SMALL)
    spectrogram = network.spectrogram(noise(320_000)[None])
    assert spectrogram.shape == (1, 128, 1000)
    samples = noise(320_000).numpy().astype(np.float64)
    emphasised = samples[1:] - 0.97 * samples[:-1]
    padded = np.pad(emphasised, 512, mode="reflect")
    window = np.zeros(1024)
    window[112:912] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)  # symmetric
    for frame in (0, 500, 999):
        power = np.abs(np.fft.rfft(padded[320 * frame :][:1024] * window)) ** 2
        expected = (np.log(power @ network.filters.numpy() + 1e-5) + 4.5) / 5
        np.testing.assert_allclose(spectrogram[0, :, frame].numpy(), expected, atol=2e-3)


def test_passt_matches_explicit_layers():
    network = randomised(Passt(SMALL))
    samples = noise(48_000)[None]
    with torch.no_grad():
        logits, features = network(samples)
        patches = network.patch_embed.proj(network.spectrogram(samples)[:, None])
        rows, columns = patches.shape[-2:]
        assert (rows, columns) == (12, 14)
        tokens = [
            patches[0, :, f, t]
            + network.freq_new_pos_embed[0, :, f, 0]
            + network.time_new_pos_embed[0, :, 0, t]
            for f in range(rows)
            for t in range(columns)
        ]
        first = network.cls_token[0, 0] + network.new_pos_embed[0, 0]
        second = network.dist_token[0, 0] + network.new_pos_embed[0, 1]
        hidden = torch.stack([first, second, *tokens])
        for block in network.blocks:
            normed = block.norm1(hidden)
            parts = block.attn.qkv(normed).split(8, dim=1)
            hidden = hidden + block.attn.proj(attend_by_head(*parts, 2))
            inner = functional.gelu(block.mlp.fc1(block.norm2(hidden)))
            hidden = hidden + block.mlp.fc2(inner)
        expected = network.norm(hidden)[:2].mean(0)
    torch.testing.assert_close(features[0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits[0], network.head(expected).detach(), atol=1e-5, rtol=1e-4)


def test_sample_rates_are_the_published_ones():
    networks = (vggish, panns, passt, synchformer, diff_foley)
    assert [network.RATE_HZ for network in networks] == [16000, 16000, 32000, 16000, 16000]
