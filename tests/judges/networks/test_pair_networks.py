"""Synchformer, CAVP, Diff-Foley's classifier, CLAP, ImageBind, small: arithmetic by a second way.

Their published shapes are held to the sizes of the published files, byte for byte but for what a
file holds beside numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.small_judges import SMALL_DIFF_FOLEY, SMALL_NETWORKS, SMALL_SYNCHFORMER, randomised
from torch.nn import functional

from foleyflow.encoders.catalogue import IMAGEBIND_SOUND
from foleyflow.encoders.frozen import FrozenSound
from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision
from foleyflow.judges.adapters import ImageBindJudge
from foleyflow.judges.networks import diff_foley, synchformer
from foleyflow.judges.networks.cavp import Cavp
from foleyflow.judges.networks.diff_foley import AlignmentClassifier
from foleyflow.judges.networks.imagebind import OTHER_MODALITIES, ImageBind, three_squares
from foleyflow.judges.networks.slaney_mel import slaney_filters
from foleyflow.judges.networks.synchformer import Synchformer
from foleyflow.judges.weights import FILES
from foleyflow.signals import Frames

SYNCHFORMER_FILE_BYTES = 950_058_171
CAVP_FILE_BYTES = 1_361_483_035
CLAP_FILE_BYTES = 776_444_665


def noise(count, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-0.5, 0.5, count).astype(np.float32))


def shapes(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def size_bytes(named):
    return sum(4 * int(np.prod(shape)) for shape in named.values())


# --------------------------------------------------------------------------------- Synchformer


def test_synchformer_has_the_published_tensors_and_their_size():
    with torch.device("meta"):
        named = shapes(Synchformer())
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
    named["vfeat_extractor.patch_embed.proj.weight"] = (768, 3, 16, 16)  # there, never used
    named["vfeat_extractor.patch_embed.proj.bias"] = (768,)
    beside = SYNCHFORMER_FILE_BYTES - size_bytes(named)
    assert 0 < beside < 500 * len(named)  # names and places of tensors


def test_synchformer_hears_segments_of_sixty_six_frames():
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
            low, centre, high = edges[band : band + 3]
            up, down = (bins - low) / (centre - low), (high - bins) / (high - centre)
            level = np.log(power @ np.clip(np.minimum(up, down), 0, None) + 1e-6)
            wanted = (level + 4.2677393) / (2 * 4.5689974)
            assert float(spectrogram[band, frame]) == pytest.approx(wanted, abs=2e-3)
    filled = torch.full((128,), 4.2677393 / (2 * 4.5689974))
    torch.testing.assert_close(spectrogram[:, 65], filled)


def test_no_band_of_synchformer_is_filled_in_where_torchaudio_leaves_it_empty():
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 130) / 2595) - 1)
    bins = np.arange(513) * 16000 / 1024
    inside = (bins[:, None] > edges[:-2]) & (bins[:, None] < edges[2:])
    assert inside.any(0).all()


def by_hand(query, key, value, heads):
    """Attention of (N, D) by loops over heads."""
    width = query.shape[1] // heads
    mixed = []
    for head in range(heads):
        part = slice(width * head, width * head + width)
        weights = (query[:, part] @ key[:, part].T / width**0.5).softmax(1)
        mixed.append(weights @ value[:, part])
    return torch.cat(mixed, 1)


def divided(attention, tokens, groups):
    """Divided attention by loops: `groups` lists which patches attend to each other."""
    query, key, value = attention.qkv(tokens).chunk(3, 1)
    mixed = torch.empty_like(tokens)
    mixed[:1] = by_hand(query[:1], key, value, 2)
    for group in groups:
        others = [0, *group]
        mixed[group] = by_hand(query[group], key[others], value[others], 2)
    return attention.proj(mixed)


def test_synchformer_attends_over_time_then_over_places():
    network = randomised(Synchformer(SMALL_SYNCHFORMER))
    vision = network.vfeat_extractor
    generator = torch.Generator().manual_seed(1)
    segment = torch.rand(1, 3, 16, 32, 32, generator=generator)
    with torch.no_grad():
        patches = vision.patch_embed_3d.proj(segment)[0]  # (D, 8, 2, 2)
        tokens = [vision.cls_token[0, 0] + vision.pos_embed[0, 0]]
        for step in range(8):
            for place in range(4):
                own = patches[:, step, place // 2, place % 2]
                tokens.append(own + vision.pos_embed[0, 1 + place] + vision.temp_embed[0, step])
        hidden = torch.stack(tokens)
        over_time = [[1 + 4 * step + place for step in range(8)] for place in range(4)]
        over_places = [[1 + 4 * step + place for place in range(4)] for step in range(8)]
        for block in vision.blocks:
            hidden = hidden + divided(block.timeattn, block.norm3(hidden), over_time)
            hidden = hidden + divided(block.attn, block.norm1(hidden), over_places)
            inner = functional.gelu(block.mlp.fc1(block.norm2(hidden)))
            hidden = hidden + block.mlp.fc2(inner)
        steps = vision.norm(hidden[1:]).unflatten(0, (8, 4))
        wanted = torch.stack([gathered(vision.spatial_attn_agg, step) for step in steps])
        torch.testing.assert_close(vision(segment)[0], wanted, atol=1e-5, rtol=1e-4)


def gathered(layer, tokens):
    """What the class token gathers, by the layer's parts."""
    hidden = torch.cat([layer.cls_token[0], tokens])
    attention = layer.self_attn
    parts = functional.linear(
        layer.norm1(hidden), attention.in_proj_weight, attention.in_proj_bias
    ).chunk(3, 1)
    hidden = hidden + attention.out_proj(by_hand(*parts, 2))
    inner = functional.gelu(layer.linear1(layer.norm2(hidden)))
    return (hidden + layer.linear2(inner))[0]


def test_synchformer_listens_by_patches_and_gathers_over_frequency():
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
            mixed = by_hand(inner.query(normed), inner.key(normed), inner.value(normed), 2)
            hidden = hidden + layer.attention.output.dense(mixed)
            wide = functional.gelu(layer.intermediate.dense(layer.layernorm_after(hidden)))
            hidden = hidden + layer.output.dense(wide)
        grid = ast.layernorm(hidden)[2:].unflatten(0, (12, 6))
        wanted = torch.stack([gathered(audio.freq_attn_agg, grid[:, t]) for t in range(6)])
        torch.testing.assert_close(audio(spectrogram)[0], wanted, atol=1e-5, rtol=1e-4)


def test_synchformer_compares_between_two_tokens_of_its_own():
    network = randomised(Synchformer(SMALL_SYNCHFORMER))
    head = network.transformer
    video = noise(14 * 8 * 8).reshape(14, 8, 8)
    heard = noise(14 * 6 * 8, seed=1).reshape(14, 6, 8)
    with torch.no_grad():
        seen = head.vis_in_lnorm(network.vproj(video.reshape(112, 8)))
        sound = head.aud_in_lnorm(network.aproj(heard.reshape(84, 8)))
        hidden = torch.cat([head.OFF_tok[0], seen, head.MOD_tok[0], sound])
        hidden = hidden + head.pos_emb_cfg.pos_emb[0]
        for block in head.blocks:
            normed, inner = block.ln1(hidden), block.attn
            mixed = by_hand(inner.query(normed), inner.key(normed), inner.value(normed), 2)
            hidden = hidden + inner.proj(mixed)
            hidden = hidden + block.mlp(block.ln2(hidden))
        wanted = head.off_head(head.ln_f(hidden)[0])
        torch.testing.assert_close(network.compare(video, heard), wanted, atol=1e-5, rtol=1e-4)


def test_segments_overlap_by_half():
    network = randomised(Synchformer(SMALL_SYNCHFORMER))
    samples, pixels = noise(16000 * 2), torch.arange(50).repeat(3, 32, 32, 1).permute(3, 0, 1, 2)
    with torch.no_grad():
        heard = network.listen(samples)
        assert heard.shape == (5, 6, 8)
        torch.testing.assert_close(heard[2], network.listen(samples[10240:20480])[0])
        seen = network.watch(pixels.byte())
        assert seen.shape == (5, 8, 8)
        torch.testing.assert_close(seen[3], network.watch(pixels[24:40].byte())[0])
        whole = pixels[8:24].float().transpose(0, 1)[None] / 255 * 2 - 1
        torch.testing.assert_close(seen[1], network.vfeat_extractor(whole)[0])


# --------------------------------------------------------------------------------------- CAVP


def cnn14_of_cavp():
    """Shapes of CAVP's sound half, which is in the file and never used."""
    widths = (1, 64, 128, 256, 512, 1024, 2048)
    named = {"spec_encoder.bn": (4, 128), "logit_scale": ()}
    for index in range(6):
        narrow, wide = widths[index : index + 2]
        named[f"conv1.{index}"], named[f"conv2.{index}"] = (wide, narrow, 9), (wide, wide, 9)
        named[f"bn.{index}"] = (8, wide)
    return {**named, "fc1": (2049, 2048), "final_project": (2049, 512)}


def test_cavp_has_the_published_tensors_and_their_size():
    with torch.device("meta"):
        eye = Cavp()
    named = shapes(eye)
    assert named["video_encoder.conv1.conv.weight"] == (64, 3, 1, 7, 7)
    assert named["video_encoder.layer1.0.downsample.conv.weight"] == (256, 64, 1, 1, 1)
    assert named["video_encoder.layer2.3.conv1.conv.weight"] == (128, 512, 1, 1, 1)
    assert named["video_encoder.layer3.5.conv1.conv.weight"] == (256, 1024, 3, 1, 1)
    assert named["video_encoder.layer4.2.conv3.bn.running_var"] == (2048,)
    assert named["video_project_head.weight"] == (512, 2048)
    # The file holds all of it three times: weights, and two moments of the optimiser.
    beside = CAVP_FILE_BYTES - 3 * (size_bytes(named) + size_bytes(cnn14_of_cavp()))
    assert abs(beside) < 0.002 * CAVP_FILE_BYTES


def test_cavp_by_hand():
    eye = randomised(SMALL_NETWORKS["cavp"]())
    pixels = (noise(5 * 3 * 64 * 64).reshape(5, 3, 64, 64) * 255 + 128).byte()

    def convolved(layer, maps):
        norm = layer.bn
        maps = functional.conv3d(
            maps, layer.conv.weight, stride=layer.conv.stride, padding=layer.conv.padding
        )
        mean, variance = (
            v[None, :, None, None, None] for v in (norm.running_mean, norm.running_var)
        )
        weight, bias = (v[None, :, None, None, None] for v in (norm.weight, norm.bias))
        return (maps - mean) / torch.sqrt(variance + norm.eps) * weight + bias

    with torch.no_grad():
        net = eye.video_encoder
        maps = pixels.float().permute(1, 0, 2, 3)[None] / 255
        maps = functional.relu(convolved(net.conv1, maps))
        maps = torch.stack([functional.max_pool2d(maps[:, :, t], 3, 2, 1) for t in range(5)], dim=2)
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            for block in stage:
                own = maps if block.downsample is None else convolved(block.downsample, maps)
                inner = functional.relu(convolved(block.conv1, maps))
                inner = functional.relu(convolved(block.conv2, inner))
                maps = functional.relu(convolved(block.conv3, inner) + own)
        assert maps.shape == (1, 128, 5, 2, 2)
        wanted = eye.video_project_head(maps.mean((3, 4))[0].T)
        wanted = wanted / wanted.norm(dim=1, keepdim=True)
        features = eye(pixels)
        torch.testing.assert_close(features, wanted, atol=1e-5, rtol=1e-4)
        # Time is seen, but only by the last two stages: one frame alone is another thing.
        assert not torch.allclose(features[2], eye(pixels[2:3])[0], atol=1e-4)


# --------------------------------------------------------------------------------- Diff-Foley


def test_the_classifier_has_the_published_tensors():
    with torch.device("meta"):
        named = shapes(AlignmentClassifier())
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


def test_slaney_filters_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    ours = slaney_filters(
        bands=128, window_samples=1024, rate_hz=16000, low_hz=125.0, high_hz=7600.0
    )
    theirs = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, fmin=125, fmax=7600)
    np.testing.assert_allclose(ours.T, theirs, atol=1e-6)


def test_the_classifier_hears_levels_of_a_hundred_decibels():
    librosa = pytest.importorskip("librosa")
    samples = noise(160_000)
    levels = diff_foley.mel_levels(samples)
    magnitudes = np.abs(
        librosa.stft(samples.numpy(), n_fft=1024, hop_length=256, pad_mode="reflect")
    )
    filters = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, fmin=125, fmax=7600)
    wanted = (20 * np.log10(np.maximum(1e-5, filters @ magnitudes)) - 20 + 100) / 100
    np.testing.assert_allclose(levels, np.clip(wanted, 0, 1)[:, :512], atol=1e-4)
    assert not diff_foley.mel_levels(torch.zeros(131_072)).any()
    assert diff_foley.mel_levels(noise(131_072)).shape == (128, 512)


def grouped(norm, maps):
    """Group norm of (1, C, H, W) by hand."""
    groups = maps[0].unflatten(0, (norm.num_groups, -1))
    mean = groups.mean((1, 2, 3), keepdim=True)
    variance = groups.var((1, 2, 3), keepdim=True, unbiased=False)
    normed = ((groups - mean) / torch.sqrt(variance + norm.eps)).flatten(0, 1)[None]
    return normed * norm.weight[:, None, None] + norm.bias[:, None, None]


def test_latents_of_a_spectrogram_by_hand():
    network = randomised(AlignmentClassifier(SMALL_DIFF_FOLEY))
    coder = network.first_stage_model
    levels = noise(32 * 64).reshape(32, 64).abs()

    def block_by_hand(block, maps):
        inner = block.conv1(functional.silu(grouped(block.norm1, maps)))
        inner = block.conv2(functional.silu(grouped(block.norm2, inner)))
        own = maps if block.nin_shortcut is None else block.nin_shortcut(maps)
        return inner + own

    with torch.no_grad():
        net = coder.encoder
        maps = net.conv_in(levels.repeat(3, 1, 1)[None])
        for index, stage in enumerate(net.down):
            for block in stage.block:
                maps = block_by_hand(block, maps)
            if index < 3:
                maps = stage.downsample.conv(functional.pad(maps, (0, 1, 0, 1)))
        maps = block_by_hand(net.mid.block_1, maps)
        attention = net.mid.attn_1
        normed = grouped(attention.norm, maps)
        rows = [layer(normed)[0].flatten(1).T for layer in (attention.q, attention.k, attention.v)]
        mixed = by_hand(*rows, 1).T.unflatten(1, maps.shape[2:])[None]
        maps = block_by_hand(net.mid.block_2, maps + attention.proj_out(mixed))
        moments = coder.quant_conv(net.conv_out(functional.silu(grouped(net.norm_out, maps))))[0]
        assert moments.shape == (8, 4, 8)
        mean, deviation = moments[:4], torch.exp(moments[4:].clamp(-30, 20) / 2)
        torch.testing.assert_close(network.latents(levels), 0.18215 * mean, atol=1e-6, rtol=1e-4)
        drawn = network.latents(levels, torch.ones)
        torch.testing.assert_close(drawn, 0.18215 * (mean + deviation), atol=1e-6, rtol=1e-4)


def test_the_classifier_by_hand():
    network = randomised(AlignmentClassifier(SMALL_DIFF_FOLEY))
    net = network.model
    latents, features = noise(4 * 4 * 8).reshape(4, 4, 8), noise(6 * 8, seed=1).reshape(6, 8)
    with torch.no_grad():
        seen = network.cond_model.embedder[0](features) + network.cond_model.pos_emb.weight[:6]
        start = torch.cat([torch.ones(16), torch.zeros(16)])  # cosines and sines of time 0
        embedded = net.time_embed[2](functional.silu(net.time_embed[0](start)))

        def res(block, maps):
            inner = block.in_layers[2](functional.silu(grouped(block.in_layers[0], maps)))
            inner = inner + block.emb_layers[1](functional.silu(embedded))[None, :, None, None]
            inner = block.out_layers[3](functional.silu(grouped(block.out_layers[0], inner)))
            return block.skip_connection(maps) + inner

        def attended(layer, tokens, others):
            parts = layer.to_q(tokens), layer.to_k(others), layer.to_v(others)
            return layer.to_out[0](by_hand(*parts, 2))

        def spatial(layer, maps):
            tokens = layer.proj_in(grouped(layer.norm, maps))[0].flatten(1).T
            block = layer.transformer_blocks[0]
            normed = block.norm1(tokens)
            tokens = tokens + attended(block.attn1, normed, normed)
            tokens = tokens + attended(block.attn2, block.norm2(tokens), seen)
            value, gate = block.ff.net[0].proj(block.norm3(tokens)).chunk(2, 1)
            tokens = tokens + block.ff.net[2](value * functional.gelu(gate))
            return maps + layer.proj_out(tokens.T.unflatten(1, maps.shape[2:])[None])

        blocks, middle = net.input_blocks, net.middle_block
        maps = res(blocks[1][0], blocks[0][0](latents[None]))
        maps = spatial(blocks[3][1], res(blocks[3][0], blocks[2][0].op(maps)))
        maps = spatial(blocks[5][1], res(blocks[5][0], blocks[4][0].op(maps)))
        maps = res(middle[2], spatial(middle[1], res(middle[0], maps)))
        maps = net.out[2](functional.silu(grouped(net.out[0], maps)))
        wanted = torch.sigmoid(net.classifier(maps.mean((2, 3)))[0, 0])
        torch.testing.assert_close(network(latents, features), wanted, atol=1e-5, rtol=1e-4)


# --------------------------------------------------------------------------------------- CLAP


def test_clap_has_the_published_tensors_and_their_size():
    transformers = pytest.importorskip("transformers")
    from foleyflow.judges.networks.clap import PUBLISHED_SHAPE, Clap

    config = transformers.ClapConfig(
        audio_config=PUBLISHED_SHAPE, text_config={}, projection_dim=512
    )
    with torch.device("meta"):
        ours = shapes(Clap())
        whole = transformers.ClapModel(config)
    assert sum(value.numel() for value in whole.parameters()) == 193_913_882
    theirs = shapes(whole)
    assert ours == {
        name: shape
        for name, shape in theirs.items()
        if not name.startswith(("text_model.", "text_projection.", "logit_scale_"))
    }
    assert 0 < CLAP_FILE_BYTES - size_bytes(theirs) < 1000 * len(theirs)


def test_clap_repeats_short_sounds_and_refuses_long_ones():
    pytest.importorskip("transformers")
    network = randomised(SMALL_NETWORKS["clap"]())
    short = noise(120_000)
    with torch.no_grad():
        heard = network(short)
        assert heard.shape == (6,)
        assert float(heard.norm()) == pytest.approx(1.0, abs=1e-6)
        torch.testing.assert_close(heard, network(short.repeat(4)), atol=1e-5, rtol=1e-4)
        tone = torch.sin(torch.arange(120_000) / 20)
        assert not torch.allclose(heard, network(tone), atol=1e-4)
    for count in (0, 480_001):
        with pytest.raises(ValueError, match=f"{count} samples at 48000 Hz, CLAP hears 1 to"):
            network(torch.zeros(count))


def test_rates_are_the_published_ones():
    assert (synchformer.RATE_HZ, diff_foley.RATE_HZ) == (16000, 16000)
    assert diff_foley.SHORTEST_S == pytest.approx(8.192)


# ----------------------------------------------------------------------------------- ImageBind


def pictures(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (count, height, width, 3)).astype(np.uint8)
    return Frames(pixels=pixels, times_s=2.0 * np.arange(count))


def test_imagebind_has_the_published_names_and_no_other():
    with torch.device("meta"):
        named = shapes(ImageBind())
        vision, audio = shapes(ImageBindVision()), shapes(ImageBindAudio())
    assert named["modality_preprocessors.vision.rgbt_stem.proj.1.weight"] == (1280, 3, 2, 14, 14)
    assert named["modality_trunks.audio.blocks.11.attn.bias_k"] == (1, 1, 768)
    assert named["modality_heads.audio.2.weight"] == (1024, 768)
    assert named == vision | audio
    left_out = FILES["imagebind"].left_out
    assert not any(name.startswith(left_out) for name in named)
    assert all(
        f"modality_trunks.{other}.blocks.0".startswith(left_out) for other in OTHER_MODALITIES
    )
    assert "modality_postprocessors.audio.1.log_logit_scale".startswith(left_out)


def test_squares_lie_at_both_ends_and_in_the_middle():
    wide = torch.arange(11).expand(3, 4, 11)
    assert [int(square[0, 0, 0]) for square in three_squares(wide, 4)] == [0, 4, 7]
    tall = wide.transpose(1, 2)
    assert [int(square[0, 0, 0]) for square in three_squares(tall, 4)] == [0, 4, 7]
    assert all(square.shape == (3, 4, 4) for square in three_squares(tall, 4))


def test_a_clip_that_stands_still_is_a_picture():
    eye = randomised(SMALL_NETWORKS["imagebind"]())._halves[0]
    first, second = torch.randn(2, 1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(eye(first, first), eye(first))
    assert not torch.allclose(eye(first, second), eye(second, first))


@torch.no_grad()
def test_the_imagebind_score_is_the_cosine_of_mean_embeddings():
    network = randomised(SMALL_NETWORKS["imagebind"]())
    judge = ImageBindJudge(network, "0" * 64)
    film, sound = pictures(3, 28, 40), noise(80_000)
    assert (judge.sight.size_px, judge.sight.rate_hz, judge.sight.shape) == (28, 0.5, "whole")
    eye, ear = network._halves
    shown = torch.from_numpy(film.pixels).permute(0, 3, 1, 2).double() / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).double()[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).double()[:, None, None]
    shown = ((shown - mean) / deviation).float()
    seen, heard = [], []
    for step in range(2):
        for left in (0, 6, 12):
            one, two = shown[step : step + 2, :, :, left : left + 28].split(1)
            seen.append(eye.embed(one, two)[0])
    front_end = FrozenSound(ear, IMAGEBIND_SOUND)
    for start in (0, 24_000, 48_000):
        levels = front_end.levels(
            sound[None, start : start + 32_000], frames=IMAGEBIND_SOUND.frames
        )
        heard.append(ear.embed(levels.transpose(1, 2))[0])
    first, second = torch.stack(seen).mean(0), torch.stack(heard).mean(0)
    expected = float(first @ second / (first.norm() * second.norm()))
    assert judge.verdict(film, sound.numpy()) == pytest.approx(expected, abs=1e-5)
    assert abs(expected) < 0.999


def test_imagebind_refuses_pairs_that_are_too_short():
    judge = ImageBindJudge(randomised(SMALL_NETWORKS["imagebind"]()), "0" * 64)
    with pytest.raises(ValueError, match=r"1 pictures at 0\.5 Hz, ImageBind needs 2"):
        judge.verdict(pictures(1, 28, 40), noise(80_000).numpy())
    with pytest.raises(ValueError, match="31999 samples at 16000 Hz, ImageBind needs 32000"):
        judge.verdict(pictures(2, 28, 40), noise(31_999).numpy())
