"""Exposes and develops the film: when each frame is taken, and what lens and sensor do to it.

A frame is a point sample at its time stamp: the shutter is centred on it, and frame 0 is the
clip's zero. Encoding is `h264.py`'s work; what is in front of the lens is no concern of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_covering
from foleyflow.signals import Frames
from foleyflow.simulation.picture.h264 import TICKS_PER_S

Float = NDArray[np.float32]
Render = Callable[[float, tuple[float, float], NDArray[np.uint8]], None]
CHUNK = 16  # frames developed at once: they stay in the processor's cache

# how far the raster is shifted for each of a frame's renders, pixels: their mean smooths edges
SHIFTS_PX = {
    1: ((0.0, 0.0),),
    2: ((-0.25, -0.25), (0.25, 0.25)),
    3: ((-0.33, 0.0), (0.0, 0.33), (0.33, -0.33)),
    4: ((-0.375, -0.125), (-0.125, 0.375), (0.125, -0.375), (0.375, 0.125)),
}

# (stored, shot): a camera at 50 or 60 fps of which every second frame was kept has a short shutter
FRAME_RATES = (
    (Fraction(15), Fraction(15)),
    (Fraction(43, 2), Fraction(43, 2)),
    (Fraction(24000, 1001), Fraction(24000, 1001)),
    (Fraction(24), Fraction(24)),
    (Fraction(25), Fraction(25)),
    (Fraction(25), Fraction(25)),
    (Fraction(30000, 1001), Fraction(30000, 1001)),
    (Fraction(30000, 1001), Fraction(30000, 1001)),
    (Fraction(30), Fraction(30)),
    (Fraction(25), Fraction(50)),
    (Fraction(30), Fraction(60)),
)


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """When the pictures of a clip are taken.

    Attributes:
        rate: stored frames per second (nominal, if they jitter).
        ticks: (T,) int64, time stamps in 1/90000 s, strictly increasing from 0.
        seen_s: (T,) the moment each picture shows: its time stamp, but for repeated frames.
        shutter_s: how long the shutter is open, centred on that moment; 0 for an instant.
        samples: renders averaged per frame.
    """

    rate: Fraction
    ticks: NDArray[np.int64]
    seen_s: NDArray[np.float64]
    shutter_s: float
    samples: int

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Time stamps in seconds, (T,)."""
        seconds: NDArray[np.float64] = self.ticks / TICKS_PER_S
        return seconds

    def moments_s(self, frame: int) -> NDArray[np.float64]:
        """Moments to render for one frame, (samples,), centred on what it shows."""
        offsets = (np.arange(self.samples) + 0.5) / self.samples - 0.5
        return np.asarray(self.seen_s[frame] + self.shutter_s * offsets)


@dataclass(frozen=True, kw_only=True)
class ImageStyle:
    """What lens, sensor and colour correction do to a clip.

    Attributes:
        supersampling: rendered over stored size, per side.
        blur_px: blur of the lens, stored pixels.
        sharpen: strength of the unsharp mask.
        brightness: mean level the automatic exposure aims at, 0..1.
        exposure_pull: 0 leaves the exposure as it is, 1 reaches `brightness`.
        colour: (3, 3) white balance and saturation.
        gamma: exponent of the tone curve.
        contrast: slope of its S, 0 for none.
        black: level of black, 0..1.
        vignette: darkening of the corners, 0..1.
        noise: sensor noise, standard deviation in grey levels of 255.
        flicker: amplitude of the light's flicker, 0..1.
        flicker_hz: its frequency as the camera sees it.
        bars: share of the height (positive) or width (negative) under black bars.
        fade_s: fade-in from black.
    """

    supersampling: float
    blur_px: float
    sharpen: float
    brightness: float
    exposure_pull: float
    colour: tuple[tuple[float, ...], ...]
    gamma: float
    contrast: float
    black: float
    vignette: float
    noise: float
    flicker: float
    flicker_hz: float
    bars: float
    fade_s: float


def draw_exposure(
    rng: np.random.Generator,
    *,
    duration_s: float,
    rate: Fraction | None = None,
    samples: int | None = None,
) -> Exposure:
    """Choose frame rate, shutter and the flaws of a camera's clock.

    Args:
        rng: the clip's random stream.
        duration_s: frames have time stamps in [0, duration_s).
        rate: frames per second; None draws it, and with it jitter, dropped and repeated frames.
        samples: renders per frame; None draws 1 to 4.

    Source: ours.
    """
    stored, shot = FRAME_RATES[int(rng.integers(len(FRAME_RATES)))]
    flaw = str(rng.choice(["none", "jitter", "drops", "repeats"], p=[0.86, 0.06, 0.04, 0.04]))
    if rate is not None:
        stored, shot, flaw = rate, rate, "none"
    count = count_covering(duration_s, float(stored))
    exact = np.arange(count) / float(stored)
    if flaw == "jitter":
        exact[1:] += rng.uniform(-0.2, 0.2, count - 1) / float(stored)
    if flaw == "drops":
        keep = rng.random(count) >= 0.06
        keep[0] = True
        exact = exact[keep]
    ticks = np.round(exact * TICKS_PER_S).astype(np.int64)
    ticks = ticks[ticks < duration_s * TICKS_PER_S]
    seen_s = ticks / TICKS_PER_S
    if flaw == "repeats":
        every = int(rng.integers(4, 9))
        again = np.arange(every, len(seen_s), every)
        seen_s[again] = seen_s[again - 1]
    drawn = int(rng.choice([1, 2, 3, 4], p=[0.5, 0.34, 0.12, 0.04]))
    shutter_s = float(rng.uniform(0.15, 1.0) / shot)
    samples = drawn if samples is None else samples
    return Exposure(
        rate=stored,
        ticks=ticks,
        seen_s=seen_s,
        shutter_s=shutter_s if samples > 1 else 0.0,
        samples=samples,
    )


def sample_image_style(
    rng: np.random.Generator, *, samples: int, clean: bool = False
) -> ImageStyle:
    """Choose lens, sensor and colours.

    Args:
        rng: the clip's random stream.
        samples: renders per frame; several smooth the edges by themselves.
        clean: a good camera: little blur and noise, no flicker, bars or fade.

    Source: ours.
    """
    warmth, tint = rng.normal(0.0, 0.07), rng.normal(0.0, 0.035)
    balance = np.diag([1.0 + warmth, 1.0 + tint, 1.0 - warmth])
    saturation = float(rng.uniform(0.45, 1.25)) if rng.random() > 0.04 else 0.0
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    colour = (saturation * np.eye(3) + (1.0 - saturation) * grey) @ balance
    bars = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.04, 0.12)) if rng.random() < 0.03 else 0.0
    slight, strong = rng.uniform(0.2, 0.5), rng.uniform(0.5, 1.2)
    look = ImageStyle(
        supersampling=1.25 if samples == 1 and rng.random() < 0.85 else 1.0,
        blur_px=float(rng.choice([0.0, slight, strong], p=[0.6, 0.3, 0.1])),
        sharpen=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.35 else 0.0,
        brightness=float(np.clip(rng.normal(0.45, 0.11), 0.18, 0.75)),
        exposure_pull=float(rng.uniform(0.7, 1.0)),
        colour=tuple(tuple(float(weight) for weight in row) for row in colour),
        gamma=float(np.exp(rng.normal(0.0, 0.18))),
        contrast=float(rng.uniform(0.0, 0.8)),
        black=float(rng.uniform(0.0, 0.08)) if rng.random() < 0.5 else 0.0,
        vignette=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.3 else 0.0,
        noise=float(rng.choice([rng.uniform(0.0, 1.5), rng.uniform(1.5, 7.0)], p=[0.7, 0.3])),
        flicker=float(rng.uniform(0.005, 0.05)) if rng.random() < 0.08 else 0.0,
        flicker_hz=float(rng.uniform(0.5, 12.0)),
        bars=bars,
        fade_s=float(rng.uniform(0.2, 0.6)) if rng.random() < 0.02 else 0.0,
    )
    if not clean:
        return look
    return replace(
        look,
        blur_px=0.0,
        sharpen=0.0,
        brightness=0.45,
        exposure_pull=1.0,
        contrast=0.3,
        noise=1.0,
        flicker=0.0,
        bars=0.0,
        fade_s=0.0,
    )


def shoot(
    render_: Render,
    exposure: Exposure,
    look: ImageStyle,
    rng: np.random.Generator,
    *,
    duration_s: float,
    width: int,
    height: int,
) -> Frames:
    """Film a clip.

    Args:
        render_: called with a time, a shift of the raster in pixels (right, up) and the array to
            fill, (rendered height, rendered width, 3) uint8, bottom row first; `rendered_size`.
        exposure: when.
        look: how it comes out.
        rng: the clip's random stream (noise).
        duration_s: moments outside [0, duration_s] are not asked for.
        width: of the developed frames, pixels.
        height: of the developed frames, pixels.

    Returns:
        Frames with `exposure.times_s`.

    Source: ours.
    """
    rendered_width, rendered_height = rendered_size(look, width=width, height=height)
    pixels = np.zeros((rendered_height, rendered_width, 3), np.uint8)
    count = len(exposure.ticks)
    developed = np.empty((count, height, width, 3), np.uint8)
    development: _Development | None = None
    for start in range(0, count, CHUNK):
        frames = range(start, min(start + CHUNK, count))
        light = np.zeros((len(frames), rendered_height, rendered_width, 3), np.uint16)
        for row, frame in enumerate(frames):
            if row > 0 and exposure.seen_s[frame] == exposure.seen_s[frame - 1]:
                light[row] = light[row - 1]
                continue
            moments_s = np.clip(exposure.moments_s(frame), 0.0, duration_s)
            for moment_s, shift in zip(moments_s, SHIFTS_PX[exposure.samples], strict=True):
                render_(float(moment_s), shift, pixels)
                light[row] += pixels
        if development is None:
            metered = light[::8, ::6, ::6].astype(np.float32) / np.float32(exposure.samples)
            development = _Development(look, rng, width, height, metered)
        developed[start : start + len(frames)] = development(
            light, exposure.samples, exposure.times_s[start : start + len(frames)]
        )
    return Frames(pixels=developed, times_s=exposure.times_s)


def rendered_size(look: ImageStyle, *, width: int, height: int) -> tuple[int, int]:
    """Width and height to render at, pixels.

    Source: ours.
    """
    return round(width * look.supersampling), round(height * look.supersampling)


class _Development:
    """The way from summed renders to finished frames, set up once per clip."""

    def __init__(
        self, look: ImageStyle, rng: np.random.Generator, width: int, height: int, metered: Float
    ) -> None:
        rendered_width, rendered_height = rendered_size(look, width=width, height=height)
        self.look = look
        self.rng = rng
        # The renderer's rows run upwards: turning them round is part of the vertical matrix.
        self.vertical = _optics(rendered_height, height, look)[:, ::-1].copy()
        self.horizontal = _optics(rendered_width, width, look).T.copy()
        self.sharp = (look.supersampling, look.blur_px, look.sharpen) == (1.0, 0.0, 0.0)
        self.curve = _tone_curve(look)
        gain = _metered_gain(metered, self.curve, look)
        self.colour = (gain * np.array(look.colour)).astype(np.float32)
        self.shade = _shade(look, width, height)
        grain = rng.standard_normal((3, height + 64, width + 64)).astype(np.float32)
        self.grain = (0.6 * grain + 0.4 * grain[:1]) * np.float32(look.noise)
        self.phase = float(rng.uniform(0.0, 2.0 * np.pi))

    def __call__(
        self, light: NDArray[np.uint16], samples: int, times_s: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        count, rendered_height, rendered_width = light.shape[:3]
        height, width = self.vertical.shape[0], self.horizontal.shape[1]
        if self.sharp:
            picture = light[:, ::-1].transpose(0, 3, 1, 2).astype(np.float32, order="C")
        else:
            rows = light.reshape(count, rendered_height, -1).astype(np.float32)
            rows = np.matmul(self.vertical, rows)
            planes = rows.reshape(count, height, rendered_width, 3).transpose(0, 3, 1, 2)
            picture = np.ascontiguousarray(planes) @ self.horizontal
        picture = np.matmul(self.colour / samples, picture.reshape(count, 3, -1))
        picture = picture.reshape(count, 3, height, width)
        picture *= self.shade * self._lamp(times_s)[:, None, None, None]
        levels = np.clip(picture, 0.0, 255.0) * np.float32(4.0)
        picture = self.curve[levels.astype(np.uint16)]
        if self.look.noise > 0.0:
            for frame in picture:
                top, left = self.rng.integers(0, 64, 2)
                frame += self.grain[:, top : top + height, left : left + width]
        _bar_(picture, self.look.bars)
        finished: NDArray[np.uint8] = np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)
        return finished.transpose(0, 2, 3, 1)

    def _lamp(self, times_s: NDArray[np.float64]) -> Float:
        """Brightness of each frame: flicker and fade."""
        look = self.look
        turn = 2.0 * np.pi * look.flicker_hz * times_s + self.phase
        level = 1.0 + look.flicker * np.sin(turn)
        if look.fade_s > 0.0:
            level *= np.clip((times_s + 0.02) / look.fade_s, 0.0, 1.0)
        return np.asarray(level, np.float32)


def _metered_gain(metered: Float, curve: Float, look: ImageStyle) -> float:
    """The gain with which the picture gets the brightness looked for (automatic exposure)."""
    low, high = 0.3, 5.0
    for _ in range(7):
        gain = float(np.sqrt(low * high))
        levels = (np.clip(gain * metered, 0.0, 255.0) * 4.0).astype(np.uint16)
        too_bright = curve[levels].mean() > 255.0 * look.brightness
        low, high = (low, gain) if too_bright else (gain, high)
    return float(np.sqrt(low * high) ** look.exposure_pull)


def _optics(rendered: int, stored: int, look: ImageStyle) -> Float:
    """(stored, rendered) matrix: area averaging, blur of the lens, sharpening."""
    edges = np.linspace(0.0, rendered, stored + 1)
    cells = np.arange(rendered)
    upper = np.minimum(edges[1:, None], cells + 1.0)
    lower = np.maximum(edges[:-1, None], cells)
    area = np.clip(upper - lower, 0.0, None)
    area /= area.sum(axis=1, keepdims=True)
    matrix = _gauss(stored, look.blur_px) @ area
    if look.sharpen > 0.0:
        matrix = matrix + look.sharpen * (matrix - _gauss(stored, 1.0) @ matrix)
    return np.asarray(matrix, np.float32)


def _gauss(size: int, sigma_px: float) -> NDArray[np.float64]:
    """(size, size) blur matrix with rows that sum to one."""
    if sigma_px < 0.05:
        return np.eye(size)
    offset = np.subtract.outer(np.arange(size), np.arange(size))
    kernel = np.exp(-0.5 * (offset / sigma_px) ** 2)
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True))


def _tone_curve(look: ImageStyle) -> Float:
    """(1021,) finished level for every quarter level."""
    level = np.arange(1021) / 1020.0
    level = level**look.gamma
    smooth = level * level * (3.0 - 2.0 * level)
    level = level + look.contrast * (smooth - level)
    return np.asarray(255.0 * (look.black + (1.0 - look.black) * level), np.float32)


def _shade(look: ImageStyle, width: int, height: int) -> Float:
    """(height, width) darkening towards the corners."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(1.0 - look.vignette * 0.5 * (x * x + y * y), np.float32)


def _bar_(picture: Float, bars: float) -> None:
    """Black bars above and below (positive) or left and right (negative)."""
    height, width = picture.shape[2:]
    if bars > 0.0:
        rows = round(bars * height)
        picture[:, :, :rows] = picture[:, :, height - rows :] = 0.0
    elif bars < 0.0:
        columns = round(-bars * width)
        picture[:, :, :, :columns] = picture[:, :, :, width - columns :] = 0.0
