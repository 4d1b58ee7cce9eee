"""From a simulated data set and a codec to training windows: what align and flow recipes share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.autoencoder import Codec
from foleyflow.data.base import SimulatedClips
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.pretrained import load_codec
from foleyflow.weights import file_sha256


def window_source(
    data: Path, split: str, *, codec_folder: Path, config: WindowConfig
) -> WindowSource:
    """Windows of a split, with codec latents computed once and kept beside the frames.

    Args:
        data: folder made by `foleyflow data simulate`.
        split: "train", "validation" or "test".
        codec_folder: model folder that holds the codec.
        config: how windows are cut.
    """
    clips = SimulatedClips(data, split).arrays()
    key = hashlib.sha256(
        (file_sha256(codec_folder / "codec.safetensors") + SimulatedClips(data, split).fingerprint).encode()
    ).hexdigest()[:16]
    path = data / "cache" / f"latents-{split}-{key}.npy"
    if not path.exists():
        latents = encode_all(load_codec(codec_folder), clips)
        temporary = path.with_suffix(".part.npy")
        np.save(temporary, latents)
        temporary.rename(path)
    return WindowSource(clips, np.load(path, mmap_mode="r"), config)


@torch.no_grad()
def encode_all(codec: Codec, clips: ClipArrays, batch: int = 16) -> NDArray[np.float16]:
    """Codec latents of all clips, (N, L, C) float16."""
    hop = codec.config.hop_samples
    samples = clips.sounds.shape[1] // hop * hop
    parts = []
    for start in range(0, len(clips), batch):
        sounds = clips.sounds[start : start + batch, :samples].astype(np.float32) / 32767
        parts.append(codec.encode(torch.from_numpy(sounds)).numpy().astype(np.float16))
    return np.concatenate(parts)
