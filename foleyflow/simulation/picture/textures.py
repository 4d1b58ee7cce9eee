"""Procedural pictures for surfaces and skies: wood grain, gravel, cloth, tiles, leaves, rooms.

Patterns are grey fields, drawn from a fixed bank (so many per process, made on first use) and
coloured anew for every clip; the same random stream gives the same bytes in every process.
Nothing here knows MuJoCo, scenes or lights, and nothing is a photograph: no rights but ours.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

BANK = 10  # patterns of each kind
Colour = tuple[float, float, float]
FloatArray = NDArray[np.float32]


def surface(look: str, rng: np.random.Generator, *, size: int = 128) -> NDArray[np.uint8]:
    """A tileable picture of what something is made of.

    Args:
        look: a key of `LOOKS`.
        rng: the clip's random stream.
        size: pixels along each side.

    Returns:
        (size, size, 3) uint8, RGB.

    Source: ours.
    """
    patterns, palette = LOOKS[look]
    names, weights = zip(*patterns, strict=True)
    kind = str(rng.choice(names, p=np.array(weights) / sum(weights)))
    pattern = field(kind, int(rng.integers(BANK)), size)
    if rng.random() < 0.5:
        pattern = pattern.T
    if rng.random() < 0.3:
        pattern = 1.0 - pattern
    dark, light = palette(rng)
    shade = field("noise", int(rng.integers(BANK)), size)
    dirt = rng.uniform(0.0, 0.35) if look not in ("ground", "wall") else rng.uniform(0.0, 0.6)
    return _coloured(pattern, dark, light, shade, float(dirt))


def surroundings(rng: np.random.Generator, *, size: int = 128) -> NDArray[np.uint8]:
    """Six pictures of what lies far away: a garden, a street, a room, a studio or mere clutter.

    Args:
        rng: the clip's random stream.
        size: pixels along each side of a face.

    Returns:
        (6, size, size, 3) uint8: right, left, up, down, front, back, as a MuJoCo sky box.

    Source: ours.
    """
    scene = rng.choice(["garden", "room", "clutter", "plain"], p=[0.3, 0.35, 0.25, 0.1])
    strip = np.zeros((size, 4 * size, 3), np.float32)
    if scene == "garden":
        top, bottom = _sky(rng), _floor(rng, size)
        strip[:] = np.linspace(1.0, 0.75, size)[:, None, None] * np.array(top)
        horizon = int(size * rng.uniform(0.4, 0.62))
        _hedge(strip, horizon, rng)
    elif scene == "room":
        top = _colour(rng, (0.05, 0.15), (0.0, 0.15), (0.7, 1.0))
        bottom = _floor(rng, size)
        strip[:] = _tiled(surface("wall", rng, size=size), 4)
        horizon = int(size * rng.uniform(0.55, 0.75))
        _rectangles(strip, rng, count=int(rng.integers(8, 40)), standing_on=horizon)
    elif scene == "clutter":
        top = _colour(rng, (0.0, 1.0), (0.0, 0.6), (0.1, 1.0))
        bottom = _floor(rng, size)
        strip[:] = _tiled(surface(str(rng.choice(["wall", "leaf", "ground"])), rng, size=size), 4)
        horizon = size
        _rectangles(strip, rng, count=int(rng.integers(20, 90)), standing_on=None)
    else:
        top = _colour(rng, (0.0, 1.0), (0.0, 0.5), (0.05, 1.0))
        bottom = np.ones((size, size, 3), np.float32) * top
        strip[:] = np.linspace(1.0, rng.uniform(0.4, 1.0), size)[:, None, None] * np.array(top)
        horizon = size
    strip[horizon:] = _tiled(bottom, 4)[: size - horizon]
    strip *= rng.uniform(0.6, 1.0)
    sides = (strip[:, i * size : (i + 1) * size] for i in range(4))
    right, front, left, back = sides
    up = np.ones((size, size, 3), np.float32) * top
    faces = np.stack([right, left, up, bottom, front, back])
    return (np.clip(faces, 0.0, 1.0) * 255.0).astype(np.uint8)


# ------------------------------------------------------------------------------------ patterns


@lru_cache(maxsize=1024)
def field(kind: str, index: int, size: int) -> FloatArray:
    """Pattern number `index` of one kind from the bank.

    Returns:
        (size, size) float32 in 0..1, periodic in both directions; not to be written to.

    Source: ours.
    """
    rng = np.random.default_rng((FIELDS_ORDER[kind], index, size))
    drawn = FIELDS[kind](rng, size)
    low, high = np.percentile(drawn, (1, 99))
    values: FloatArray = np.clip((drawn - low) / max(high - low, 1e-6), 0.0, 1.0)
    values = values.astype(np.float32)
    values.setflags(write=False)
    return values


def _noise(rng: np.random.Generator, size: int, slope: float | None = None) -> FloatArray:
    """Noise whose spectrum falls as frequency ** -slope."""
    slope = rng.uniform(0.6, 2.2) if slope is None else slope
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * size
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    values = np.fft.irfft2(spectrum / np.maximum(frequency, 1.0) ** slope, (size, size))
    return np.asarray(values / (values.std() + 1e-9), np.float32)


def _streaks(rng: np.random.Generator, size: int) -> FloatArray:
    """Brushed metal, wood fibre: noise drawn out along one axis."""
    frequency_x = np.fft.rfftfreq(size)[None, :] * size
    frequency_y = np.fft.fftfreq(size)[:, None] * size
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    spectrum *= np.exp(-((frequency_x / rng.uniform(1.0, 4.0)) ** 2))
    spectrum /= np.maximum(np.abs(frequency_y), 1.0) ** rng.uniform(0.2, 0.9)
    return np.asarray(np.fft.irfft2(spectrum, (size, size)), np.float32)


def _grain(rng: np.random.Generator, size: int) -> FloatArray:
    """Wood: rings cut lengthwise, bent by slow noise, over fine fibre."""
    across = np.arange(size, dtype=np.float32)[:, None] / size
    bend = _streaks(rng, size)
    bend *= rng.uniform(0.1, 0.5) / (bend.std() + 1e-9)
    rings = np.sin(2 * np.pi * (rng.integers(2, 9) * across + bend))
    fibre = _streaks(rng, size)
    return np.asarray(rings + rng.uniform(0.4, 1.5) * fibre / (fibre.std() + 1e-9), np.float32)


def _cells(rng: np.random.Generator, size: int) -> FloatArray:
    """Gravel, stones, fallen leaves: Voronoi cells, each with its own shade and a dark rim."""
    count = int(rng.integers(40, 500))
    points = rng.random((count, 2))
    around = np.concatenate([points + np.array([i, j]) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    y, x = np.mgrid[:size, :size] / size
    distances, nearest = cKDTree(around).query(np.stack([y, x], -1).reshape(-1, 2), k=2)
    rim = np.clip((distances[:, 1] - distances[:, 0]) * np.sqrt(count) * 2.0, 0.0, 1.0)
    shade = rng.random(count)[nearest[:, 0] % count]
    slope = (around[nearest[:, 0]] - np.stack([y, x], -1).reshape(-1, 2)) @ rng.normal(size=2)
    values = (0.3 + 0.7 * shade) * rim + rng.uniform(0.0, 0.4) * slope * np.sqrt(count)
    return np.asarray(values.reshape(size, size), np.float32)


def _blades(rng: np.random.Generator, size: int) -> FloatArray:
    """Grass, leaves, twigs: many overlapping slender strokes, the last on top."""
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


def _blotches(rng: np.random.Generator, size: int) -> FloatArray:
    """Spots and stains with soft edges."""
    smooth = _noise(rng, size, rng.uniform(1.6, 3.0))
    return np.asarray(np.tanh(smooth * rng.uniform(1.0, 6.0)), np.float32)


def _stripes(rng: np.random.Generator, size: int) -> FloatArray:
    """Stripes of one or several widths."""
    bands = rng.random(int(rng.integers(2, 7)))
    period = int(2 ** rng.integers(0, 4))
    index = (np.arange(size) * period * len(bands) // size) % len(bands)
    return np.asarray(np.repeat(bands[index][:, None], size, axis=1), np.float32)


def _plaid(rng: np.random.Generator, size: int) -> FloatArray:
    """Two sets of stripes crossing: shirts, blankets, table cloths."""
    return _stripes(rng, size) + _stripes(rng, size).T


def _checks(rng: np.random.Generator, size: int) -> FloatArray:
    """A chequered board."""
    count = int(2 ** rng.integers(1, 5))
    index = np.arange(size) * count // size
    return np.asarray((index[:, None] + index[None, :]) % 2, np.float32)


def _tiles(rng: np.random.Generator, size: int) -> FloatArray:
    """Tiles, bricks or floorboards, each a little different, with joints."""
    rows, columns = int(2 ** rng.integers(1, 5)), int(2 ** rng.integers(0, 4))
    shift = rng.choice([0.0, 0.5])
    y = np.arange(size)[:, None] / size * rows + np.zeros((1, size))
    x = np.arange(size)[None, :] / size * columns + shift * (y.astype(int) % 2)
    shade = rng.random((rows, columns))[y.astype(int) % rows, x.astype(int) % columns]
    joint = np.minimum(np.minimum(y % 1, 1 - y % 1) / rows, np.minimum(x % 1, 1 - x % 1) / columns)
    joint_colour = rng.choice([-0.6, 1.4])
    values = 0.5 + rng.uniform(0.1, 0.8) * (shade - 0.5) + 0.1 * _noise(rng, size)
    return np.asarray(np.where(joint < rng.uniform(0.003, 0.012), joint_colour, values), np.float32)


def _dots(rng: np.random.Generator, size: int) -> FloatArray:
    """Round dots on a grid."""
    count = int(2 ** rng.integers(1, 5))
    y, x = np.mgrid[:size, :size] / size * count % 1 - 0.5
    return np.asarray(np.hypot(y, x) < rng.uniform(0.2, 0.42), np.float32)


def _letters(rng: np.random.Generator, size: int) -> FloatArray:
    """Print: small bars and boxes in rows, as on labels, posters and packaging."""
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


def _flat(rng: np.random.Generator, size: int) -> FloatArray:
    """Almost nothing: smooth paint with a trace of noise."""
    return 20.0 + np.clip(_noise(rng, size), -3, 3)


FIELDS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
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
FIELDS_ORDER = {kind: number for number, kind in enumerate(FIELDS)}

# ------------------------------------------------------------------------------------ colours

Palette = Callable[[np.random.Generator], tuple[Colour, Colour]]


def _colour(
    rng: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Colour:
    """A random colour in the given ranges, RGB 0..1."""
    return colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )


def _two_tone(light: Colour, contrast: float) -> tuple[Colour, Colour]:
    """A colour and its darker brother."""
    red, green, blue = (channel * (1.0 - contrast) for channel in light)
    return (red, green, blue), light


def _wood(rng: np.random.Generator) -> tuple[Colour, Colour]:
    return _two_tone(_colour(rng, (0.04, 0.1), (0.45, 0.8), (0.25, 0.8)), rng.uniform(0.25, 0.6))


def _metal(rng: np.random.Generator) -> tuple[Colour, Colour]:
    if rng.random() < 0.75:
        light = _colour(rng, (0.5, 0.7), (0.0, 0.12), (0.35, 0.85))
    else:  # brass, copper, gold
        light = _colour(rng, (0.07, 0.13), (0.5, 0.75), (0.6, 1.0))
    return _two_tone(light, rng.uniform(0.15, 0.45))


def _glass(rng: np.random.Generator) -> tuple[Colour, Colour]:
    return _two_tone(_colour(rng, (0.36, 0.55), (0.1, 0.5), (0.65, 1.0)), rng.uniform(0.0, 0.2))


def _ceramic(rng: np.random.Generator) -> tuple[Colour, Colour]:
    glaze = _colour(rng, (0.05, 0.65), (0.0, 0.1), (0.85, 1.0))
    if rng.random() < 0.6:
        return _two_tone(glaze, rng.uniform(0.0, 0.1))
    return _colour(rng, (0.55, 0.7), (0.5, 0.9), (0.3, 0.8)), glaze  # painted in blue


def _plastic(rng: np.random.Generator) -> tuple[Colour, Colour]:
    return _two_tone(_colour(rng, (0.0, 1.0), (0.75, 1.0), (0.6, 1.0)), rng.uniform(0.0, 0.15))


def _rubber(rng: np.random.Generator) -> tuple[Colour, Colour]:
    return _two_tone(_colour(rng, (0.0, 1.0), (0.0, 0.2), (0.05, 0.22)), rng.uniform(0.1, 0.4))


def _membrane(rng: np.random.Generator) -> tuple[Colour, Colour]:
    kind = rng.random()
    if kind < 0.6:
        light = _colour(rng, (0.05, 0.17), (0.0, 0.25), (0.75, 1.0))
    elif kind < 0.8:
        light = _colour(rng, (0.04, 0.1), (0.3, 0.6), (0.45, 0.85))
    else:
        light = _colour(rng, (0.0, 1.0), (0.0, 0.3), (0.08, 0.3))
    return _two_tone(light, rng.uniform(0.03, 0.3))


def _stone(rng: np.random.Generator) -> tuple[Colour, Colour]:
    return _two_tone(_colour(rng, (0.0, 0.65), (0.0, 0.15), (0.45, 0.95)), rng.uniform(0.5, 0.8))


def _cardboard(rng: np.random.Generator) -> tuple[Colour, Colour]:
    return _two_tone(_colour(rng, (0.08, 0.11), (0.25, 0.42), (0.65, 0.9)), rng.uniform(0.05, 0.2))


def _skin(rng: np.random.Generator) -> tuple[Colour, Colour]:
    fair, deep = np.array([1.0, 0.83, 0.72]), np.array([0.22, 0.13, 0.09])
    mixed = fair + (deep - fair) * rng.random() + rng.normal(0.0, 0.02, 3)
    red, green, blue = (float(channel) for channel in np.clip(mixed, 0.05, 1.0))
    return _two_tone((red, green, blue), rng.uniform(0.05, 0.25))


def _cloth(rng: np.random.Generator) -> tuple[Colour, Colour]:
    if rng.random() < 0.3:
        grey = _colour(rng, (0.5, 0.7), (0.0, 0.3), (0.04, 0.9))
        return _two_tone(grey, rng.uniform(0.1, 0.5))
    first = _colour(rng, (0.0, 1.0), (0.1, 0.95), (0.15, 1.0))
    if rng.random() < 0.5:
        return first, _colour(rng, (0.0, 1.0), (0.0, 0.9), (0.1, 1.0))
    return _two_tone(first, rng.uniform(0.2, 0.6))


def _ground(rng: np.random.Generator) -> tuple[Colour, Colour]:
    kind = rng.random()
    if kind < 0.22:  # grass, weeds
        light = _colour(rng, (0.15, 0.36), (0.15, 0.65), (0.3, 0.85))
    elif kind < 0.5:  # earth, sand, leaves, wood
        light = _colour(rng, (0.02, 0.14), (0.15, 0.65), (0.35, 0.95))
    elif kind < 0.8:  # concrete, gravel, asphalt
        light = _colour(rng, (0.0, 0.7), (0.0, 0.15), (0.3, 0.95))
    else:  # carpets, tiles, mats
        light = _colour(rng, (0.0, 1.0), (0.05, 0.6), (0.3, 1.0))
    return _two_tone(light, rng.uniform(0.15, 0.8))


def _wall(rng: np.random.Generator) -> tuple[Colour, Colour]:
    if rng.random() < 0.6:
        light = _colour(rng, (0.0, 0.7), (0.0, 0.3), (0.55, 1.0))
    else:
        light = _colour(rng, (0.0, 1.0), (0.05, 0.6), (0.2, 0.95))
    return _two_tone(light, rng.uniform(0.05, 0.5))


def _leaf(rng: np.random.Generator) -> tuple[Colour, Colour]:
    hue = (0.18, 0.38) if rng.random() < 0.75 else (0.0, 0.15)
    return _two_tone(_colour(rng, hue, (0.35, 0.9), (0.35, 0.95)), rng.uniform(0.4, 0.9))


LOOKS: dict[str, tuple[tuple[tuple[str, float], ...], Palette]] = {
    "wood": ((("grain", 0.8), ("streaks", 0.2)), _wood),
    "metal": ((("streaks", 0.8), ("flat", 0.2)), _metal),
    "glass": ((("flat", 0.9), ("blotches", 0.1)), _glass),
    "ceramic": ((("flat", 0.6), ("blotches", 0.15), ("dots", 0.1), ("stripes", 0.15)), _ceramic),
    "plastic": ((("flat", 0.8), ("letters", 0.1), ("stripes", 0.1)), _plastic),
    "rubber": ((("flat", 0.5), ("noise", 0.5)), _rubber),
    "membrane": ((("flat", 0.5), ("blotches", 0.3), ("noise", 0.2)), _membrane),
    "stone": ((("noise", 0.5), ("cells", 0.5)), _stone),
    "cardboard": (
        (("flat", 0.35), ("letters", 0.65)),
        _cardboard,
    ),
    "skin": ((("flat", 0.5), ("noise", 0.3), ("blotches", 0.2)), _skin),
    "cloth": (
        (
            ("plaid", 0.25),
            ("stripes", 0.2),
            ("flat", 0.2),
            ("noise", 0.2),
            ("dots", 0.05),
            ("letters", 0.1),
        ),
        _cloth,
    ),
    "ground": (
        (
            ("blades", 0.22),
            ("cells", 0.22),
            ("noise", 0.18),
            ("tiles", 0.14),
            ("grain", 0.08),
            ("blotches", 0.08),
            ("plaid", 0.04),
            ("checks", 0.04),
        ),
        _ground,
    ),
    "wall": (
        (
            ("flat", 0.3),
            ("noise", 0.2),
            ("tiles", 0.2),
            ("grain", 0.1),
            ("stripes", 0.08),
            ("letters", 0.07),
            ("dots", 0.05),
        ),
        _wall,
    ),
    "leaf": ((("blades", 0.5), ("cells", 0.3), ("noise", 0.2)), _leaf),
}

# ------------------------------------------------------------------------------ putting together


def _coloured(
    pattern: FloatArray, dark: Colour, light: Colour, shade: FloatArray, dirt: float
) -> NDArray[np.uint8]:
    """A grey pattern between two colours, a second one as dirt on top."""
    low, high = np.array(dark, np.float32), np.array(light, np.float32)
    picture = low + pattern[..., None] * (high - low)
    picture *= (1.0 - dirt * shade)[..., None]
    return (np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)


def _tiled(picture: NDArray[np.uint8] | FloatArray, count: int) -> FloatArray:
    """`count` copies side by side, as 0..1."""
    unit = picture.astype(np.float32) / (255.0 if picture.dtype == np.uint8 else 1.0)
    return np.tile(unit, (1, count, 1))


def _sky(rng: np.random.Generator) -> Colour:
    """Blue, overcast, evening."""
    if rng.random() < 0.6:
        return _colour(rng, (0.52, 0.64), (0.0, 0.55), (0.7, 1.0))
    return _colour(rng, (0.0, 0.15), (0.0, 0.3), (0.6, 1.0))


def _floor(rng: np.random.Generator, size: int) -> FloatArray:
    """What lies under everything, 0..1."""
    return surface("ground", rng, size=size).astype(np.float32) / 255.0


def _hedge(strip: FloatArray, horizon: int, rng: np.random.Generator) -> None:
    """Trees, bushes and houses above the horizon, drawn into the strip."""
    size = strip.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        leaves = _tiled(surface("leaf", rng, size=size), 4) * rng.uniform(0.5, 1.0)
        outline = np.tile(field("noise", int(rng.integers(BANK)), size)[0], 4)
        height = (rng.uniform(0.05, 0.5) + rng.uniform(0.1, 0.6) * outline) * horizon
        rows = np.arange(size)[:, None]
        mask = (rows > horizon - height[None, :]) & (rows < horizon)
        strip[mask] = leaves[mask]
    if rng.random() < 0.5:
        _rectangles(strip[:horizon], rng, count=int(rng.integers(1, 10)), standing_on=horizon)


def _rectangles(
    strip: FloatArray, rng: np.random.Generator, *, count: int, standing_on: int | None
) -> None:
    """Furniture, windows, posters, boxes: textured or plain rectangles drawn into the strip."""
    height, width = strip.shape[:2]
    skins = [
        surface(str(rng.choice(["wood", "wall", "cloth", "plastic", "cardboard"])), rng, size=64)
        for _ in range(4)
    ]
    for _ in range(count):
        tall = int(height * rng.uniform(0.03, 0.55)) + 1
        wide = int(height * rng.uniform(0.03, 0.6)) + 1
        left = int(rng.integers(0, width - 1))
        if standing_on is not None and rng.random() < 0.5:
            top = max(standing_on - tall, 0)
        else:
            top = int(rng.integers(0, height))
        area = strip[top : top + tall, left : left + wide]
        if rng.random() < 0.5:
            area[:] = _colour(rng, (0.0, 1.0), (0.0, 0.7), (0.05, 1.0))
        else:
            skin = skins[int(rng.integers(4))].astype(np.float32) / 255.0
            rows, columns = np.arange(area.shape[0]) % 64, np.arange(area.shape[1]) % 64
            area[:] = skin[rows[:, None], columns[None, :]] * rng.uniform(0.5, 1.0)
