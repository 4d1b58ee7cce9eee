"""Synchformer, CAVP, Diff-Foley's classifier, CLAP and ImageBind against second implementations.

Small networks with random weights are compared with explicit loops, and published shapes with the
sizes of the published files.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.small_judges import (
    SMALL_DIFF_FOLEY,
    SMALL_NETWORKS,
    SMALL_SYNCHFORMER,
    attend_by_head,
    noise,
    published_shapes,
    randomised,
    shapes,
    triangle,
)
from torch.nn import functional

from foleyflow.encoders.catalogue import IMAGEBIND_SOUND
from foleyflow.encoders.frozen import FrozenSound
from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision
from foleyflow.judges.adapters import ImageBindJudge
from foleyflow.judges.interface import VideoPreprocessing
from foleyflow.judges.networks import diff_foley
from foleyflow.judges.networks.cavp import Cavp
from foleyflow.judges.networks.diff_foley import AlignmentClassifier
from foleyflow.judges.networks.imagebind import OTHER_MODALITIES, ImageBind, three_crops
from foleyflow.judges.networks.spectra import slaney_filters
from foleyflow.judges.networks.synchformer import Synchformer
from foleyflow.judges.weights import FILES
from foleyflow.signals import Frames

SYNCHFORMER_FILE_BYTES = 950_058_171
CAVP_FILE_BYTES = 1_361_483_035
CLAP_FILE_BYTES = 776_444_665


def size_bytes(named):
    return sum(4 * int(np.prod(shape)) for shape in named.values())


def test_synchformer_has_the_published_tensors_and_their_size():
    named = published_shapes(Synchformer)
    assert named["vfeat_extractor.patch_embed_3d.proj.weight"] == (768, 3, 2, 16, 16)
    assert named["vfeat_extractor.pos_embed"] == (1, 197, 768)
    assert named["vfeat_extractor.temp_embed"] == (1, 8, 768)
    assert named["vfeat_extractor.blocks.11.timeattn.qkv.weight"] == (2304, 768)
    assert named["vfeat_extractor.spatial_attn_agg.self_attn.in_proj_weight"] == (2304, 768)
    assert named["afeat_extractor.ast.embeddings.position_embeddings"] == (1, 74, 768)
    assert named["afeat_extractor.ast.encoder.layer.11.attention.attention.key.bias"] == (768,)
    assert named["afeat_extractor.freq_attn_agg.linear1.weight"] == (3072, 768)
    assert named["transformer.pos_emb_cfg.pos_emb"] == (1, 198, 768)
    assert named["transformer.blocks.2.mlp.2.weight"] == (768, 3072)
    assert named["transformer.off_head.weight"] == (21, 768)
    named["vfeat_extractor.patch_embed.proj.weight"] = (768, 3, 16, 16)  # in the file, never used
    named["vfeat_extractor.patch_embed.proj.bias"] = (768,)
    overhead = SYNCHFORMER_FILE_BYTES - size_bytes(named)
    assert 0 < overhead < 500 * len(named)  # names and offsets of tensors


def test_synchformer_spectrogram_matches_numpy():
    network = Synchformer(SMALL_SYNCHFORMER)
    samples = noise(10240)
    spectrogram = network.spectrogram(samples[None])[0]
    assert spectrogram.shape == (128, 66)
    padded = np.pad(samples.numpy().astype(np.float64), 512, mode="reflect")
    window = np.zeros(1024)
    window[312:712] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)  # periodic
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 130) / 2595) - 1)
    bins = np.arange(513) * 16000 / 1024
    for frame in (0, 30, 64):
        power = np.abs(np.fft.rfft(padded[160 * frame :][:1024] * window)) ** 2
        for band in (0, 40, 127):
            level = np.log(power @ triangle(bins, edges[band : band + 3]) + 1e-6)
            expected = (level + 4.2677393) / (2 * 4.5689974)
            assert float(spectrogram[band, frame]) == pytest.approx(expected, abs=2e-3)
    filled = torch.full((128,), 4.2677393 / (2 * 4.5689974))
    torch.testing.assert_close(spectrogram[:, 65], filled)
    # No band is empty, so that `mel_filters` has the same bands as torchaudio
    inside = (bins[:, None] > edges[:-2]) & (bins[:, None] < edges[2:])
    assert inside.any(0).all()


def divided(attention, tokens, groups):
    """Divided attention, in which the tokens of each group attend to each other."""
    query, key, value = attention.qkv(tokens).chunk(3, 1)
    mixed = torch.empty_like(tokens)
    mixed[:1] = attend_by_head(query[:1], key, value, 2)
    for group in groups:
        others = [0, *group]
        mixed[group] = attend_by_head(query[group], key[others], value[others], 2)
    return attention.proj(mixed)


def test_synchformer_video_encoder_attends_over_time_then_over_patches():
    network = randomised(Synchformer(SMALL_SYNCHFORMER))
    vision = network.vfeat_extractor
    generator = torch.Generator().manual_seed(1)
    segment = torch.rand(1, 3, 16, 32, 32, generator=generator)
    with torch.no_grad():
        patches = vision.patch_embed_3d.proj(segment)[0]  # (D, 8, 2, 2)
        tokens = [vision.cls_token[0, 0] + vision.pos_embed[0, 0]]
        for step in range(8):
            for place in range(4):
                patch = patches[:, step, place // 2, place % 2]
                tokens.append(patch + vision.pos_embed[0, 1 + place] + vision.temp_embed[0, step])
        hidden = torch.stack(tokens)
        over_time = [[1 + 4 * step + place for step in range(8)] for place in range(4)]
        over_patches = [[1 + 4 * step + place for place in range(4)] for step in range(8)]
        for block in vision.blocks:
            hidden = hidden + divided(block.timeattn, block.norm3(hidden), over_time)
            hidden = hidden + divided(block.attn, block.norm1(hidden), over_patches)
            inner = functional.gelu(block.mlp.fc1(block.norm2(hidden)))
            hidden = hidden + block.mlp.fc2(inner)
        steps = vision.norm(hidden[1:]).unflatten(0, (8, 4))
        expected = torch.stack([pooled(vision.spatial_attn_agg, step) for step in steps])
        torch.testing.assert_close(vision(segment)[0], expected, atol=1e-5, rtol=1e-4)


def pooled(layer, tokens):
    """The class token after the parts of a transformer layer."""
    hidden = torch.cat([layer.cls_token[0], tokens])
    attention = layer.self_attn
    parts = functional.linear(
        layer.norm1(hidden), attention.in_proj_weight, attention.in_proj_bias
    ).chunk(3, 1)
    hidden = hidden + attention.out_proj(attend_by_head(*parts, 2))
    inner = functional.gelu(layer.linear1(layer.norm2(hidden)))
    return (hidden + layer.linear2(inner))[0]


def test_synchformer_audio_encoder_pools_patches_over_frequency():
    network = randomised(Synchformer(SMALL_SYNCHFORMER))
    audio, ast = network.afeat_extractor, network.afeat_extractor.ast
    with torch.no_grad():
        spectrogram = network.spectrogram(noise(10240)[None])
        patches = ast.embeddings.patch_embeddings.projection(spectrogram[:, None])[0]
        assert patches.shape == (8, 12, 6)
        heads = [ast.embeddings.cls_token[0, 0], ast.embeddings.distillation_token[0, 0]]
        places = [patches[:, f, t] for f in range(12) for t in range(6)]
        hidden = torch.stack([*heads, *places]) + ast.embeddings.position_embeddings[0]
        for layer in ast.encoder.layer:
            inner, normed = layer.attention.attention, layer.layernorm_before(hidden)
            mixed = attend_by_head(inner.query(normed), inner.key(normed), inner.value(normed), 2)
            hidden = hidden + layer.attention.output.dense(mixed)
            wide = functional.gelu(layer.intermediate.dense(layer.layernorm_after(hidden)))
            hidden = hidden + layer.output.dense(wide)
        grid = ast.layernorm(hidden)[2:].unflatten(0, (12, 6))
        expected = torch.stack([pooled(audio.freq_attn_agg, grid[:, t]) for t in range(6)])
        torch.testing.assert_close(audio(spectrogram)[0], expected, atol=1e-5, rtol=1e-4)


def test_synchformer_compares_features_between_two_learned_tokens():
    network = randomised(Synchformer(SMALL_SYNCHFORMER))
    head = network.transformer
    video, audio = noise((14, 8, 8)), noise((14, 6, 8), seed=1)
    with torch.no_grad():
        video_tokens = head.vis_in_lnorm(network.vproj(video.reshape(112, 8)))
        audio_tokens = head.aud_in_lnorm(network.aproj(audio.reshape(84, 8)))
        hidden = torch.cat([head.OFF_tok[0], video_tokens, head.MOD_tok[0], audio_tokens])
        hidden = hidden + head.pos_emb_cfg.pos_emb[0]
        for block in head.blocks:
            normed, inner = block.ln1(hidden), block.attn
            mixed = attend_by_head(inner.query(normed), inner.key(normed), inner.value(normed), 2)
            hidden = hidden + inner.proj(mixed)
            hidden = hidden + block.mlp(block.ln2(hidden))
        expected = head.off_head(head.ln_f(hidden)[0])
        torch.testing.assert_close(network.compare(video, audio), expected, atol=1e-5, rtol=1e-4)


def test_synchformer_segments_overlap_by_half():
    network = randomised(Synchformer(SMALL_SYNCHFORMER))
    samples, pixels = noise(16000 * 2), torch.arange(50).repeat(3, 32, 32, 1).permute(3, 0, 1, 2)
    with torch.no_grad():
        audio = network.encode_audio(samples)
        assert audio.shape == (5, 6, 8)
        torch.testing.assert_close(audio[2], network.encode_audio(samples[10240:20480])[0])
        video = network.encode_video(pixels.byte())
        assert video.shape == (5, 8, 8)
        torch.testing.assert_close(video[3], network.encode_video(pixels[24:40].byte())[0])
        segment = pixels[8:24].float().transpose(0, 1)[None] / 255 * 2 - 1
        torch.testing.assert_close(video[1], network.vfeat_extractor(segment)[0])


def cnn14_of_cavp():
    """Shapes of CAVP's audio half, which is in the file and never used."""
    widths = (1, 64, 128, 256, 512, 1024, 2048)
    named = {"spec_encoder.bn": (4, 128), "logit_scale": ()}
    for index in range(6):
        narrow, wide = widths[index : index + 2]
        named[f"conv1.{index}"], named[f"conv2.{index}"] = (wide, narrow, 9), (wide, wide, 9)
        named[f"bn.{index}"] = (8, wide)
    return {**named, "fc1": (2049, 2048), "final_project": (2049, 512)}


def test_cavp_has_the_published_tensors_and_their_size():
    named = published_shapes(Cavp)
    assert named["video_encoder.conv1.conv.weight"] == (64, 3, 1, 7, 7)
    assert named["video_encoder.layer1.0.downsample.conv.weight"] == (256, 64, 1, 1, 1)
    assert named["video_encoder.layer2.3.conv1.conv.weight"] == (128, 512, 1, 1, 1)
    assert named["video_encoder.layer3.5.conv1.conv.weight"] == (256, 1024, 3, 1, 1)
    assert named["video_encoder.layer4.2.conv3.bn.running_var"] == (2048,)
    assert named["video_project_head.weight"] == (512, 2048)
    # The file contains everything three times: weights, and two moments of the optimiser
    overhead = CAVP_FILE_BYTES - 3 * (size_bytes(named) + size_bytes(cnn14_of_cavp()))
    assert abs(overhead) < 0.002 * CAVP_FILE_BYTES


def test_cavp_matches_explicit_convolutions_and_norms():
    cavp = randomised(SMALL_NETWORKS["cavp"]())
    pixels = (noise((5, 3, 64, 64)) * 255 + 128).byte()

    def convolved(layer, maps):
        norm = layer.bn
        shape = {"stride": layer.conv.stride, "padding": layer.conv.padding}
        maps = functional.conv3d(maps, layer.conv.weight, **shape)
        mean, variance, weight, bias = (
            values[None, :, None, None, None]
            for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return (maps - mean) / torch.sqrt(variance + norm.eps) * weight + bias

    with torch.no_grad():
        net = cavp.video_encoder
        maps = pixels.float().permute(1, 0, 2, 3)[None] / 255
        maps = functional.relu(convolved(net.conv1, maps))
        maps = torch.stack([functional.max_pool2d(maps[:, :, t], 3, 2, 1) for t in range(5)], dim=2)
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            for block in stage:
                shortcut = maps if block.downsample is None else convolved(block.downsample, maps)
                inner = functional.relu(convolved(block.conv1, maps))
                inner = functional.relu(convolved(block.conv2, inner))
                maps = functional.relu(convolved(block.conv3, inner) + shortcut)
        assert maps.shape == (1, 128, 5, 2, 2)
        expected = cavp.video_project_head(maps.mean((3, 4))[0].T)
        expected = expected / expected.norm(dim=1, keepdim=True)
        features = cavp(pixels)
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
        # Features depend on neighbouring frames
        assert not torch.allclose(features[2], cavp(pixels[2:3])[0], atol=1e-4)


def test_diff_foley_has_the_published_tensors():
    named = published_shapes(AlignmentClassifier)
    assert named["first_stage_model.encoder.conv_in.weight"] == (128, 3, 3, 3)
    assert named["first_stage_model.encoder.down.1.block.0.nin_shortcut.weight"] == (256, 128, 1, 1)
    assert named["first_stage_model.encoder.down.2.downsample.conv.weight"] == (512, 512, 3, 3)
    assert "first_stage_model.encoder.down.3.downsample.conv.weight" not in named
    assert named["first_stage_model.encoder.mid.attn_1.proj_out.weight"] == (512, 512, 1, 1)
    assert named["first_stage_model.quant_conv.weight"] == (8, 8, 1, 1)
    assert named["model.input_blocks.0.0.weight"] == (128, 4, 3, 3)
    assert named["model.input_blocks.2.0.op.weight"] == (128, 128, 3, 3)
    assert named["model.input_blocks.3.0.skip_connection.weight"] == (256, 128, 1, 1)
    attention = "model.input_blocks.5.1.transformer_blocks.0"
    assert named[f"{attention}.attn2.to_k.weight"] == (256, 512)
    assert named[f"{attention}.attn1.to_out.0.bias"] == (256,)
    assert named[f"{attention}.ff.net.0.proj.weight"] == (2048, 256)
    assert named["model.middle_block.2.out_layers.3.weight"] == (256, 256, 3, 3)
    assert named["model.out.2.weight"] == (128, 256, 3, 3)
    assert named["model.classifier.weight"] == (1, 128)
    assert named["cond_model.pos_emb.weight"] == (40, 512)
    assert not [name for name in named if "input_blocks.1.1" in name]  # no attention at full size


def test_slaney_filters_match_librosa():
    librosa = pytest.importorskip("librosa")
    shape = {"bands": 128, "window_samples": 1024, "rate_hz": 16000}
    ours = slaney_filters(**shape, low_hz=125.0, high_hz=7600.0)
    theirs = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, fmin=125, fmax=7600)
    np.testing.assert_allclose(ours.T, theirs, atol=1e-6)


def test_diff_foley_mel_levels_match_librosa():
    librosa = pytest.importorskip("librosa")
    samples = noise(160_000)
    levels = diff_foley.mel_levels(samples)
    spectrum = librosa.stft(samples.numpy(), n_fft=1024, hop_length=256, pad_mode="reflect")
    filters = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, fmin=125, fmax=7600)
    expected = (20 * np.log10(np.maximum(1e-5, filters @ np.abs(spectrum))) - 20 + 100) / 100
    np.testing.assert_allclose(levels, np.clip(expected, 0, 1)[:, :512], atol=1e-4)
    assert not diff_foley.mel_levels(torch.zeros(131_072)).any()
    assert diff_foley.mel_levels(noise(131_072)).shape == (128, 512)
    assert diff_foley.USED_S == pytest.approx(8.192)


def grouped(norm, maps):
    """Group norm of (1, C, H, W)."""
    groups = maps[0].unflatten(0, (norm.num_groups, -1))
    mean = groups.mean((1, 2, 3), keepdim=True)
    variance = groups.var((1, 2, 3), keepdim=True, unbiased=False)
    normed = ((groups - mean) / torch.sqrt(variance + norm.eps)).flatten(0, 1)[None]
    return normed * norm.weight[:, None, None] + norm.bias[:, None, None]


def test_diff_foley_latents_match_explicit_layers():
    network = randomised(AlignmentClassifier(SMALL_DIFF_FOLEY))
    coder = network.first_stage_model
    levels = noise((32, 64)).abs()

    def run_block(block, maps):
        inner = block.conv1(functional.silu(grouped(block.norm1, maps)))
        inner = block.conv2(functional.silu(grouped(block.norm2, inner)))
        return inner + (maps if block.nin_shortcut is None else block.nin_shortcut(maps))

    with torch.no_grad():
        net = coder.encoder
        maps = net.conv_in(levels.repeat(3, 1, 1)[None])
        for index, stage in enumerate(net.down):
            for block in stage.block:
                maps = run_block(block, maps)
            if index < 3:
                maps = stage.downsample.conv(functional.pad(maps, (0, 1, 0, 1)))
        maps = run_block(net.mid.block_1, maps)
        attention = net.mid.attn_1
        normed = grouped(attention.norm, maps)
        parts = [layer(normed)[0].flatten(1).T for layer in (attention.q, attention.k, attention.v)]
        mixed = attend_by_head(*parts, 1).T.unflatten(1, maps.shape[2:])[None]
        maps = run_block(net.mid.block_2, maps + attention.proj_out(mixed))
        moments = coder.quant_conv(net.conv_out(functional.silu(grouped(net.norm_out, maps))))[0]
        assert moments.shape == (8, 4, 8)
        mean, deviation = moments[:4], torch.exp(moments[4:].clamp(-30, 20) / 2)
        torch.testing.assert_close(network.latents(levels), 0.18215 * mean, atol=1e-6, rtol=1e-4)
        sampled = network.latents(levels, torch.ones)
        torch.testing.assert_close(sampled, 0.18215 * (mean + deviation), atol=1e-6, rtol=1e-4)


def test_diff_foley_classifier_matches_explicit_layers():
    network = randomised(AlignmentClassifier(SMALL_DIFF_FOLEY))
    net = network.model
    latents, features = noise((4, 4, 8)), noise((6, 8), seed=1)
    with torch.no_grad():
        context = network.cond_model.embedder[0](features) + network.cond_model.pos_emb.weight[:6]
        start = torch.cat([torch.ones(16), torch.zeros(16)])  # cosines and sines of time 0
        embedded = net.time_embed[2](functional.silu(net.time_embed[0](start)))

        def res(block, maps):
            inner = block.in_layers[2](functional.silu(grouped(block.in_layers[0], maps)))
            inner = inner + block.emb_layers[1](functional.silu(embedded))[None, :, None, None]
            inner = block.out_layers[3](functional.silu(grouped(block.out_layers[0], inner)))
            return block.skip_connection(maps) + inner

        def attend(layer, tokens, context):
            parts = layer.to_q(tokens), layer.to_k(context), layer.to_v(context)
            return layer.to_out[0](attend_by_head(*parts, 2))

        def spatial(layer, maps):
            tokens = layer.proj_in(grouped(layer.norm, maps))[0].flatten(1).T
            block = layer.transformer_blocks[0]
            normed = block.norm1(tokens)
            tokens = tokens + attend(block.attn1, normed, normed)
            tokens = tokens + attend(block.attn2, block.norm2(tokens), context)
            value, gate = block.ff.net[0].proj(block.norm3(tokens)).chunk(2, 1)
            tokens = tokens + block.ff.net[2](value * functional.gelu(gate))
            return maps + layer.proj_out(tokens.T.unflatten(1, maps.shape[2:])[None])

        blocks, middle = net.input_blocks, net.middle_block
        maps = res(blocks[1][0], blocks[0][0](latents[None]))
        maps = spatial(blocks[3][1], res(blocks[3][0], blocks[2][0].op(maps)))
        maps = spatial(blocks[5][1], res(blocks[5][0], blocks[4][0].op(maps)))
        maps = res(middle[2], spatial(middle[1], res(middle[0], maps)))
        maps = net.out[2](functional.silu(grouped(net.out[0], maps)))
        expected = torch.sigmoid(net.classifier(maps.mean((2, 3)))[0, 0])
        torch.testing.assert_close(network(latents, features), expected, atol=1e-5, rtol=1e-4)


def test_clap_has_the_published_tensors_and_their_size():
    transformers = pytest.importorskip("transformers")
    from foleyflow.judges.networks.clap import PUBLISHED_SHAPE, Clap

    shape = {"audio_config": PUBLISHED_SHAPE, "text_config": {}, "projection_dim": 512}
    with torch.device("meta"):
        published = transformers.ClapModel(transformers.ClapConfig(**shape))
    assert sum(value.numel() for value in published.parameters()) == 193_913_882
    theirs = shapes(published)
    skipped = FILES["clap"].skipped
    needed = {name: size for name, size in theirs.items() if not name.startswith(skipped)}
    assert published_shapes(Clap) == needed
    assert 0 < CLAP_FILE_BYTES - size_bytes(theirs) < 1000 * len(theirs)


def test_clap_repeats_short_sounds_and_refuses_long_ones():
    pytest.importorskip("transformers")
    network = randomised(SMALL_NETWORKS["clap"]())
    short = noise(120_000)
    with torch.no_grad():
        embedding = network(short)
        assert embedding.shape == (6,)
        assert float(embedding.norm()) == pytest.approx(1.0, abs=1e-6)
        torch.testing.assert_close(embedding, network(short.repeat(4)), atol=1e-5, rtol=1e-4)
        tone = torch.sin(torch.arange(120_000) / 20)
        assert not torch.allclose(embedding, network(tone), atol=1e-4)
    for count in (0, 480_001):
        with pytest.raises(ValueError, match=f"{count} samples at 48000 Hz, CLAP accepts 1 to"):
            network(torch.zeros(count))


def pictures(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (count, height, width, 3)).astype(np.uint8)
    return Frames(pixels=pixels, times_s=2.0 * np.arange(count))


def test_imagebind_has_only_the_published_tensor_names():
    named = published_shapes(ImageBind)
    assert named["modality_preprocessors.vision.rgbt_stem.proj.1.weight"] == (1280, 3, 2, 14, 14)
    assert named["modality_trunks.audio.blocks.11.attn.bias_k"] == (1, 1, 768)
    assert named["modality_heads.audio.2.weight"] == (1024, 768)
    assert named == published_shapes(ImageBindVision) | published_shapes(ImageBindAudio)
    skipped = FILES["imagebind"].skipped
    assert not any(name.startswith(skipped) for name in named)
    for other in OTHER_MODALITIES:
        assert f"modality_trunks.{other}.blocks.0".startswith(skipped)
    assert "modality_postprocessors.audio.1.log_logit_scale".startswith(skipped)


def test_crops_are_at_both_ends_and_in_the_middle():
    wide = torch.arange(11).expand(3, 4, 11)
    assert [int(crop[0, 0, 0]) for crop in three_crops(wide, 4)] == [0, 4, 7]
    tall = wide.transpose(1, 2)
    assert [int(crop[0, 0, 0]) for crop in three_crops(tall, 4)] == [0, 4, 7]
    assert all(crop.shape == (3, 4, 4) for crop in three_crops(tall, 4))


def test_imagebind_embeds_a_constant_clip_like_an_image():
    vision = randomised(SMALL_NETWORKS["imagebind"]())._halves[0]
    first, second = torch.randn(2, 1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(vision(first, first), vision(first))
    assert not torch.allclose(vision(first, second), vision(second, first))


@torch.no_grad()
def test_imagebind_score_is_the_cosine_of_mean_embeddings():
    network = randomised(SMALL_NETWORKS["imagebind"]())
    judge = ImageBindJudge(network, "0" * 64)
    film, sound = pictures(3, 28, 40), noise(80_000)
    assert judge.video_preprocessing == VideoPreprocessing(
        size_px=28, rate_hz=0.5, shape="whole", end_copies=1
    )
    vision, audio = network._halves
    frames = torch.from_numpy(film.pixels).permute(0, 3, 1, 2).double() / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).double()[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).double()[:, None, None]
    frames = ((frames - mean) / deviation).float()
    video, sounds = [], []
    for step in range(2):
        for left in (0, 6, 12):
            one, two = frames[step : step + 2, :, :, left : left + 28].split(1)
            video.append(vision.embed(one, two)[0])
    front_end = FrozenSound(audio, IMAGEBIND_SOUND)
    for start in (0, 24_000, 48_000):
        excerpt = sound[None, start : start + 32_000]
        levels = front_end.levels(excerpt, frames=IMAGEBIND_SOUND.frames)
        sounds.append(audio.embed(levels.transpose(1, 2))[0])
    first, second = torch.stack(video).mean(0), torch.stack(sounds).mean(0)
    expected = float(first @ second / (first.norm() * second.norm()))
    assert judge.score(film, sound.numpy()) == pytest.approx(expected, abs=1e-5)
    assert abs(expected) < 0.999


def test_imagebind_refuses_pairs_that_are_too_short():
    judge = ImageBindJudge(randomised(SMALL_NETWORKS["imagebind"]()), "0" * 64)
    with pytest.raises(ValueError, match=r"1 frames at 0\.5 Hz, ImageBind needs 2"):
        judge.score(pictures(1, 28, 40), noise(80_000).numpy())
    with pytest.raises(ValueError, match="31999 samples at 16000 Hz, ImageBind needs 32000"):
        judge.score(pictures(2, 28, 40), noise(31_999).numpy())
