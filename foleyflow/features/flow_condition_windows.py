"""Training material of the flow: aligned features and latents of windows, computed once.

The aligner is frozen in stage two, so its features of a few augmented views of every clip are
stored and the flow never sees a picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]
NAMES = ("video", "states", "events", "latents", "material", "clip")


@dataclass(frozen=True, kw_only=True)
class GuidedWindows:
    """Rows of windows, as memory maps.

    Attributes:
        video: (R, L, D) float16, aligned features at latent frames.
        states: (R, S, D) float16, decoder states with all audio hidden.
        events: (R, L) float16, the track of the true events (`moments.event_track`).
        latents: (R, L, C) float16 codec latents of the true sound.
        material: (R,) int64, class of the struck material or -1.
        clip: (R,) int64, index of the clip.
    """

    video: NDArray[np.float16]
    states: NDArray[np.float16]
    events: NDArray[np.float16]
    latents: NDArray[np.float16]
    material: NDArray[np.int64]
    clip: NDArray[np.int64]


def open_guided(
    folder: Path, compute: Callable[[], Iterable[Arrays]], *, rows: int
) -> GuidedWindows:
    """Opens the store, or fills it first.

    Args:
        folder: one folder per (data, aligner, views); made whole or not at all.
        compute: yields blocks of rows with the arrays of `GuidedWindows`, `rows` in all.
        rows: how many rows there will be.

    Source: ours.
    """
    if not folder.exists():
        temporary = folder.with_name(folder.name + ".part")
        temporary.mkdir(parents=True, exist_ok=True)
        stores: dict[str, NDArray[np.generic]] = {}
        done = 0
        for block in compute():
            count = len(block["clip"])
            for name in NAMES:
                value = block[name]
                if name not in stores:
                    stores[name] = np.lib.format.open_memmap(
                        temporary / f"{name}.npy",
                        "w+",
                        dtype=value.dtype,
                        shape=(rows, *value.shape[1:]),
                    )
                stores[name][done : done + count] = value
            done += count
        (temporary / "rows.json").write_text(json.dumps({"rows": done}) + "\n", encoding="utf-8")
        os.replace(temporary, folder)
    return GuidedWindows(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in NAMES})
