"""Reads the sound of a file on the video's clock, resamples it, and cuts it to length.

Long sound passes block by block; only `read_waveform` holds it whole. How loud a sound is, is
`loudness`'s matter; writing it is `writer`'s.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import av
import numpy as np
import soxr
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from numpy.typing import NDArray

from foleyflow import clock
from foleyflow.errors import MediaError
from foleyflow.media.probe import (
    discard_others,
    first_shown_s,
    open_input,
    pick_video,
    read_packets,
    time_base_of,
)
from foleyflow.media.resource_errors import raise_shortage
from foleyflow.signals import Waveform

logger = logging.getLogger(__name__)

# A step of the time stamps smaller than this is rounding, not a gap.
_JITTER_S = 0.015
# Decoding begins this much early, so that the decoder has settled where the range begins.
_SETTLE_S = 1.0
_BLOCK_S = 1.0


def read_waveform(
    path: str | Path,
    *,
    rate_hz: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Waveform:
    """The sound of a file, with time 0 at the first shown video frame.

    Sound that starts later is preceded by zeros, sound from before is cut, gaps are zeros: all by
    time stamps. A file without video begins at its first sample. Mono stays mono; more than two
    channels are mixed down to two.

    Args:
        path: a file with a sound track.
        rate_hz: sample rate wanted; None for the file's own.
        start_s: seconds on the video's clock.
        end_s: seconds on the video's clock: the result ends exactly there, with zeros if need be;
            None for the end of the sound.

    Returns:
        Samples (1 or 2, N) float32, full scale at -1..1.

    Raises:
        MediaError: no sound in the file, or it can't be decoded.
        ValueError: a range that ends before it starts.

    Source: ours; resampling by soxr, quality HQ.
    """
    blocks = read_sound_blocks(path, rate_hz=rate_hz, start_s=start_s, end_s=end_s)
    first = next(blocks)
    return Waveform(
        samples=np.concatenate([first.samples, *(b.samples for b in blocks)], axis=1),
        rate_hz=first.rate_hz,
    )


def read_sound_blocks(
    path: str | Path,
    *,
    rate_hz: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Iterator[Waveform]:
    """The same sound as `read_waveform`, in consecutive pieces; at least one, maybe empty.

    Args:
        path: a file with a sound track.
        rate_hz: sample rate wanted; None for the file's own.
        start_s: seconds on the video's clock.
        end_s: seconds on the video's clock; None for the end of the sound.

    Returns:
        Waveforms of one rate and channel count, about a second each.

    Raises:
        MediaError: no sound in the file, or it can't be decoded.
        ValueError: a range that ends before it starts.

    Source: ours.
    """
    if end_s is not None and end_s < start_s:
        raise ValueError(f"start_s={start_s}, end_s={end_s}: expected an end after the start")
    with open_input(path) as container:
        # Opening takes longer than decoding a few seconds: once is enough without a video.
        origin_s = _origin_s(path) if container.streams.video else None
        if not container.streams.audio:
            raise MediaError(f"{path}: no sound in it", hint="a file with a sound track is needed")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise MediaError(f"{path}: its sound codec is not known here", hint="convert it first")
        discard_others(container, stream)
        if origin_s is None:
            origin_s = float((stream.start_time or 0) * time_base_of(stream))
        source = _placed_blocks(container, stream, origin_s, start_s, end_s)
        source_rate_hz, first = next(source)
        target_rate_hz = rate_hz or source_rate_hz
        pieces = _chain(first, (samples for _, samples in source))
        if target_rate_hz != source_rate_hz:
            pieces = resample_blocks(pieces, source_rate_hz, target_rate_hz)
        if end_s is not None:
            pieces = fit_blocks(pieces, clock.count_at(end_s - start_s, target_rate_hz))
        for samples in pieces:
            yield Waveform(samples=samples, rate_hz=target_rate_hz)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], source_rate_hz: int, target_rate_hz: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a sound that comes in pieces, without seams.

    Args:
        blocks: (channels, n) float32 pieces.
        source_rate_hz: their rate.
        target_rate_hz: the rate wanted.

    Returns:
        (channels, m) float32 pieces.

    Source: soxr, quality HQ.
    """
    stream: soxr.ResampleStream | None = None
    channels = 1
    for block in blocks:
        channels = block.shape[0]
        if stream is None:
            stream = soxr.ResampleStream(
                source_rate_hz, target_rate_hz, channels, dtype="float32", quality="HQ"
            )
        yield np.ascontiguousarray(stream.resample_chunk(np.ascontiguousarray(block.T)).T)
    if stream is not None:
        rest = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
        yield np.ascontiguousarray(rest.T)


def fit_blocks(
    blocks: Iterable[NDArray[np.float32]], sample_count: int
) -> Iterator[NDArray[np.float32]]:
    """Cut or fill a sound that comes in pieces, so that it has exactly `sample_count` samples.

    Args:
        blocks: (channels, n) float32 pieces, at least one.
        sample_count: samples per channel wanted.

    Returns:
        (channels, m) float32 pieces, at least one (maybe empty).

    Source: ours.
    """
    left = sample_count
    channels = 1
    started = False
    for block in blocks:
        channels = block.shape[0]
        yield block[:, :left]
        started = True
        left -= min(left, block.shape[1])
        if left == 0:
            return
    longest = 1 << 16
    while left > 0 or not started:
        count = min(left, longest)
        yield np.zeros((channels, count), np.float32)
        started = True
        left -= count


def fit_length(samples: NDArray[np.float32], sample_count: int) -> NDArray[np.float32]:
    """Cut or fill with zeros at the end.

    Args:
        samples: (..., N).
        sample_count: samples wanted, at least 0.

    Returns:
        (..., sample_count), a new array unless the length fits already.

    Source: ours.
    """
    have = samples.shape[-1]
    if have == sample_count:
        return samples
    if have > sample_count:
        return samples[..., :sample_count].copy()
    padding = [(0, 0)] * (samples.ndim - 1) + [(0, sample_count - have)]
    return np.pad(samples, padding)


def _origin_s(path: str | Path) -> float | None:
    """Time stamp of the first shown frame; None for a file without video."""
    with open_input(path) as container:
        try:
            video = pick_video(container, path)
        except MediaError:
            return None
        return first_shown_s(container, video)


def _placed_blocks(
    container: InputContainer,
    stream: av.AudioStream,
    origin_s: float,
    start_s: float,
    end_s: float | None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(rate, samples) pieces that follow each other without gap from `start_s` on."""
    if start_s > _SETTLE_S:
        target_s = origin_s + start_s - _SETTLE_S
        try:
            container.seek(int(target_s / time_base_of(stream)), stream=stream)
        except (av.FFmpegError, OSError):
            container.seek(0)
    rate_hz = 0
    channels = 1
    position = 0  # samples given since start_s
    expected_s: float | None = None  # where the next frame should begin if there is no gap
    for frame_rate_hz, stamp_s, samples in _decoded(container, stream):
        if rate_hz == 0:
            rate_hz, channels = frame_rate_hz, samples.shape[0]
        if stamp_s is None:
            stamp_s = expected_s if expected_s is not None else origin_s
        if expected_s is not None and abs(stamp_s - expected_s) < _JITTER_S:
            stamp_s = expected_s
        expected_s = stamp_s + samples.shape[1] / rate_hz
        begin = math.floor((stamp_s - origin_s - start_s) * rate_hz + 0.5)
        if end_s is not None and begin >= (end_s - start_s) * rate_hz:
            break
        while begin > position:
            count = min(begin - position, round(_BLOCK_S * rate_hz))
            yield rate_hz, np.zeros((channels, count), np.float32)
            position += count
        if begin + samples.shape[1] > position:
            yield rate_hz, samples[:, position - begin :]
            position = begin + samples.shape[1]
    if rate_hz == 0:
        rate_hz = stream.codec_context.sample_rate
        if not rate_hz:
            raise MediaError(f"{container.name}: its sound can't be decoded", hint="convert it")
    if position == 0:
        yield rate_hz, np.zeros((channels, 0), np.float32)


def _decoded(
    container: InputContainer, stream: av.AudioStream
) -> Iterator[tuple[int, float | None, NDArray[np.float32]]]:
    """(rate, time stamp, (1 or 2, n) samples) of each decoded frame of one rate and layout."""
    converter: AudioResampler | None = None
    first_rate_hz = 0
    lost = 0
    for packet in read_packets(container, [stream]):
        try:
            frames = stream.decode(packet if packet.size else None)
        except av.error.EOFError:
            break
        except av.FFmpegError as error:
            raise_shortage(error)
            lost += 1
            continue
        for frame in frames:
            if converter is None:
                first_rate_hz = frame.sample_rate
                layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
                converter = AudioResampler(format="fltp", layout=layout, rate=first_rate_hz)
                template = (frame.format.name, frame.layout.name, frame.sample_rate)
            if (frame.format.name, frame.layout.name, frame.sample_rate) != template:
                lost += 1
                continue
            stamp_s = None if frame.pts is None else float(frame.pts * time_base_of(stream))
            for converted in converter.resample(frame):
                yield first_rate_hz, stamp_s, cast(NDArray[np.float32], converted.to_ndarray())
                stamp_s = None
    if lost:
        logger.warning("%s: %d pieces of sound are damaged and were skipped", container.name, lost)


def _chain(
    first: NDArray[np.float32], rest: Iterator[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    yield first
    yield from rest
