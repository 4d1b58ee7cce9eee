"""Pictures of a project: thumbnails of its frames, and spectrograms of its sounds."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foleyflow.media import MediaInfo
from foleyflow.spectrogram import mel_filters
from foleyflow.studio.decoding import Decoding

FLOOR_DB = -90.0
TOP_HZ = 20_000.0
FRAME_SAMPLES = 2048
JPEG_QUALITY = 80


def thumbnails_jpeg(
    decoding: Decoding, info: MediaInfo, *, start_s: float, end_s: float, count: int, height: int
) -> bytes:
    """Frames at the middles of equal parts of a range, from left to right in one JPEG.

    Raises:
        MediaError: no frame can be decoded.
    """
    times_s = [start_s + (end_s - start_s) * (k + 0.5) / count for k in range(count)]
    return _encoded(Image.fromarray(decoding.pictures(info, times_s, height=height)), "JPEG")


def spectrogram_png(
    samples: NDArray[np.float32], rate_hz: int, *, width: int, height: int
) -> bytes:
    """The mel spectrum of samples (n,) at `width` equal steps as a grey PNG."""
    centres = (np.arange(width) + 0.5) * len(samples) / width
    starts = np.round(centres).astype(np.int64)
    padded = np.pad(samples, FRAME_SAMPLES // 2)
    window = np.hanning(FRAME_SAMPLES).astype(np.float32)
    scale = 2.0 / window.sum()  # a sine of full scale is at 0 dB
    filters = _filters(rate_hz, height)
    columns = []
    for part in np.array_split(starts, max(1, width // 256)):
        frames = padded[part[:, None] + np.arange(FRAME_SAMPLES)] * window
        magnitudes = np.abs(np.fft.rfft(frames, axis=1)).astype(np.float32) * scale
        columns.append(magnitudes @ filters)
    levels_db = 20 * np.log10(np.concatenate(columns) + 1e-9)
    grey = np.clip((levels_db - FLOOR_DB) / -FLOOR_DB, 0.0, 1.0) * 255
    return _encoded(Image.fromarray(grey.T[::-1].round().astype(np.uint8)), "PNG")


@functools.lru_cache(maxsize=8)
def _filters(rate_hz: int, height: int) -> NDArray[np.float32]:
    return mel_filters(
        bands=height, window_samples=FRAME_SAMPLES, rate_hz=rate_hz, high_hz=TOP_HZ
    ).numpy()


def _encoded(picture: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=JPEG_QUALITY)
    return buffer.getvalue()
