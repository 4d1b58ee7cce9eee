"""Images in few colours, so that plots with spectrograms are small files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

SHADES = 6  # of each ink towards white, for smooth edges


def drawing_palette(inks: Sequence[str], spectrum_colours: int) -> NDArray[np.uint8]:
    """The colours of a plot, (K, 3): those of spectrograms, and shades of inks towards white."""
    spectrum = colormaps["magma"].resampled(spectrum_colours)(np.arange(spectrum_colours))[:, :3]
    shades = np.linspace(0, 1, SHADES)[:, None, None]
    mixed = (shades * np.array([to_rgb(ink) for ink in inks]) + 1 - shades).reshape(-1, 3)
    return np.round(255 * np.concatenate([spectrum, mixed])).astype(np.uint8)


def with_palette(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    """An image of (H, W, 3) pixels in the nearest of at most 256 colours (K, 3)."""
    packed = pixels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    colours, places = np.unique(packed, return_inverse=True)
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    nearest = cKDTree(palette).query(parts)[1].astype(np.uint8)
    image = Image.fromarray(nearest[places].reshape(packed.shape), mode="P")
    image.putpalette(palette.tobytes())
    return image
