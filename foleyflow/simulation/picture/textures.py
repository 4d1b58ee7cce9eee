"""Procedural textures such as wood grain, gravel or cloth, and sky boxes of rooms and gardens.

A texture is a grey pattern between two colours. Patterns come from a fixed bank that each process
builds on first use; colours are sampled for every clip. The same random stream gives the same bytes
in every process. No photographs are used.

To add a look, append to `LOOKS`; to add a pattern, append to `PATTERNS`.
"""

from __future__ import annotations

import colorsys
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

PATTERNS_PER_KIND = 10
Colour = tuple[float, float, float]
FloatArray = NDArray[np.float32]
Range = tuple[float, float]
Palette = Callable[[np.random.Generator], tuple[Colour, Colour]]  # a dark and a light colour


@dataclass(frozen=True)
class Look:
    """What a material looks like.

    Attributes:
        patterns: kind of pattern (a key of `PATTERNS`) -> relative probability.
        palette: samples two colours.
        dirt: upper limit of the strength of dirt, 0..1.
    """

    patterns: dict[str, float]
    palette: Palette
    dirt: float = 0.35


def surface_texture(look: str, rng: np.random.Generator, *, size: int = 128) -> NDArray[np.uint8]:
    """Return a tileable texture of a look (a key of `LOOKS`), (size, size, 3) uint8 RGB."""
    record = LOOKS[look]
    weights = np.array(list(record.patterns.values()))
    kind = str(rng.choice(list(record.patterns), p=weights / sum(record.patterns.values())))
    grey = pattern(kind, int(rng.integers(PATTERNS_PER_KIND)), size)
    if rng.random() < 0.5:
        grey = grey.T
    if rng.random() < 0.3:
        grey = 1.0 - grey
    dark, light = (np.array(colour, np.float32) for colour in record.palette(rng))
    stains = pattern("noise", int(rng.integers(PATTERNS_PER_KIND)), size)
    texture = dark + grey[..., None] * (light - dark)
    texture *= (1.0 - float(rng.uniform(0.0, record.dirt)) * stains)[..., None]
    return _as_uint8(texture)


def skybox(rng: np.random.Generator, *, size: int = 128) -> NDArray[np.uint8]:
    """Return six pictures of distant surroundings: a garden, a room, clutter or a plain studio.

    Returns:
        (6, size, size, 3) uint8: right, left, up, down, front, back, as a MuJoCo sky box.
    """
    scene = rng.choice(["garden", "room", "clutter", "plain"], p=[0.3, 0.35, 0.25, 0.1])
    strip = np.zeros((size, 4 * size, 3), np.float32)  # the four sides
    horizon = size
    # Sides above the horizon, colour above, texture below
    if scene == "garden":
        top, bottom = _sky_colour(rng), _surface(rng, "ground", size)
        strip[:] = np.linspace(1.0, 0.75, size)[:, None, None] * np.array(top)
        horizon = int(size * rng.uniform(0.4, 0.62))
        _add_vegetation_(strip, horizon, rng)
    elif scene == "room":
        top = _sample_colour(rng, (0.05, 0.15), (0.0, 0.15), (0.7, 1.0))
        bottom = _surface(rng, "ground", size)
        strip[:] = _repeat_sideways(_surface(rng, "wall", size))
        horizon = int(size * rng.uniform(0.55, 0.75))
        _add_rectangles_(strip, rng, count=int(rng.integers(8, 40)), floor=horizon)
    elif scene == "clutter":
        top = _sample_colour(rng, (0.0, 1.0), (0.0, 0.6), (0.1, 1.0))
        bottom = _surface(rng, "ground", size)
        look = str(rng.choice(["wall", "leaf", "ground"]))
        strip[:] = _repeat_sideways(_surface(rng, look, size))
        _add_rectangles_(strip, rng, count=int(rng.integers(20, 90)), floor=None)
    else:
        top = _sample_colour(rng, (0.0, 1.0), (0.0, 0.5), (0.05, 1.0))
        bottom = np.ones((size, size, 3), np.float32) * top
        strip[:] = np.linspace(1.0, rng.uniform(0.4, 1.0), size)[:, None, None] * np.array(top)
    strip[horizon:] = _repeat_sideways(bottom)[: size - horizon]
    strip *= rng.uniform(0.6, 1.0)
    right, front, left, back = np.split(strip, 4, axis=1)
    up = np.ones((size, size, 3), np.float32) * top
    return _as_uint8(np.stack([right, left, up, bottom, front, back]))


# --- patterns -------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def pattern(kind: str, index: int, size: int) -> FloatArray:
    """Return pattern number `index` of one kind.

    Returns:
        (size, size) float32 in 0..1, periodic in both directions, read-only.
    """
    rng = np.random.default_rng((list(PATTERNS).index(kind), index, size))
    grey = np.asarray(PATTERNS[kind](rng, size), np.float32)
    low, high = np.percentile(grey, (1, 99))
    values: FloatArray = np.clip((grey - low) / max(high - low, 1e-6), 0.0, 1.0)
    values = values.astype(np.float32)
    values.setflags(write=False)
    return values


def _noise(rng: np.random.Generator, size: int, slope: Range = (0.6, 2.2)) -> NDArray:
    """Noise whose spectrum falls as frequency ** -slope."""
    exponent = rng.uniform(*slope)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * size
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    values = np.fft.irfft2(spectrum / np.maximum(frequency, 1.0) ** exponent, (size, size))
    return np.asarray(values / (values.std() + 1e-9), np.float32)


def _streaks(rng: np.random.Generator, size: int) -> NDArray:
    """Brushed metal, wood fibre: noise stretched along one axis."""
    frequency_x = np.fft.rfftfreq(size)[None, :] * size
    frequency_y = np.fft.fftfreq(size)[:, None] * size
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    spectrum *= np.exp(-((frequency_x / rng.uniform(1.0, 4.0)) ** 2))
    spectrum /= np.maximum(np.abs(frequency_y), 1.0) ** rng.uniform(0.2, 0.9)
    return np.asarray(np.fft.irfft2(spectrum, (size, size)), np.float32)


def _grain(rng: np.random.Generator, size: int) -> NDArray:
    """Wood: growth rings cut lengthwise, bent by slow noise, over fine fibre."""
    across = np.arange(size, dtype=np.float32)[:, None] / size
    bend = _streaks(rng, size)
    bend *= rng.uniform(0.1, 0.5) / (bend.std() + 1e-9)
    rings = np.sin(2 * np.pi * (rng.integers(2, 9) * across + bend))
    fibre = _streaks(rng, size)
    return rings + rng.uniform(0.4, 1.5) * fibre / (fibre.std() + 1e-9)


def _cells(rng: np.random.Generator, size: int) -> NDArray:
    """Gravel, stones, fallen leaves: Voronoi cells of different shades with dark edges."""
    count = int(rng.integers(40, 500))
    points = rng.random((count, 2))
    periodic = np.concatenate([points + np.array([i, j]) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    pixels = (np.mgrid[:size, :size] / size).reshape(2, -1).T
    distances, nearest = cKDTree(periodic).query(pixels, k=2)
    edge = np.clip((distances[:, 1] - distances[:, 0]) * np.sqrt(count) * 2.0, 0.0, 1.0)
    shade = rng.random(count)[nearest[:, 0] % count]
    slope = (periodic[nearest[:, 0]] - pixels) @ rng.normal(size=2)
    values = (0.3 + 0.7 * shade) * edge + rng.uniform(0.0, 0.4) * slope * np.sqrt(count)
    return values.reshape(size, size)


def _blades(rng: np.random.Generator, size: int) -> NDArray:
    """Grass, leaves, twigs: many overlapping slender strokes."""
    values = np.full((size, size), 0.1, np.float32)
    count, length = int(rng.integers(350, 900)), rng.uniform(0.04, 0.2) * size
    width, tilt = rng.uniform(0.6, 3.0) * size / 128, rng.uniform(0.2, 3.1)
    for _ in range(count):
        angle = np.pi / 2 + rng.uniform(-tilt, tilt)
        along = np.linspace(0.0, 1.0, max(int(length * 1.5), 4))
        y = rng.random() * size + np.sin(angle) * along * length
        x = rng.random() * size + np.cos(angle) * along * length
        shade = rng.uniform(0.15, 1.0) * (0.5 + 0.5 * along)
        for side in np.arange(-width / 2, width / 2 + 0.1, 0.7):
            dy, dx = side * np.cos(angle), -side * np.sin(angle)
            values[(y + dy).astype(int) % size, (x + dx).astype(int) % size] = shade
    return values


def _blotches(rng: np.random.Generator, size: int) -> NDArray:
    """Spots and stains with soft edges."""
    return np.tanh(_noise(rng, size, (1.6, 3.0)) * rng.uniform(1.0, 6.0))


def _stripes(rng: np.random.Generator, size: int) -> NDArray:
    """Stripes of one or several widths."""
    bands = rng.random(int(rng.integers(2, 7)))
    period = int(2 ** rng.integers(0, 4))
    index = (np.arange(size) * period * len(bands) // size) % len(bands)
    return np.asarray(np.repeat(bands[index][:, None], size, axis=1), np.float32)


def _plaid(rng: np.random.Generator, size: int) -> NDArray:
    """Two sets of crossing stripes: shirts, blankets, table cloths."""
    return _stripes(rng, size) + _stripes(rng, size).T


def _checks(rng: np.random.Generator, size: int) -> NDArray:
    """A chequered board."""
    count = int(2 ** rng.integers(1, 5))
    index = np.arange(size) * count // size
    return (index[:, None] + index[None, :]) % 2


def _tiles(rng: np.random.Generator, size: int) -> NDArray:
    """Tiles, bricks or floorboards of slightly different shades, with joints."""
    rows, columns = int(2 ** rng.integers(1, 5)), int(2 ** rng.integers(0, 4))
    shift = rng.choice([0.0, 0.5])
    y = np.arange(size)[:, None] / size * rows + np.zeros((1, size))
    x = np.arange(size)[None, :] / size * columns + shift * (y.astype(int) % 2)
    shade = rng.random((rows, columns))[y.astype(int) % rows, x.astype(int) % columns]
    joint = np.minimum(np.minimum(y % 1, 1 - y % 1) / rows, np.minimum(x % 1, 1 - x % 1) / columns)
    joint_shade = rng.choice([-0.6, 1.4])
    values = 0.5 + rng.uniform(0.1, 0.8) * (shade - 0.5) + 0.1 * _noise(rng, size)
    return np.where(joint < rng.uniform(0.003, 0.012), joint_shade, values)


def _dots(rng: np.random.Generator, size: int) -> NDArray:
    """Round dots on a grid."""
    count = int(2 ** rng.integers(1, 5))
    y, x = np.mgrid[:size, :size] / size * count % 1 - 0.5
    return np.hypot(y, x) < rng.uniform(0.2, 0.42)


def _letters(rng: np.random.Generator, size: int) -> NDArray:
    """Print: small bars and boxes in lines, as on labels, posters and packaging."""
    values = np.full((size, size), 0.9, np.float32)
    row = 0
    while row < size:
        height = int(rng.integers(2, 14) * size / 128) + 1
        column = int(rng.integers(0, size // 4))
        while column < size - 3:
            width = int(rng.integers(1, 9) * size / 128) + 1
            values[row : row + height, column : column + width] = rng.uniform(0.0, 0.4)
            column += width + int(rng.integers(1, 4) * size / 128) + 1
        row += height + int(rng.integers(2, 16) * size / 128) + 1
    return values


def _flat(rng: np.random.Generator, size: int) -> NDArray:
    """Smooth paint."""
    return 20.0 + np.clip(_noise(rng, size), -3, 3)


# The order is part of the random seeds of the patterns.
PATTERNS: dict[str, Callable[[np.random.Generator, int], NDArray]] = {
    "noise": _noise,
    "streaks": _streaks,
    "grain": _grain,
    "cells": _cells,
    "blades": _blades,
    "blotches": _blotches,
    "stripes": _stripes,
    "plaid": _plaid,
    "checks": _checks,
    "tiles": _tiles,
    "dots": _dots,
    "letters": _letters,
    "flat": _flat,
}

# --- colours --------------------------------------------------------------------------------------


def _sample_colour(rng: np.random.Generator, hue: Range, saturation: Range, value: Range) -> Colour:
    """A random colour in the given ranges, RGB 0..1."""
    return colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )


def _two_shades(rng: np.random.Generator, light: Colour, contrast: Range) -> tuple[Colour, Colour]:
    """A colour darkened by a random contrast, and the colour itself."""
    factor = 1.0 - rng.uniform(*contrast)
    red, green, blue = (channel * factor for channel in light)
    return (red, green, blue), light


def _shades(
    *colours: tuple[Range, Range, Range], contrast: Range, below: tuple[float, ...] = ()
) -> Palette:
    """A palette of two shades of one colour.

    Args:
        colours: ranges of hue, saturation and value; the alternatives to choose from.
        contrast: how much darker the second shade is.
        below: cumulative probabilities of all alternatives but the last.
    """

    def palette(rng: np.random.Generator) -> tuple[Colour, Colour]:
        index = bisect_right(below, rng.random()) if below else 0
        return _two_shades(rng, _sample_colour(rng, *colours[index]), contrast)

    return palette


def _ceramic(rng: np.random.Generator) -> tuple[Colour, Colour]:
    glaze = _sample_colour(rng, (0.05, 0.65), (0.0, 0.1), (0.85, 1.0))
    if rng.random() < 0.6:
        return _two_shades(rng, glaze, (0.0, 0.1))
    return _sample_colour(rng, (0.55, 0.7), (0.5, 0.9), (0.3, 0.8)), glaze  # painted in blue


def _skin(rng: np.random.Generator) -> tuple[Colour, Colour]:
    lightest, darkest = np.array([1.0, 0.83, 0.72]), np.array([0.22, 0.13, 0.09])
    tone = lightest + (darkest - lightest) * rng.random() + rng.normal(0.0, 0.02, 3)
    red, green, blue = np.clip(tone, 0.05, 1.0).tolist()
    return _two_shades(rng, (red, green, blue), (0.05, 0.25))


def _cloth(rng: np.random.Generator) -> tuple[Colour, Colour]:
    if rng.random() < 0.3:
        grey = _sample_colour(rng, (0.5, 0.7), (0.0, 0.3), (0.04, 0.9))
        return _two_shades(rng, grey, (0.1, 0.5))
    first = _sample_colour(rng, (0.0, 1.0), (0.1, 0.95), (0.15, 1.0))
    if rng.random() < 0.5:
        return first, _sample_colour(rng, (0.0, 1.0), (0.0, 0.9), (0.1, 1.0))
    return _two_shades(rng, first, (0.2, 0.6))


LOOKS: dict[str, Look] = {
    "wood": Look(
        {"grain": 0.8, "streaks": 0.2},
        _shades(((0.04, 0.1), (0.45, 0.8), (0.25, 0.8)), contrast=(0.25, 0.6)),
    ),
    "metal": Look(
        {"streaks": 0.8, "flat": 0.2},
        _shades(
            ((0.5, 0.7), (0.0, 0.12), (0.35, 0.85)),
            ((0.07, 0.13), (0.5, 0.75), (0.6, 1.0)),  # brass, copper, gold
            below=(0.75,),
            contrast=(0.15, 0.45),
        ),
    ),
    "glass": Look(
        {"flat": 0.9, "blotches": 0.1},
        _shades(((0.36, 0.55), (0.1, 0.5), (0.65, 1.0)), contrast=(0.0, 0.2)),
    ),
    "ceramic": Look({"flat": 0.6, "blotches": 0.15, "dots": 0.1, "stripes": 0.15}, _ceramic),
    "plastic": Look(
        {"flat": 0.8, "letters": 0.1, "stripes": 0.1},
        _shades(((0.0, 1.0), (0.75, 1.0), (0.6, 1.0)), contrast=(0.0, 0.15)),
    ),
    "rubber": Look(
        {"flat": 0.5, "noise": 0.5},
        _shades(((0.0, 1.0), (0.0, 0.2), (0.05, 0.22)), contrast=(0.1, 0.4)),
    ),
    "membrane": Look(
        {"flat": 0.5, "blotches": 0.3, "noise": 0.2},
        _shades(
            ((0.05, 0.17), (0.0, 0.25), (0.75, 1.0)),
            ((0.04, 0.1), (0.3, 0.6), (0.45, 0.85)),
            ((0.0, 1.0), (0.0, 0.3), (0.08, 0.3)),
            below=(0.6, 0.8),
            contrast=(0.03, 0.3),
        ),
    ),
    "stone": Look(
        {"noise": 0.5, "cells": 0.5},
        _shades(((0.0, 0.65), (0.0, 0.15), (0.45, 0.95)), contrast=(0.5, 0.8)),
    ),
    "cardboard": Look(
        {"flat": 0.35, "letters": 0.65},
        _shades(((0.08, 0.11), (0.25, 0.42), (0.65, 0.9)), contrast=(0.05, 0.2)),
    ),
    "skin": Look({"flat": 0.5, "noise": 0.3, "blotches": 0.2}, _skin),
    "cloth": Look(
        {"plaid": 0.25, "stripes": 0.2, "flat": 0.2, "noise": 0.2, "dots": 0.05, "letters": 0.1},
        _cloth,
    ),
    "ground": Look(
        {
            "blades": 0.22,
            "cells": 0.22,
            "noise": 0.18,
            "tiles": 0.14,
            "grain": 0.08,
            "blotches": 0.08,
            "plaid": 0.04,
            "checks": 0.04,
        },
        _shades(
            ((0.15, 0.36), (0.15, 0.65), (0.3, 0.85)),  # grass, weeds
            ((0.02, 0.14), (0.15, 0.65), (0.35, 0.95)),  # earth, sand, leaves, wood
            ((0.0, 0.7), (0.0, 0.15), (0.3, 0.95)),  # concrete, gravel, asphalt
            ((0.0, 1.0), (0.05, 0.6), (0.3, 1.0)),  # carpets, tiles, mats
            below=(0.22, 0.5, 0.8),
            contrast=(0.15, 0.8),
        ),
        dirt=0.6,
    ),
    "wall": Look(
        {
            "flat": 0.3,
            "noise": 0.2,
            "tiles": 0.2,
            "grain": 0.1,
            "stripes": 0.08,
            "letters": 0.07,
            "dots": 0.05,
        },
        _shades(
            ((0.0, 0.7), (0.0, 0.3), (0.55, 1.0)),
            ((0.0, 1.0), (0.05, 0.6), (0.2, 0.95)),
            below=(0.6,),
            contrast=(0.05, 0.5),
        ),
        dirt=0.6,
    ),
    "leaf": Look(
        {"blades": 0.5, "cells": 0.3, "noise": 0.2},
        _shades(
            ((0.18, 0.38), (0.35, 0.9), (0.35, 0.95)),
            ((0.0, 0.15), (0.35, 0.9), (0.35, 0.95)),
            below=(0.75,),
            contrast=(0.4, 0.9),
        ),
    ),
}

# --- parts of sky boxes ---------------------------------------------------------------------------


def _as_uint8(picture: FloatArray) -> NDArray[np.uint8]:
    return (np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)


def _surface(rng: np.random.Generator, look: str, size: int) -> FloatArray:
    """A surface texture as float32 in 0..1."""
    return surface_texture(look, rng, size=size).astype(np.float32) / 255.0


def _repeat_sideways(picture: FloatArray) -> FloatArray:
    return np.tile(picture, (1, 4, 1))


def _sky_colour(rng: np.random.Generator) -> Colour:
    """Blue, overcast, evening."""
    if rng.random() < 0.6:
        return _sample_colour(rng, (0.52, 0.64), (0.0, 0.55), (0.7, 1.0))
    return _sample_colour(rng, (0.0, 0.15), (0.0, 0.3), (0.6, 1.0))


def _add_vegetation_(strip: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    """Paint trees, bushes and houses above the horizon."""
    size = strip.shape[0]
    rows = np.arange(size)[:, None]
    for _ in range(rng.integers(1, 4)):
        leaves = _repeat_sideways(_surface(rng, "leaf", size)) * rng.uniform(0.5, 1.0)
        outline = np.tile(pattern("noise", int(rng.integers(PATTERNS_PER_KIND)), size)[0], 4)
        height = (rng.uniform(0.05, 0.5) + rng.uniform(0.1, 0.6) * outline) * horizon
        mask = (rows > horizon - height[None, :]) & (rows < horizon)
        strip[mask] = leaves[mask]
    if rng.random() < 0.5:
        _add_rectangles_(strip[:horizon], rng, count=int(rng.integers(1, 10)), floor=horizon)


def _add_rectangles_(
    strip: FloatArray, rng: np.random.Generator, *, count: int, floor: int | None
) -> None:
    """Paint furniture, windows, posters, boxes: textured or plain rectangles.

    Half of the rectangles stand on the row `floor`, unless it is None.
    """
    height, width = strip.shape[:2]
    looks = ["wood", "wall", "cloth", "plastic", "cardboard"]
    skins = [_surface(rng, str(rng.choice(looks)), 64) for _ in range(4)]
    for _ in range(count):
        rectangle_height = int(height * rng.uniform(0.03, 0.55)) + 1
        rectangle_width = int(height * rng.uniform(0.03, 0.6)) + 1
        left = int(rng.integers(0, width - 1))
        if floor is not None and rng.random() < 0.5:
            top = max(floor - rectangle_height, 0)
        else:
            top = int(rng.integers(0, height))
        area = strip[top : top + rectangle_height, left : left + rectangle_width]
        if rng.random() < 0.5:
            area[:] = _sample_colour(rng, (0.0, 1.0), (0.0, 0.7), (0.05, 1.0))
        else:
            skin = skins[int(rng.integers(4))]
            rows, columns = np.arange(area.shape[0]) % 64, np.arange(area.shape[1]) % 64
            area[:] = skin[rows[:, None], columns[None, :]] * rng.uniform(0.5, 1.0)
