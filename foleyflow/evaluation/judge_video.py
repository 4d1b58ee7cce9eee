"""The frames of a video for a judge, and the features that judges keep of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.judges.interface import LONGEST_PAIR_S, VideoPreprocessing
from foleyflow.judges.preprocessing import AudioPreprocessing
from foleyflow.media import reader
from foleyflow.media.probe import probe
from foleyflow.signals import Frames

MAX_FRAME_RATE_HZ = 32.0  # frames beyond this rate are left out, as in generation


class JudgeVideo:
    """The frames of a video, prepared for one judge and read when they are first needed."""

    def __init__(
        self,
        path: Path,
        video_preprocessing: VideoPreprocessing,
        audio_preprocessing: AudioPreprocessing,
    ) -> None:
        self._path = path
        self._preprocessing = video_preprocessing
        self._duration_s = audio_preprocessing.duration_s  # that a protocol fixes
        self._refuses_short = audio_preprocessing.short == "refused"

    @cached_property
    def identity(self) -> str:
        """Hash of the file."""
        from foleyflow.weights import file_sha256

        return file_sha256(self._path)

    @cached_property
    def frames(self) -> Frames:
        """The frames, with times in seconds from the start of the video."""
        rate_hz = self._preprocessing.rate_hz
        return self._all_frames() if rate_hz is None else self._frames_at_rate(rate_hz)

    def _all_frames(self) -> Frames:
        size_px = self._preprocessing.size_px
        pairs = list(reader.read_frames(self._path, size=size_px, max_rate_hz=MAX_FRAME_RATE_HZ))
        if not pairs:
            raise MediaError(f"{self._path}: expected at least one frame, found none")
        return Frames(
            pixels=np.stack([pixels for _, pixels in pairs]),
            times_s=np.array([time_s for time_s, _ in pairs]),
        )

    def _frames_at_rate(self, rate_hz: float) -> Frames:
        settings, side = self._preprocessing, self._preprocessing.size_px
        # Size before the crop
        info = probe(self._path)
        height = width = side
        if settings.shape != "squashed":
            aspect = info.width / info.height
            width, height = round(side * max(aspect, 1)), round(side * max(1 / aspect, 1))
        # Frames of a protocol's length, as many as the published script takes
        longest_s = LONGEST_PAIR_S if self._duration_s is None else self._duration_s
        most = int(longest_s * rate_hz + 1e-6)
        frames = reader.read_frames_at_rate(
            self._path,
            rate_hz,
            most=most,
            height=height,
            width=width,
            origin=settings.origin,
            info=info,
        )
        if not frames:
            raise MediaError(
                f"{self._path}: {info.duration_s:.2f} s of video give no frame at {rate_hz:g} Hz"
            )
        missing = most - len(frames)
        if self._duration_s is not None and missing <= settings.end_copies:
            frames += frames[-1:] * missing
        elif missing > 0 and self._refuses_short:
            raise MediaError(
                f"{self._path}: {len(frames)} frames at {rate_hz:g} Hz, expected at least "
                f"{most - settings.end_copies} for {longest_s:g} s"
            )
        # Crop
        pixels = np.stack(frames)
        if settings.shape == "middle":
            top, left = (height - side) // 2, (width - side) // 2
            pixels = pixels[:, top : top + side, left : left + side]
        return Frames(pixels=pixels, times_s=np.arange(len(frames)) / rate_hz)


class StoredFeatures:
    """The features of a video in a cache; see `judges.video_features.FeatureStore`."""

    def __init__(self, cache: ResultCache | None, made_by: list[Any], video: JudgeVideo) -> None:
        """Takes what else the features depend on: the judge's settings, and code."""
        self._cache = ResultCache() if cache is None else cache
        self._key = ["video features", *made_by, video.identity]
        self._pack = f"video:{video.identity}"

    def load(self, count: int) -> list[NDArray[Any]] | None:
        """The stored features; None if there are none."""
        found = self._cache.get([*self._key, count], self._pack)
        return None if found is None else list(found["features"])

    def save(self, count: int, features: list[NDArray[Any]]) -> None:
        """Store features."""
        self._cache.put([*self._key, count], {"features": features}, self._pack)
