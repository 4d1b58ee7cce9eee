"""Published encoders: preprocessing against other implementations, tensor names and files."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.small_encoders import ALL, SHAPE, WIDTH, publish, small

from foleyflow.encoders.catalogue import (
    AUDIOMAE_SOUND,
    IMAGEBIND_SOUND,
    load_encoder,
    sound_encoder,
    video_encoder,
    weights_path,
)
from foleyflow.encoders.frozen import FrozenSound, all_tokens
from foleyflow.encoders.image_preprocessing import (
    CLIP_DEVIATION,
    CLIP_MEAN,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    ImagePreprocessing,
    normalise,
    resize_and_crop,
)
from foleyflow.encoders.imagebind import (
    AUDIO_HUGE,
    VISION_HUGE,
    ImageBindAudio,
    ImageBindVision,
    TrunkShape,
    select_modality,
)
from foleyflow.encoders.kaldi_fbank import Fbank
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.weights import file_sha256

VIDEO_NAMES = ("eva-clip-g", "eva-clip-l", "mae", "imagebind-video")
SOUND_NAMES = ("audiomae", "imagebind-sound")


def noisy_tone(seconds: float = 2.0) -> torch.Tensor:
    times_s = torch.arange(round(16_000 * seconds)) / 16_000
    noise = torch.randn(len(times_s), generator=torch.Generator().manual_seed(0))
    return 0.3 * torch.sin(2 * torch.pi * 1000 * times_s) + 0.01 * noise


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # as in the published setting
def test_fbank_agrees_with_transformers():
    """Reference: Kaldi emulation of transformers in numpy."""
    pytest.importorskip("transformers", reason="needs transformers (extra 'dev')")
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    sound = noisy_tone()
    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=128,
        min_frequency=20,
        max_frequency=8000,
        sampling_rate=16_000,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    theirs = spectrogram(
        (sound - sound.mean()).numpy(),
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T
    ours = Fbank()(sound[None])[0].numpy()
    assert ours.shape == theirs.shape == (198, 128)
    assert np.abs(ours - theirs).max() < 2e-3


def test_fbank_agrees_with_its_definition():
    """Reference: an explicit discrete Fourier sum for one frame."""
    sound = noisy_tone(0.1).double()
    centred = sound - sound.mean()
    frame = centred[320:720] - centred[320:720].mean()
    emphasised = frame - 0.97 * torch.cat([frame[:1], frame[:-1]])
    n = torch.arange(400, dtype=torch.float64)
    windowed = emphasised * (0.5 - 0.5 * torch.cos(2 * torch.pi * n / 399))
    turns = torch.outer(torch.arange(257, dtype=torch.float64), n) * (2 * torch.pi / 512)
    power = (turns.cos() @ windowed) ** 2 + (turns.sin() @ windowed) ** 2
    levels = torch.log((power @ Fbank().filters.double()).clamp_min(torch.finfo(torch.float32).eps))
    assert (Fbank()(sound.float()[None])[0, 2].double() - levels).abs().max() < 1e-3


def test_silence_is_at_the_floor_and_an_offset_has_no_influence():
    fbank, sound = Fbank(), noisy_tone(0.5)
    silence = fbank(torch.full((1, 4000), 0.25))
    assert torch.allclose(silence, torch.full_like(silence, float(np.log(1.1920929e-07))))
    assert torch.allclose(fbank(sound[None]), fbank(sound[None] + 0.1), atol=1e-2)


@pytest.mark.parametrize("shape", [(360, 640), (500, 300), (224, 224), (225, 400), (120, 90)])
@pytest.mark.parametrize("short_side", [224, 256])
def test_images_are_resized_as_by_pillow(shape, short_side):
    """Reference: Resize, CenterCrop, ToTensor, Normalize on a Pillow image."""
    height, width = shape
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    pixels = np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height, :width]
    settings = ImagePreprocessing(
        short_side=short_side, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION
    )
    squares = resize_and_crop(torch.from_numpy(pixels).permute(2, 0, 1)[None], settings)
    ours = normalise(squares, settings)[0]
    size = [int(short_side * k / min(height, width)) for k in (height, width)]
    scaled = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    top, left = (round((k - 224) / 2) for k in size)
    cut = np.asarray(scaled.crop((left, top, left + 224, top + 224)), np.float64) / 255
    theirs = (cut - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_DEVIATION)
    error = np.abs(ours.permute(1, 2, 0).numpy() - theirs)
    assert error.max() < 2.01 / 255 / min(IMAGENET_DEVIATION)  # two steps of a byte at most
    assert error.mean() < 0.2 / 255 / min(IMAGENET_DEVIATION)


def published(name: str, folder) -> torch.nn.Module:
    """A small encoder, loaded from a file of random weights."""
    publish(name, folder)
    return load_encoder(small(name), folder)


def test_preprocessing_has_the_published_constants():
    """Colours of OpenAI's CLIP and of timm's MAE, levels of AudioMAE and ImageBind."""
    eva = video_encoder("eva-clip-g").wrap(torch.nn.Identity()).preprocessing
    assert (eva.mean, eva.deviation, eva.short_side) == (CLIP_MEAN, CLIP_DEVIATION, 224)
    mae = video_encoder("mae").wrap(torch.nn.Identity()).preprocessing
    assert (mae.mean, mae.short_side) == (IMAGENET_MEAN, 256)
    assert (AUDIOMAE_SOUND.frames, AUDIOMAE_SOUND.deviation) == (1024, 2 * 4.5689974)
    assert (IMAGEBIND_SOUND.frames, IMAGEBIND_SOUND.mean) == (204, -4.268)
    assert sound_encoder("audiomae").rate_hz == pytest.approx(6.25)
    assert sound_encoder("imagebind-sound").rate_hz == pytest.approx(10.0)


def published_imagebind(
    name: str, shape: TrunkShape, *, positions: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one modality in the published file."""
    width, start = shape.width, f"modality_preprocessors.{name}"
    found = {
        f"{start}.cls_token": (1, 1, width),
        f"{start}.pos_embedding_helper.pos_embed": (1, positions, width),
        f"modality_heads.{name}.0.weight": (width,),
        f"modality_heads.{name}.0.bias": (width,),
        f"modality_heads.{name}.2.weight": (shape.joint, width),
    }
    if name == "vision":
        found[f"{start}.rgbt_stem.proj.1.weight"] = (width, 3, 2, 14, 14)
        first = f"modality_trunks.{name}.pre_transformer_layer.0"
        found |= {f"{first}.weight": (width,), f"{first}.bias": (width,)}
    else:
        found[f"{start}.rgbt_stem.proj.weight"] = (width, 1, 16, 16)
        found |= {f"{start}.rgbt_stem.norm_layer.{k}": (width,) for k in ("weight", "bias")}
    for index in range(shape.depth):
        block = f"modality_trunks.{name}.blocks.{index}"
        found |= {
            f"{block}.attn.in_proj_weight": (3 * width, width),
            f"{block}.attn.in_proj_bias": (3 * width,),
            f"{block}.attn.out_proj.weight": (width, width),
            f"{block}.attn.out_proj.bias": (width,),
            f"{block}.mlp.fc1.weight": (4 * width, width),
            f"{block}.mlp.fc1.bias": (4 * width,),
            f"{block}.mlp.fc2.weight": (width, 4 * width),
            f"{block}.mlp.fc2.bias": (width,),
        }
        found |= {f"{block}.norm_{n}.{k}": (width,) for n in (1, 2) for k in ("weight", "bias")}
        if name == "audio":
            found |= {f"{block}.attn.bias_{k}": (1, 1, width) for k in "kv"}
    return found


def test_imagebind_has_the_published_names_and_shapes():
    """At full size on the meta device, without allocating memory."""
    with torch.device("meta"):
        vision, audio = ImageBindVision(), ImageBindAudio()
    for trunk, name, shape, positions in (
        (vision, "vision", VISION_HUGE, 257),
        (audio, "audio", AUDIO_HUGE, 229),
    ):
        ours = {key: tuple(value.shape) for key, value in trunk.state_dict().items()}
        assert ours == published_imagebind(name, shape, positions=positions)


def test_an_imagebind_file_loads_strictly_without_its_other_modalities(tmp_path):
    tensors = {
        key: torch.randn(size) * 0.1
        for name, positions in (("vision", 257), ("audio", 229))
        for key, size in published_imagebind(name, SHAPE, positions=positions).items()
    }
    others = {
        "modality_trunks.text.blocks.0.norm_1.weight": torch.ones(16),
        "modality_postprocessors.audio.1.log_logit_scale": torch.zeros(()),
        "modality_preprocessors.imu.cls_token": torch.zeros(1, 1, 16),
    }
    torch.save(tensors | others, tmp_path / "imagebind_huge.pth")
    for name, part in (("imagebind-video", "vision"), ("imagebind-sound", "audio")):
        frozen = load_encoder(small(name), tmp_path)
        loaded = frozen.trunk.state_dict()
        assert loaded.keys() == select_modality(tensors, part).keys()
        assert all(torch.equal(loaded[key], tensors[key]) for key in loaded)
    del tensors["modality_trunks.audio.blocks.1.attn.bias_v"]
    torch.save(tensors, tmp_path / "imagebind_huge.pth")
    with pytest.raises(CheckpointError, match=r"imagebind-sound.*bias_v"):
        load_encoder(small("imagebind-sound"), tmp_path)


def test_imagebind_vision_repeats_a_single_image():
    """One image through the summed kernels equals two frames through the published ones."""
    trunk = ImageBindVision(SHAPE)
    stem = trunk.modality_preprocessors["vision"]
    torch.nn.init.normal_(stem.pos_embedding_helper.pos_embed)
    pictures = torch.randn(2, 3, 224, 224)
    patches = stem.rgbt_stem["proj"][1](pictures[:, :, None].expand(-1, -1, 2, -1, -1))
    by_frames = trunk.tokens_of(patches[:, :, 0])
    assert torch.allclose(trunk(pictures), by_frames, atol=1e-4)
    joint = trunk.embed(pictures)
    assert torch.allclose(joint.norm(dim=-1), torch.ones(2)) and joint.shape == (2, 8)


@pytest.mark.parametrize("name", VIDEO_NAMES)
def test_a_video_encoder_encodes_each_frame_independently(name, tmp_path, timm):
    frozen = published(name, tmp_path)
    pixels = torch.randint(0, 256, (3, 3, 240, 320), dtype=torch.uint8)
    features = frozen(frozen.resize_and_crop(pixels))
    assert features.shape == (3, 5, WIDTH) and features.isfinite().all()
    # Frames are independent, and the bottom right quarter changes the last token most
    assert torch.allclose(frozen(frozen.resize_and_crop(pixels[1:2])), features[1:2], atol=1e-4)
    changed = pixels.clone()
    changed[0, :, 120:, 160:] = 0
    moved = (frozen(frozen.resize_and_crop(changed))[0] - features[0]).norm(dim=-1)
    assert moved[4] > moved[1]


def test_a_complete_clip_checkpoint_loads_into_the_video_trunk(tmp_path, timm):
    """OpenCLIP's names for EVA-CLIP: a prefix, a projection, and a text tower."""
    path = publish("eva-clip-g", tmp_path)
    own = load_file(path)
    complete = {f"visual.trunk.{key}": value for key, value in own.items()}
    complete |= {"visual.trunk.head.weight": torch.zeros(8, WIDTH), "text.cls_emb": torch.zeros(3)}
    save_file(complete, path)
    loaded = load_encoder(small("eva-clip-g"), tmp_path).trunk.state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[key], own[key]) for key in own)


@pytest.mark.parametrize("name", SOUND_NAMES)
def test_an_audio_encoder_takes_audio_of_any_length(name, tmp_path, timm):
    frozen = published(name, tmp_path)
    for seconds in (0.5, 10.0, 13.0):
        features = frozen(noisy_tone(seconds))
        columns = int(np.ceil(seconds * ALL[name].rate_hz))
        assert features.shape == (columns, frozen.rule.rows, WIDTH)
        assert features.isfinite().all()


def test_columns_of_an_audio_encoder_are_in_order_of_time(tmp_path, timm):
    """A click at the centre of a column changes this column most, in both layouts."""
    for name in SOUND_NAMES:
        frozen = published(name, tmp_path)
        quiet = 0.01 * torch.randn(32_000, generator=torch.Generator().manual_seed(1))
        column = 7
        centre_s = frozen.rule.first_s + column * frozen.rule.column_s
        clicked = quiet.clone()
        clicked[round(centre_s * 16_000) : round(centre_s * 16_000) + 40] = 0.9
        moved = (frozen(clicked) - frozen(quiet)).norm(dim=-1).mean(-1)
        assert abs(int(moved.argmax()) - column) <= 1, name


def fading_noise(seconds: float) -> torch.Tensor:
    """Noise that is 40 dB quieter in its second half."""
    sound = 0.1 * torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(2))
    sound[len(sound) // 2 :] *= 0.01
    return sound


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # as in the published setting
@pytest.mark.parametrize("seconds", [0.5, 3.0, 8.0, 10.0, 10.24, 12.0])
def test_audiomae_gets_the_published_spectrogram(seconds):
    """Reference: transformers' extractor of AST, whose front end AudioMAE has."""
    pytest.importorskip("transformers", reason="needs transformers (extra 'dev')")
    from transformers import ASTFeatureExtractor

    extractor = ASTFeatureExtractor(max_length=1024, mean=-4.2677393, std=4.5689974)
    sound = fading_noise(seconds)
    theirs = extractor(sound.numpy(), sampling_rate=16_000, return_tensors="np").input_values[0]
    frozen = sound_encoder("audiomae").wrap(torch.nn.Identity())
    ours = frozen.block_levels(sound)
    assert ours.shape == (2 if seconds > 10.24 else 1, 1024, 128)
    assert np.abs(ours[0].numpy() - theirs).max() < 1e-3


def test_the_filter_bank_is_padded_and_not_the_sound():
    """10 s are 998 frames; the rest is zero before normalisation, so -mean / deviation after it."""
    rule = AUDIOMAE_SOUND
    levels = FrozenSound(torch.nn.Identity(), rule).block_levels(fading_noise(10.0))[0]
    padded = (levels - -rule.mean / rule.deviation).abs().amax(1) < 1e-6
    assert int(padded.sum()) == 26 and padded[998:].all()
    # The first frame after the end of a partly filled second block
    levels = FrozenSound(torch.nn.Identity(), rule).block_levels(fading_noise(10.24 + 0.1))
    assert (levels[1, 8:] == levels[1, -1]).all() and (levels[1, 7] != levels[1, -1]).any()
    # Fewer samples than one window are no frame
    levels = FrozenSound(torch.nn.Identity(), rule).block_levels(fading_noise(0.02))
    assert torch.allclose(levels, torch.full_like(levels, -rule.mean / rule.deviation))


def test_imagebind_gets_the_published_spectrogram():
    """198 frames of 2 s, or those of a shorter sound, padded to 204 before normalisation."""
    rule = IMAGEBIND_SOUND
    frozen, fbank = FrozenSound(torch.nn.Identity(), rule), Fbank()
    for seconds, count in ((2.0, 198), (1.0, 98), (0.1, 8)):
        sound = fading_noise(seconds)
        expected = torch.zeros(204, 128)
        expected[:count] = fbank(sound[None])[0]
        expected = (expected - rule.mean) / rule.deviation
        assert torch.allclose(frozen.block_levels(sound)[0], expected, atol=1e-6)
    # Blocks start after the 19 columns of the previous one, 1.9 s
    blocks = frozen.block_levels(fading_noise(4.0))
    assert blocks.shape == (3, 204, 128)
    assert torch.allclose(blocks[1, :8], blocks[0, 190:198], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "shape", "tokens", "millions"),
    [
        ("eva-clip-g", (1, 3, 224, 224), 257, 1010),
        ("eva-clip-l", (1, 3, 224, 224), 257, 303),
        ("mae", (1, 3, 224, 224), 197, 86),
        ("imagebind-video", (1, 3, 224, 224), 257, 632),
        ("audiomae", (1, 1, 1024, 128), 513, 86),
        ("imagebind-sound", (1, 128, 204), 229, 86),
    ],
)
def test_trunks_at_full_size_have_the_published_shapes(name, shape, tokens, millions, timm):
    """On the meta device, without allocating memory."""
    with torch.device("meta"):
        trunk = ALL[name].trunk().eval()
        out = all_tokens(trunk, torch.empty(shape))
    assert out.shape == (1, tokens, ALL[name].width)
    parameters = sum(p.numel() for p in trunk.parameters()) / 1e6
    assert parameters == pytest.approx(millions, rel=0.02)


def test_the_error_for_a_missing_file_names_it_and_its_download(tmp_path):
    encoder = video_encoder("eva-clip-g")
    with pytest.raises(CheckpointError, match=r"laion400m\.safetensors") as caught:
        weights_path(encoder, tmp_path)
    assert "curl -L" in caught.value.hint and "MIT" in caught.value.hint


def test_a_file_with_another_hash_is_refused(tmp_path):
    encoder = small("imagebind-sound")
    path = publish("imagebind-sound", tmp_path)
    known = dataclasses.replace(encoder.file, name=path.name, sha256=file_sha256(path))
    assert weights_path(dataclasses.replace(encoder, file=known), tmp_path) == path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="its hash is"):
        weights_path(dataclasses.replace(encoder, file=known), tmp_path)


def test_a_file_of_another_architecture_is_refused(tmp_path, timm):
    save_file({"cls_token": torch.zeros(1, 1, 3)}, tmp_path / ALL["mae"].file.name)
    with pytest.raises(CheckpointError, match=r"does not fit mae"):
        load_encoder(small("mae"), tmp_path)


def test_the_error_for_an_unknown_encoder_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"'clip'.*eva-clip-g"):
        video_encoder("clip")


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="needs torchvision (extra 'encoders')"
)
def test_an_incompatible_torchvision_gives_a_one_line_error():
    """With a compatible torchvision, the encoder is built without output."""
    code = (
        "from foleyflow.encoders.timm_trunks import timm_trunk\n"
        "from foleyflow.errors import ConfigError\n"
        "try:\n"
        "    timm_trunk('vit_base_patch16_224', embed_dim=16, depth=1, num_heads=2)\n"
        "except ConfigError as error:\n"
        "    print(error, '|', error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert not lines or (len(lines) == 1 and "torchvision" in lines[0] and "pytorch" in lines[0])
