"""The frames of a clip: when each is taken, and what lens, sensor and colour correction do to it.

A frame is a point sample at its time stamp: the shutter is centred on it, and frame 0 is at time 0.
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
RenderFunction = Callable[[float, tuple[float, float], NDArray[np.uint8]], None]
CHUNK = 16  # frames processed at a time: they fit into the processor's cache

# Renders per frame -> the shift of the pixel grid in each, pixels. Averaging smooths edges.
SHIFTS_PX = {
    1: ((0.0, 0.0),),
    2: ((-0.25, -0.25), (0.25, 0.25)),
    3: ((-0.33, 0.0), (0.0, 0.33), (0.33, -0.33)),
    4: ((-0.375, -0.125), (-0.125, 0.375), (0.125, -0.375), (0.375, 0.125)),
}

# (stored, captured) frames per second, all equally likely. A camera at 50 or 60 fps of which every
# second frame is kept has a short shutter.
_STORED_RATES = "15 16 43/2 24000/1001 24 25 25 30000/1001 30000/1001 30".split()
FRAME_RATES = (
    *((Fraction(rate), Fraction(rate)) for rate in _STORED_RATES),
    (Fraction(25), Fraction(50)),
    (Fraction(30), Fraction(60)),
)

# (stored, captured) frames per second of videos whose frame rate a program changed by dropping or
# repeating frames, as ffmpeg does. Motion then seems to jump at regular intervals. Of 17 recordings
# at 25 and 21.5 frames per second, 15 have such jumps.
CONVERTED_RATES = tuple(
    (Fraction(stored), Fraction(captured))
    for stored, captured in (
        *(2 * [("25", "30000/1001"), ("43/2", "30000/1001")]),
        *(("25", "30"), ("43/2", "25"), ("24", "30"), ("15", "24"), ("16", "25"), ("16", "30")),
        *(("25", "24"), ("30", "24"), ("30", "25"), ("30000/1001", "24000/1001")),
    )
)
CLOCK_FAULTS = {"none": 0.50, "converted": 0.36, "jitter": 0.06, "drops": 0.04, "repeats": 0.04}


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """When the frames of a clip are taken.

    Attributes:
        rate: stored frames per second (nominal, if they jitter).
        ticks: (T,) int64, time stamps in 1/90000 s, strictly increasing from 0.
        shown_s: (T,) the time that each frame shows: its time stamp, except for repeated frames and
            after a conversion of the frame rate.
        shutter_s: how long the shutter is open, centred on that time; 0 for an instant.
        samples: renders averaged per frame.
    """

    rate: Fraction
    ticks: NDArray[np.int64]
    shown_s: NDArray[np.float64]
    shutter_s: float
    samples: int

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Time stamps in seconds, (T,)."""
        seconds: NDArray[np.float64] = self.ticks / TICKS_PER_S
        return seconds

    def render_times_s(self, frame: int) -> NDArray[np.float64]:
        """Return the times to render for one frame, (samples,)."""
        offsets = (np.arange(self.samples) + 0.5) / self.samples - 0.5
        return np.asarray(self.shown_s[frame] + self.shutter_s * offsets)


@dataclass(frozen=True, kw_only=True)
class ImageStyle:
    """What lens, sensor and colour correction do to a clip.

    Attributes:
        supersampling: rendered over stored size, per side.
        blur_px: blur of the lens, stored pixels.
        sharpen: strength of the unsharp mask.
        brightness: mean level that the automatic exposure aims at, 0..1.
        exposure_pull: effect of the automatic exposure: 0 none, 1 reaches `brightness`.
        colour: (3, 3) white balance and saturation.
        gamma: exponent of the tone curve.
        contrast: strength of the S shape of the tone curve, 0 for none.
        black: level of black, 0..1.
        vignette: darkening of the corners, 0..1.
        noise: standard deviation of the sensor noise, grey levels of 255.
        flicker: amplitude of the flicker of the light, 0..1.
        flicker_hz: frequency of the flicker in the video.
        bars: fraction of the height (positive) or width (negative) under each black bar.
        fade_s: duration of the fade-in from black.
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


def sample_exposure(
    rng: np.random.Generator,
    *,
    duration_s: float,
    rate: Fraction | None = None,
    samples: int | None = None,
) -> Exposure:
    """Sample frame rate, shutter and the faults of a camera's clock.

    Args:
        rng: source of all choices.
        duration_s: time stamps lie in [0, duration_s).
        rate: frames per second; None samples the rate, conversions of it, and jittered, dropped or
            repeated frames.
        samples: renders per frame; None samples 1 to 4.
    """
    stored, captured = FRAME_RATES[int(rng.integers(len(FRAME_RATES)))]
    fault = str(rng.choice(list(CLOCK_FAULTS), p=list(CLOCK_FAULTS.values())))
    if fault == "converted":
        stored, captured = CONVERTED_RATES[int(rng.integers(len(CONVERTED_RATES)))]
    if rate is not None:
        stored, captured, fault = rate, rate, "none"
    # Time stamps
    count = count_covering(duration_s, float(stored))
    times_s = np.arange(count) / float(stored)
    if fault == "jitter":
        times_s[1:] += rng.uniform(-0.2, 0.2, count - 1) / float(stored)
    if fault == "drops":
        keep = rng.random(count) >= 0.06
        keep[0] = True
        times_s = times_s[keep]
    ticks = np.round(times_s * TICKS_PER_S).astype(np.int64)
    ticks = ticks[ticks < duration_s * TICKS_PER_S]
    shown_s = ticks / TICKS_PER_S
    if fault == "repeats":
        interval = int(rng.integers(4, 9))
        repeated = np.arange(interval, len(shown_s), interval)
        shown_s[repeated] = shown_s[repeated - 1]
    if fault == "converted":
        shown_s = _nearest_captured(shown_s, stored, captured)
    # Shutter
    sampled_samples = int(rng.choice([1, 2, 3, 4], p=[0.5, 0.34, 0.12, 0.04]))
    shutter_s = float(rng.uniform(0.15, 1.0) / captured)
    samples = sampled_samples if samples is None else samples
    return Exposure(
        rate=stored,
        ticks=ticks,
        shown_s=shown_s,
        shutter_s=shutter_s if samples > 1 else 0.0,
        samples=samples,
    )


def _nearest_captured(
    times_s: NDArray[np.float64], stored: Fraction, captured: Fraction
) -> NDArray[np.float64]:
    """The times of the captured frames that a conversion stores at these times, (T,).

    A captured frame is stored at the nearest new time stamp, and the last one stored there remains.

    Reference: ffmpeg, filter `fps` with its default rounding.
    """
    latest = np.floor((times_s * float(stored) + 0.5) * float(captured / stored) - 1e-9)
    shown_s: NDArray[np.float64] = np.maximum(latest, 0.0) / float(captured)
    return shown_s


def sample_image_style(
    rng: np.random.Generator, *, samples: int, clean: bool = False
) -> ImageStyle:
    """Sample lens, sensor and colours.

    Several renders per frame (`samples`) smooth edges without supersampling. A `clean` style has
    little noise, no blur, flicker, bars or fade.
    """
    warmth, tint = rng.normal(0.0, 0.07), rng.normal(0.0, 0.035)
    balance = np.diag([1.0 + warmth, 1.0 + tint, 1.0 - warmth])
    saturation = float(rng.uniform(0.45, 1.25)) if rng.random() > 0.04 else 0.0
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    colour = (saturation * np.eye(3) + (1.0 - saturation) * grey) @ balance
    bars = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.04, 0.12)) if rng.random() < 0.03 else 0.0
    slight, strong = rng.uniform(0.2, 0.5), rng.uniform(0.5, 1.2)
    style = ImageStyle(
        supersampling=1.25 if samples == 1 and rng.random() < 0.85 else 1.0,
        blur_px=float(rng.choice([0.0, slight, strong], p=[0.6, 0.3, 0.1])),
        sharpen=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.35 else 0.0,
        brightness=float(np.clip(rng.normal(0.45, 0.11), 0.18, 0.75)),
        exposure_pull=float(rng.uniform(0.7, 1.0)),
        colour=tuple(tuple(row) for row in colour.tolist()),
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
        return style
    style = replace(style, blur_px=0.0, sharpen=0.0, flicker=0.0, bars=0.0, fade_s=0.0)
    return replace(style, brightness=0.45, exposure_pull=1.0, contrast=0.3, noise=1.0)


def record_frames(
    render_: RenderFunction,
    exposure: Exposure,
    style: ImageStyle,
    rng: np.random.Generator,
    *,
    duration_s: float,
    width: int,
    height: int,
) -> Frames:
    """Render the frames of a clip and process them as a camera does.

    Args:
        render_: called with a time, a shift of the pixel grid (right, up) and the array to fill,
            (rendered height, rendered width, 3) uint8, bottom row first; see `rendered_size`.
        rng: source of the noise.
        duration_s: only times in [0, duration_s] are rendered.
        width, height: of the returned frames, pixels.

    Returns:
        Frames with the time stamps `exposure.times_s`.
    """
    rendered_width, rendered_height = rendered_size(style, width=width, height=height)
    pixels = np.zeros((rendered_height, rendered_width, 3), np.uint8)
    count = len(exposure.ticks)
    processed = np.empty((count, height, width, 3), np.uint8)
    processing: _CameraProcessing | None = None
    for start in range(0, count, CHUNK):
        # Sum of the renders of each frame
        chunk = range(start, min(start + CHUNK, count))
        light = np.zeros((len(chunk), rendered_height, rendered_width, 3), np.uint16)
        for index, frame in enumerate(chunk):
            if index > 0 and exposure.shown_s[frame] == exposure.shown_s[frame - 1]:
                light[index] = light[index - 1]
                continue
            times_s = np.clip(exposure.render_times_s(frame), 0.0, duration_s)
            for time_s, shift_px in zip(times_s, SHIFTS_PX[exposure.samples], strict=True):
                render_(float(time_s), shift_px, pixels)
                light[index] += pixels
        # Camera processing; the first chunk determines the automatic exposure
        if processing is None:
            metered = light[::8, ::6, ::6].astype(np.float32) / np.float32(exposure.samples)
            processing = _CameraProcessing(style, rng, width, height, metered)
        inside = slice(chunk.start, chunk.stop)
        processed[inside] = processing(light, exposure.samples, exposure.times_s[inside])
    return Frames(pixels=processed, times_s=exposure.times_s)


def rendered_size(style: ImageStyle, *, width: int, height: int) -> tuple[int, int]:
    """Return the width and height to render for frames of `width` x `height` pixels."""
    return round(width * style.supersampling), round(height * style.supersampling)


class _CameraProcessing:
    """Processing from summed renders to stored frames; prepared once per clip."""

    def __init__(
        self, style: ImageStyle, rng: np.random.Generator, width: int, height: int, metered: Float
    ) -> None:
        rendered_width, rendered_height = rendered_size(style, width=width, height=height)
        self.style = style
        self.rng = rng
        # The renderer's rows run upwards: the vertical matrix also reverses them.
        self.vertical = _resampling(rendered_height, height, style)[:, ::-1].copy()
        self.horizontal = _resampling(rendered_width, width, style).T.copy()
        self.sharp = (style.supersampling, style.blur_px, style.sharpen) == (1.0, 0.0, 0.0)
        self.curve = _tone_curve(style)
        gain = _automatic_gain(metered, self.curve, style)
        self.colour = (gain * np.array(style.colour)).astype(np.float32)
        self.vignette = _vignette(style, width, height)
        noise = rng.standard_normal((3, height + 64, width + 64)).astype(np.float32)
        self.noise = (0.6 * noise + 0.4 * noise[:1]) * np.float32(style.noise)
        self.phase = float(rng.uniform(0.0, 2.0 * np.pi))

    def __call__(
        self, light: NDArray[np.uint16], samples: int, times_s: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        count, rendered_height, rendered_width = light.shape[:3]
        height, width = self.vertical.shape[0], self.horizontal.shape[1]
        # Lens: downsampling, blur, sharpening
        if self.sharp:
            picture = light[:, ::-1].transpose(0, 3, 1, 2).astype(np.float32, order="C")
        else:
            rows = light.reshape(count, rendered_height, -1).astype(np.float32)
            rows = np.matmul(self.vertical, rows)
            planes = rows.reshape(count, height, rendered_width, 3).transpose(0, 3, 1, 2)
            picture = np.ascontiguousarray(planes) @ self.horizontal
        # Colour, brightness and tone curve
        picture = np.matmul(self.colour / samples, picture.reshape(count, 3, -1))
        picture = picture.reshape(count, 3, height, width)
        picture *= self.vignette * self._brightness(times_s)[:, None, None, None]
        levels = np.clip(picture, 0.0, 255.0) * np.float32(4.0)
        picture = self.curve[levels.astype(np.uint16)]
        # Sensor noise: a random part of one noise image per frame
        if self.style.noise > 0.0:
            for frame in picture:
                top, left = self.rng.integers(0, 64, 2)
                frame += self.noise[:, top : top + height, left : left + width]
        _add_bars_(picture, self.style.bars)
        stored: NDArray[np.uint8] = np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)
        return stored.transpose(0, 2, 3, 1)

    def _brightness(self, times_s: NDArray[np.float64]) -> Float:
        """Brightness of each frame by flicker and fade-in."""
        style = self.style
        angle = 2.0 * np.pi * style.flicker_hz * times_s + self.phase
        level = 1.0 + style.flicker * np.sin(angle)
        if style.fade_s > 0.0:
            level *= np.clip((times_s + 0.02) / style.fade_s, 0.0, 1.0)
        return np.asarray(level, np.float32)


def _automatic_gain(metered: Float, curve: Float, style: ImageStyle) -> float:
    """The gain that gives the picture the brightness of the style, found by bisection."""
    low, high = 0.3, 5.0
    for _ in range(7):
        gain = float(np.sqrt(low * high))
        levels = (np.clip(gain * metered, 0.0, 255.0) * 4.0).astype(np.uint16)
        too_bright = curve[levels].mean() > 255.0 * style.brightness
        low, high = (low, gain) if too_bright else (gain, high)
    return float(np.sqrt(low * high) ** style.exposure_pull)


def _resampling(rendered: int, stored: int, style: ImageStyle) -> Float:
    """(stored, rendered) matrix: area averaging, blur of the lens, sharpening."""
    edges = np.linspace(0.0, rendered, stored + 1)
    cells = np.arange(rendered)
    upper = np.minimum(edges[1:, None], cells + 1.0)
    lower = np.maximum(edges[:-1, None], cells)
    area = np.clip(upper - lower, 0.0, None)
    area /= area.sum(axis=1, keepdims=True)
    matrix = _gaussian_blur(stored, style.blur_px) @ area
    if style.sharpen > 0.0:
        matrix = matrix + style.sharpen * (matrix - _gaussian_blur(stored, 1.0) @ matrix)
    return np.asarray(matrix, np.float32)


def _gaussian_blur(size: int, sigma_px: float) -> NDArray[np.float64]:
    """(size, size) blur matrix with rows that sum to one."""
    if sigma_px < 0.05:
        return np.eye(size)
    offset = np.subtract.outer(np.arange(size), np.arange(size))
    kernel = np.exp(-0.5 * (offset / sigma_px) ** 2)
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True))


def _tone_curve(style: ImageStyle) -> Float:
    """(1021,) output level for every quarter of an input level."""
    level = np.arange(1021) / 1020.0
    level = level**style.gamma
    smooth = level * level * (3.0 - 2.0 * level)
    level = level + style.contrast * (smooth - level)
    return np.asarray(255.0 * (style.black + (1.0 - style.black) * level), np.float32)


def _vignette(style: ImageStyle, width: int, height: int) -> Float:
    """(height, width) darkening towards the corners."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(1.0 - style.vignette * 0.5 * (x * x + y * y), np.float32)


def _add_bars_(picture: Float, bars: float) -> None:
    """Paint black bars at top and bottom (positive) or left and right (negative)."""
    height, width = picture.shape[2:]
    if bars > 0.0:
        rows = round(bars * height)
        picture[:, :, :rows] = picture[:, :, height - rows :] = 0.0
    elif bars < 0.0:
        columns = round(-bars * width)
        picture[:, :, :, :columns] = picture[:, :, :, width - columns :] = 0.0
