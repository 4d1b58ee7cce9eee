"""Small versions of the published encoders, and files of random weights for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from foleyflow.encoders.catalogue import SOUND_ENCODERS, VIDEO_ENCODERS, Encoder
from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision, TrunkShape
from foleyflow.encoders.timm_trunks import timm_trunk

PAIRS = [("imagebind-video", "imagebind-sound"), ("mae", "audiomae"), ("eva-clip-g", "audiomae")]
WIDTH = 16
SHAPE = TrunkShape(width=WIDTH, depth=2, heads=2, joint=8)
NARROW = {"embed_dim": WIDTH, "depth": 2, "num_heads": 2}
SOUND = {"img_size": (1024, 128), "in_chans": 1}
SMALL_TRUNKS = {
    "eva-clip-g": lambda: timm_trunk("eva_giant_patch14_clip_224", **NARROW),
    "eva-clip-l": lambda: timm_trunk("eva02_large_patch14_clip_224", **NARROW),
    "mae": lambda: timm_trunk("vit_base_patch16_224", **NARROW),
    "audiomae": lambda: timm_trunk("vit_base_patch16_224", **SOUND, **NARROW),
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
    tensors = {
        key: value + 0.02 * torch.randn(value.shape)
        for key, value in small(name).trunk().state_dict().items()
    }
    path = folder / f"{Path(ALL[name].file.name).stem}.safetensors"
    if path.exists():  # one file for both of ImageBind's trunks
        tensors = load_file(path) | tensors
    save_file(tensors, path)
    return path
