"""Every published encoder by name: how it is built, which file fills it, what it gives.

Published weights are no part of foleyflow and are never fetched on the quiet: where a file is
missing, one line says which one belongs where, and the hint fetches it. Where its authors publish
no hash there is none here either; the hash of the file at hand is said, and is part of the key of
every feature that is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

from torch import Tensor, nn

from foleyflow.encoders.frozen import FrozenSound, FrozenVideo, SoundRule
from foleyflow.encoders.image_preprocessing import IMAGENET_DEVIATION, IMAGENET_MEAN, PictureRule
from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision, part_of_imagebind
from foleyflow.encoders.timm_trunks import of_eva, timm_trunk, without_heads
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.weights import file_sha256, read_tensors

Frozen = TypeVar("Frozen", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A published file.

    Attributes:
        name: of the file, as foleyflow expects it; the same name with .safetensors serves too.
        url: where it is published.
        sha256: hexadecimal; None where its authors publish none.
        licence: of the weights, in a line.
    """

    name: str
    url: str
    sha256: str | None
    licence: str


@dataclass(frozen=True, kw_only=True)
class Encoder(Generic[Frozen]):
    """One encoder of the catalogue.

    Attributes:
        name: in recipes and on the command line.
        kind: what it takes.
        says: what it is, in a line.
        file: its weights.
        width: of its features.
        rate_hz: features per second: frames seen, or columns heard.
        around: the trunk with its preprocessing, around a trunk.
        trunk: builds the trunk with random weights.
        tensors: the tensors of a trunk out of the published file's.
    """

    name: str
    kind: Literal["video", "sound"]
    says: str
    file: WeightsFile
    width: int
    rate_hz: float
    around: Callable[[nn.Module], Frozen]
    trunk: Callable[[], nn.Module]
    tensors: Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]

    def build(self) -> Frozen:
        """The encoder with random weights, frozen.

        Raises:
            MissingExtra: timm is needed and not installed.
            ConfigError: timm can't be imported.
        """
        return self.around(self.trunk()).eval().requires_grad_(False)


SEEN_HZ = 8.0  # pictures a second that a semantic encoder is shown (method section B.1)
CLIP_PICTURES = PictureRule()
MAE_PICTURES = PictureRule(short_side=256, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
AUDIOMAE_SOUND = SoundRule(
    block_samples=163_840,
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


def _of_timm(architecture: str, tag: str, licence: str) -> WeightsFile:
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
            says="EVA01-CLIP g/14, LAION-400M: the paper's",
            file=_of_timm("eva_giant_patch14_clip_224", "laion400m", "MIT"),
            width=1408,
            rate_hz=SEEN_HZ,
            around=lambda trunk: FrozenVideo(trunk, CLIP_PICTURES),
            trunk=lambda: timm_trunk("eva_giant_patch14_clip_224"),
            tensors=of_eva,
        ),
        Encoder(
            name="eva-clip-l",
            kind="video",
            says="EVA02-CLIP L/14, Merged-2B: a third of the cost",
            file=_of_timm("eva02_large_patch14_clip_224", "merged2b", "MIT"),
            width=1024,
            rate_hz=SEEN_HZ,
            around=lambda trunk: FrozenVideo(trunk, CLIP_PICTURES),
            trunk=lambda: timm_trunk("eva02_large_patch14_clip_224"),
            tensors=of_eva,
        ),
        Encoder(
            name="mae",
            kind="video",
            says="MAE ViT-B/16, ImageNet-1k",
            file=_of_timm("vit_base_patch16_224", "mae", "CC BY-NC 4.0: no commercial use"),
            width=768,
            rate_hz=SEEN_HZ,
            around=lambda trunk: FrozenVideo(trunk, MAE_PICTURES),
            trunk=lambda: timm_trunk("vit_base_patch16_224"),
            tensors=lambda tensors, _: without_heads(tensors),
        ),
        Encoder(
            name="imagebind-video",
            kind="video",
            says="ImageBind's vision trunk, ViT-H/14",
            file=IMAGEBIND_FILE,
            width=1280,
            rate_hz=SEEN_HZ,
            around=lambda trunk: FrozenVideo(trunk, CLIP_PICTURES),
            trunk=ImageBindVision,
            tensors=lambda tensors, _: part_of_imagebind(tensors, "vision"),
        ),
    )
}
SOUND_ENCODERS: dict[str, Encoder[FrozenSound]] = {
    encoder.name: encoder
    for encoder in (
        Encoder(
            name="audiomae",
            kind="sound",
            says="AudioMAE ViT-B/16, AudioSet-2M: the paper's",
            file=WeightsFile(
                name="vit_base_patch16_1024_128.audiomae_as2m.safetensors",
                url="https://huggingface.co/gaunernst/vit_base_patch16_1024_128.audiomae_as2m/"
                "resolve/main/model.safetensors",
                sha256=None,
                licence="CC BY 4.0",
            ),
            width=768,
            rate_hz=1 / AUDIOMAE_SOUND.column_s,
            around=lambda trunk: FrozenSound(trunk, AUDIOMAE_SOUND),
            trunk=lambda: timm_trunk("vit_base_patch16_224", img_size=(1024, 128), in_chans=1),
            tensors=lambda tensors, _: without_heads(tensors),
        ),
        Encoder(
            name="imagebind-sound",
            kind="sound",
            says="ImageBind's audio trunk, ViT-B/16 with steps of 10",
            file=IMAGEBIND_FILE,
            width=768,
            rate_hz=1 / IMAGEBIND_SOUND.column_s,
            around=lambda trunk: FrozenSound(trunk, IMAGEBIND_SOUND),
            trunk=ImageBindAudio,
            tensors=lambda tensors, _: part_of_imagebind(tensors, "audio"),
        ),
    )
}


def default_folder() -> Path:
    """Where published weights of encoders are expected if no folder is named.

    Source: ours.
    """
    return Path.home() / ".cache" / "foleyflow" / "encoders"


def video_encoder(name: str) -> Encoder[FrozenVideo]:
    """A video encoder by its name.

    Raises:
        ConfigError: no such encoder; the known ones are listed.

    Source: ours.
    """
    return _named(name, VIDEO_ENCODERS)


def sound_encoder(name: str) -> Encoder[FrozenSound]:
    """A sound encoder by its name.

    Raises:
        ConfigError: no such encoder; the known ones are listed.

    Source: ours.
    """
    return _named(name, SOUND_ENCODERS)


def weights_path(encoder: Encoder[Frozen], folder: Path) -> Path:
    """The file of an encoder's weights, if it is there and the right one.

    Args:
        encoder: of the catalogue.
        folder: where weights lie.

    Raises:
        CheckpointError: missing, or of another hash than the published one.

    Source: ours.
    """
    file = encoder.file
    path = folder / file.name
    for candidate in (path, path.with_name(f"{Path(file.name).stem}.safetensors")):
        if not candidate.is_file():
            continue
        if file.sha256 is not None and candidate == path:
            found = file_sha256(path)
            if found != file.sha256:
                raise CheckpointError(
                    f"{path}: its hash is {found}, expected {file.sha256}",
                    hint=f"it is damaged or another file; fetch it again from {file.url}",
                )
        return candidate
    raise CheckpointError(
        f"the encoder {encoder.name!r} is not here: expected its weights in {path}",
        hint=f"mkdir -p '{folder}' && curl -L -o '{path}' '{file.url}'  # licence: {file.licence}",
    )


def load_encoder(encoder: Encoder[Frozen], folder: Path) -> Frozen:
    """An encoder filled with its published weights, strictly.

    Args:
        encoder: of the catalogue.
        folder: where weights lie.

    Raises:
        CheckpointError: the file is missing, damaged or another one, or its tensors don't fit.
        MissingExtra: timm is needed and not installed.

    Source: ours.
    """
    path = weights_path(encoder, folder)
    frozen = encoder.build()
    fill_trunk(encoder, cast(nn.Module, frozen.trunk), path)
    return frozen


def fill_trunk(encoder: Encoder[Frozen], trunk: nn.Module, path: Path) -> None:
    """Puts an encoder's published weights into a trunk of its shape, strictly.

    Args:
        encoder: of the catalogue.
        trunk: as `encoder.trunk` builds it.
        path: of its weights, see `weights_path`.

    Raises:
        CheckpointError: the file is damaged, or its tensors don't fit.

    Source: ours.
    """
    tensors = encoder.tensors(read_tensors(path), trunk)
    try:
        trunk.load_state_dict(tensors)
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: does not fit {encoder.name}: {lines[:300]}",
            hint=f"expected the file of {encoder.file.url}",
        ) from error


def _named(name: str, known: Mapping[str, Encoder[Frozen]]) -> Encoder[Frozen]:
    if name not in known:
        raise ConfigError(f"encoder {name!r}: expected one of {', '.join(known)}")
    return known[name]
