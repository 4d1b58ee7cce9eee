"""Catalogue of the published encoders: architecture, weights file and feature rate.

Published weights are not part of foleyflow and are never downloaded automatically: the error for a
missing file names it, and its hint downloads it. For files without a published hash, the hash of
the local file is part of the key of all stored features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

from torch import Tensor, nn

from foleyflow.encoders.frozen import FrozenSound, FrozenVideo, SoundRule
from foleyflow.encoders.image_preprocessing import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    ImagePreprocessing,
)
from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision, select_modality
from foleyflow.encoders.kaldi_fbank import HOP_SAMPLES, WINDOW_SAMPLES
from foleyflow.encoders.timm_trunks import select_eva_trunk, timm_trunk, without_heads
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.weights import file_sha256, read_tensors

Frozen = TypeVar("Frozen", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A published file of weights."""

    name: str  # the same name with .safetensors is also accepted
    url: str
    sha256: str | None  # hexadecimal; None if its authors publish none
    licence: str


@dataclass(frozen=True, kw_only=True)
class Encoder(Generic[Frozen]):
    """One encoder of the catalogue."""

    name: str  # in recipes and on the command line
    kind: Literal["video", "sound"]
    description: str
    file: WeightsFile
    width: int  # of its features
    rate_hz: float  # features per second
    wrap: Callable[[nn.Module], Frozen]  # adds the preprocessing to a trunk
    trunk: Callable[[], nn.Module]  # builds the trunk with random weights
    # Selects a trunk's tensors from those of the published file
    select_tensors: Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]


VIDEO_RATE_HZ = 8.0  # frames per second of the image encoders
CLIP_PICTURES = ImagePreprocessing()
MAE_PICTURES = ImagePreprocessing(short_side=256, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
AUDIOMAE_SOUND = SoundRule(
    block_samples=WINDOW_SAMPLES + 1023 * HOP_SAMPLES,  # 1024 frames
    frames=1024,
    mean=-4.2677393,
    deviation=2 * 4.5689974,
    patch_frames=16,
    step_frames=16,
    rows=8,
    columns=64,
    time_first=True,
)
IMAGEBIND_SOUND = SoundRule(
    block_samples=32_000,
    frames=204,
    mean=-4.268,
    deviation=9.138,
    patch_frames=16,
    step_frames=10,
    rows=12,
    columns=19,
    time_first=False,
)
IMAGEBIND_FILE = WeightsFile(
    name="imagebind_huge.pth",
    url="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
    sha256=None,
    licence="CC BY-NC-SA 4.0: no commercial use",
)


def _timm_file(architecture: str, tag: str, licence: str) -> WeightsFile:
    name = f"{architecture}.{tag}"
    return WeightsFile(
        name=f"{name}.safetensors",
        url=f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors",
        sha256=None,
        licence=licence,
    )


VIDEO_ENCODERS: dict[str, Encoder[FrozenVideo]] = {
    encoder.name: encoder
    for encoder in (
        Encoder(
            name="eva-clip-g",
            kind="video",
            description="EVA01-CLIP g/14, LAION-400M: the paper's",
            file=_timm_file("eva_giant_patch14_clip_224", "laion400m", "MIT"),
            width=1408,
            rate_hz=VIDEO_RATE_HZ,
            wrap=lambda trunk: FrozenVideo(trunk, CLIP_PICTURES),
            trunk=lambda: timm_trunk("eva_giant_patch14_clip_224"),
            select_tensors=select_eva_trunk,
        ),
        Encoder(
            name="eva-clip-l",
            kind="video",
            description="EVA02-CLIP L/14, Merged-2B: a third of the cost",
            file=_timm_file("eva02_large_patch14_clip_224", "merged2b", "MIT"),
            width=1024,
            rate_hz=VIDEO_RATE_HZ,
            wrap=lambda trunk: FrozenVideo(trunk, CLIP_PICTURES),
            trunk=lambda: timm_trunk("eva02_large_patch14_clip_224"),
            select_tensors=select_eva_trunk,
        ),
        Encoder(
            name="mae",
            kind="video",
            description="MAE ViT-B/16, ImageNet-1k",
            file=_timm_file("vit_base_patch16_224", "mae", "CC BY-NC 4.0: no commercial use"),
            width=768,
            rate_hz=VIDEO_RATE_HZ,
            wrap=lambda trunk: FrozenVideo(trunk, MAE_PICTURES),
            trunk=lambda: timm_trunk("vit_base_patch16_224"),
            select_tensors=lambda tensors, _: without_heads(tensors),
        ),
        Encoder(
            name="imagebind-video",
            kind="video",
            description="ImageBind's vision trunk, ViT-H/14",
            file=IMAGEBIND_FILE,
            width=1280,
            rate_hz=VIDEO_RATE_HZ,
            wrap=lambda trunk: FrozenVideo(trunk, CLIP_PICTURES),
            trunk=ImageBindVision,
            select_tensors=lambda tensors, _: select_modality(tensors, "vision"),
        ),
    )
}
SOUND_ENCODERS: dict[str, Encoder[FrozenSound]] = {
    encoder.name: encoder
    for encoder in (
        Encoder(
            name="audiomae",
            kind="sound",
            description="AudioMAE ViT-B/16, AudioSet-2M: the paper's",
            file=WeightsFile(
                name="vit_base_patch16_1024_128.audiomae_as2m.safetensors",
                url="https://huggingface.co/gaunernst/vit_base_patch16_1024_128.audiomae_as2m/"
                "resolve/main/model.safetensors",
                sha256=None,
                licence="CC BY 4.0",
            ),
            width=768,
            rate_hz=1 / AUDIOMAE_SOUND.column_s,
            wrap=lambda trunk: FrozenSound(trunk, AUDIOMAE_SOUND),
            trunk=lambda: timm_trunk("vit_base_patch16_224", img_size=(1024, 128), in_chans=1),
            select_tensors=lambda tensors, _: without_heads(tensors),
        ),
        Encoder(
            name="imagebind-sound",
            kind="sound",
            description="ImageBind's audio trunk, ViT-B/16 with steps of 10",
            file=IMAGEBIND_FILE,
            width=768,
            rate_hz=1 / IMAGEBIND_SOUND.column_s,
            wrap=lambda trunk: FrozenSound(trunk, IMAGEBIND_SOUND),
            trunk=ImageBindAudio,
            select_tensors=lambda tensors, _: select_modality(tensors, "audio"),
        ),
    )
}


def default_folder() -> Path:
    """The default folder of published encoder weights."""
    return Path.home() / ".cache" / "foleyflow" / "encoders"


def video_encoder(name: str) -> Encoder[FrozenVideo]:
    """A video encoder by its name; a ConfigError lists the known names."""
    return _by_name(name, VIDEO_ENCODERS)


def sound_encoder(name: str) -> Encoder[FrozenSound]:
    """An audio encoder by its name; a ConfigError lists the known names."""
    return _by_name(name, SOUND_ENCODERS)


def weights_path(encoder: Encoder[Frozen], folder: Path) -> Path:
    """Find the weights file of an encoder in a folder.

    Raises:
        CheckpointError: it is missing, or its hash is not the published one.
    """
    file = encoder.file
    path = folder / file.name
    if path.is_file():
        if file.sha256 is not None and (found := file_sha256(path)) != file.sha256:
            raise CheckpointError(
                f"{path}: its hash is {found}, expected {file.sha256}",
                hint=f"it is damaged or another file; download it again from {file.url}",
            )
        return path
    converted = path.with_suffix(".safetensors")
    if converted.is_file():
        return converted
    raise CheckpointError(
        f"encoder {encoder.name!r} not found: expected its weights in {path}",
        hint=f"mkdir -p '{folder}' && curl -L -o '{path}' '{file.url}'  # licence: {file.licence}",
    )


def load_encoder(encoder: Encoder[Frozen], folder: Path) -> Frozen:
    """Load an encoder with its published weights from a folder, strictly.

    Errors are those of `weights_path`, `fill_trunk` and `timm_trunk`.
    """
    path = weights_path(encoder, folder)
    frozen = encoder.wrap(encoder.trunk()).eval().requires_grad_(False)
    fill_trunk(encoder, cast(nn.Module, frozen.trunk), path)
    return frozen


def fill_trunk(encoder: Encoder[Frozen], trunk: nn.Module, path: Path) -> None:
    """Load an encoder's published weights into a trunk from `encoder.trunk`, strictly.

    Raises:
        CheckpointError: the file is damaged, or its tensors don't fit.
    """
    tensors = encoder.select_tensors(read_tensors(path), trunk)
    try:
        trunk.load_state_dict(tensors)
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: does not fit {encoder.name}: {lines[:300]}",
            hint=f"expected the file from {encoder.file.url}",
        ) from error


def _by_name(name: str, known: Mapping[str, Encoder[Frozen]]) -> Encoder[Frozen]:
    if name not in known:
        raise ConfigError(f"encoder {name!r}: expected one of {', '.join(known)}")
    return known[name]
