"""Read the sound of a file on the video's clock, resample it, and cut it to length.

Long sound is processed in blocks; only `read_waveform` holds all of it.
"""

from __future__ import annotations

import itertools
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
from foleyflow.media.input_file import (
    discard_others,
    open_input,
    pick_video,
    read_packets,
    time_base_of,
)
from foleyflow.media.probe import first_shown_s
from foleyflow.media.resource_errors import raise_if_out_of_resources
from foleyflow.signals import Waveform

logger = logging.getLogger(__name__)

# A smaller step of the time stamps is rounding, not a gap.
_JITTER_S = 0.015
# Decoding begins this long before the range, so that the decoder has settled at its start.
_SETTLE_S = 1.0
_BLOCK_S = 1.0
_BLOCK_SAMPLES = 1 << 16


def read_waveform(
    path: str | Path,
    *,
    rate_hz: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Waveform:
    """Read the sound of a file, with time 0 at the first shown video frame.

    By its time stamps, sound that starts later is preceded by zeros, sound before time 0 is cut,
    and gaps become zeros. A file without video begins at its first sample. Mono stays mono; more
    than two channels are mixed down to two. Resampling is by soxr, quality HQ.

    Args:
        path: a file with an audio track.
        rate_hz: sample rate of the result; None for the file's own.
        start_s: seconds on the video's clock.
        end_s: seconds on the video's clock; the result is cut or padded with zeros to end there.
            None for the end of the sound.

    Returns:
        Samples (1 or 2, N) float32, full scale at -1..1.

    Raises:
        MediaError: the file has no sound, or it can't be decoded.
        ValueError: a range that ends before it starts.
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
    """Read the same sound as `read_waveform` in consecutive blocks of about one second.

    There is at least one block, which may be empty. Arguments and errors are those of
    `read_waveform`.
    """
    if end_s is not None and end_s < start_s:
        raise ValueError(f"start_s={start_s}, end_s={end_s}: expected an end after the start")
    with open_input(path) as container:
        # Only a file with video is opened a second time: that takes longer than decoding seconds.
        origin_s = _video_start_s(path) if container.streams.video else None
        if not container.streams.audio:
            raise MediaError(f"{path}: no sound in it", hint="give a file with an audio track")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise MediaError(
                f"{path}: there is no decoder for its audio codec",
                hint="convert the audio track to aac or flac first",
            )
        discard_others(container, stream)
        if origin_s is None:
            origin_s = float((stream.start_time or 0) * time_base_of(stream))
        source = _placed_blocks(container, stream, origin_s, start_s, end_s)
        source_rate_hz, first = next(source)
        target_rate_hz = rate_hz or source_rate_hz
        blocks: Iterator[NDArray[np.float32]] = itertools.chain(
            [first], (samples for _, samples in source)
        )
        if target_rate_hz != source_rate_hz:
            blocks = resample_blocks(blocks, source_rate_hz, target_rate_hz)
        if end_s is not None:
            blocks = fit_blocks(blocks, clock.count_at(end_s - start_s, target_rate_hz))
        for samples in blocks:
            yield Waveform(samples=samples, rate_hz=target_rate_hz)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], source_rate_hz: int, target_rate_hz: int
) -> Iterator[NDArray[np.float32]]:
    """Resample (channels, n) float32 blocks without seams, by soxr, quality HQ."""
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
    """Cut sound in (channels, n) float32 blocks, or extend it by zeros, to `sample_count` samples.

    There is at least one block, which may be empty.
    """
    left = sample_count
    channels = 1
    is_started = False
    for block in blocks:
        channels = block.shape[0]
        yield block[:, :left]
        is_started = True
        left -= min(left, block.shape[1])
        if left == 0:
            return
    while left > 0 or not is_started:
        count = min(left, _BLOCK_SAMPLES)
        yield np.zeros((channels, count), np.float32)
        is_started = True
        left -= count


def split_blocks(
    blocks: Iterable[NDArray[np.float32]], length: int
) -> Iterator[NDArray[np.float32]]:
    """Split (channels, n) float32 blocks into blocks of `length` samples, the last one shorter."""
    held: NDArray[np.float32] | None = None
    for block in blocks:
        joined = block if held is None else np.concatenate([held, block], axis=1)
        end = joined.shape[1] // length * length
        for start in range(0, end, length):
            yield np.ascontiguousarray(joined[:, start : start + length], np.float32)
        held = joined[:, end:]
    if held is not None and held.shape[1]:
        yield np.ascontiguousarray(held, np.float32)


def fit_length(samples: NDArray[np.float32], sample_count: int) -> NDArray[np.float32]:
    """Cut samples (..., N), or extend them by zeros, to (..., sample_count)."""
    length = samples.shape[-1]
    if length == sample_count:
        return samples
    if length > sample_count:
        return samples[..., :sample_count].copy()
    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, sample_count - length)])


def _video_start_s(path: str | Path) -> float | None:
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
    """(rate, samples) blocks that follow each other without a gap from `start_s`."""
    # Seek to before the range
    if start_s > _SETTLE_S:
        target_s = origin_s + start_s - _SETTLE_S
        try:
            container.seek(int(target_s / time_base_of(stream)), stream=stream)
        except (av.FFmpegError, OSError):
            container.seek(0)
    rate_hz = 0
    channels = 1
    position = 0  # samples returned since start_s
    expected_s: float | None = None  # start of the next block if there is no gap
    for block_rate_hz, stamp_s, samples in _decode_blocks(container, stream):
        if rate_hz == 0:
            rate_hz, channels = block_rate_hz, samples.shape[0]
        # Place the block by its time stamp
        if stamp_s is None:
            stamp_s = expected_s if expected_s is not None else origin_s
        if expected_s is not None and abs(stamp_s - expected_s) < _JITTER_S:
            stamp_s = expected_s
        expected_s = stamp_s + samples.shape[1] / rate_hz
        begin = math.floor((stamp_s - origin_s - start_s) * rate_hz + 0.5)
        if end_s is not None and begin >= (end_s - start_s) * rate_hz:
            break
        # Fill a gap with zeros
        while begin > position:
            count = min(begin - position, round(_BLOCK_S * rate_hz))
            yield rate_hz, np.zeros((channels, count), np.float32)
            position += count
        # Leave out an overlap
        if begin + samples.shape[1] > position:
            yield rate_hz, samples[:, position - begin :]
            position = begin + samples.shape[1]
    if rate_hz == 0:
        rate_hz = stream.codec_context.sample_rate
        if not rate_hz:
            raise MediaError(
                f"{container.name.removeprefix('file:')}: its audio track can't be decoded",
                hint="check that it plays, or convert the audio track to aac or flac first",
            )
    if position == 0:
        yield rate_hz, np.zeros((channels, 0), np.float32)


def _decode_blocks(
    container: InputContainer, stream: av.AudioStream
) -> Iterator[tuple[int, float | None, NDArray[np.float32]]]:
    """(rate, time stamp, (1 or 2, n) samples) of each frame in the format of the first one."""
    converter: AudioResampler | None = None
    first_rate_hz = 0
    lost = 0
    for packet in read_packets(container, [stream]):
        try:
            frames = stream.decode(packet if packet.size else None)
        except av.error.EOFError:
            break
        except av.FFmpegError as error:
            raise_if_out_of_resources(error)
            lost += 1
            continue
        for frame in frames:
            frame_format = (frame.format.name, frame.layout.name, frame.sample_rate)
            if converter is None:
                first_format, first_rate_hz = frame_format, frame.sample_rate
                layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
                converter = AudioResampler(format="fltp", layout=layout, rate=first_rate_hz)
            if frame_format != first_format:
                lost += 1
                continue
            stamp_s = None if frame.pts is None else float(frame.pts * time_base_of(stream))
            for converted in converter.resample(frame):
                yield first_rate_hz, stamp_s, cast(NDArray[np.float32], converted.to_ndarray())
                stamp_s = None
    if lost:
        logger.warning(
            "%s: %d parts of the audio track are damaged and were skipped",
            container.name.removeprefix("file:"),
            lost,
        )
