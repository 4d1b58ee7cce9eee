"""Small versions of the published encoders, and files of random weights for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from foleyflow.encoders.catalogue import SOUND_ENCODERS, VIDEO_ENCODERS, Encoder
from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision, TrunkShape
from foleyflow.encoders.timm_trunks import timm_trunk

WIDTH = 16
SHAPE = TrunkShape(width=WIDTH, depth=2, heads=2, joint=8)
SMALL_TRUNKS = {
    "eva-clip-g": lambda: timm_trunk(
        "eva_giant_patch14_clip_224", embed_dim=WIDTH, depth=2, num_heads=2
    ),
    "eva-clip-l": lambda: timm_trunk(
        "eva02_large_patch14_clip_224", embed_dim=WIDTH, depth=2, num_heads=2
    ),
    "mae": lambda: timm_trunk("vit_base_patch16_224", embed_dim=WIDTH, depth=2, num_heads=2),
    "audiomae": lambda: timm_trunk(
        "vit_base_patch16_224",
        img_size=(1024, 128),
        in_chans=1,
        embed_dim=WIDTH,
        depth=2,
        num_heads=2,
    ),
    "imagebind-video": lambda: ImageBindVision(SHAPE),
    "imagebind-sound": lambda: ImageBindAudio(SHAPE),
}
ALL = {**VIDEO_ENCODERS, **SOUND_ENCODERS}


def small(name: str) -> Encoder:
    """An encoder of the catalogue with a narrow trunk of two blocks."""
    return dataclasses.replace(ALL[name], trunk=SMALL_TRUNKS[name], width=WIDTH)


def publish(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a file of random weights with an encoder's published names and small shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    trunk = small(name).trunk()
    tensors = randomised(trunk)
    path = folder / f"{Path(ALL[name].file.name).stem}.safetensors"
    if path.exists():  # one file for both of ImageBind's trunks
        tensors = load_file(path) | tensors
    save_file(tensors, path)
    return path


def randomised(trunk: nn.Module) -> dict[str, Tensor]:
    """A trunk's tensors with small random numbers added."""
    return {
        name: value + 0.02 * torch.randn(value.shape) for name, value in trunk.state_dict().items()
    }
