"""Encode sound that arrives in blocks into the packets of a new audio track.

The track begins exactly with the first shown video frame: the delay that an encoder adds is removed
by the means of each format.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

from foleyflow import clock
from foleyflow.media.formats import OutputFormat
from foleyflow.media.waveform import fit_blocks, resample_blocks, split_blocks

# For encoders that do not support the given rate.
_FALLBACK_RATE_HZ = 48_000
_WMA_PACKET_SAMPLES = 2048
# Samples per packet of codecs that accept any number.
_DEFAULT_PACKET_SAMPLES = 4096


class SoundTrack:
    """The new sound as a stream of encoded packets.

    Args:
        blocks: (1 or 2, n) float32 blocks; another shape raises `ValueError`.
        rate_hz: their rate. The track has 48 kHz if the encoder does not support it.
        sample_count: length of the track; the sound is cut or extended by zeros.
        output_format: decides the codec.
        start_s: time stamp of the first sample.
    """

    def __init__(
        self,
        blocks: Iterable[NDArray[np.float32]],
        *,
        rate_hz: int,
        sample_count: int,
        output_format: OutputFormat,
        start_s: float,
    ) -> None:
        # Look at the first block for the number of channels
        blocks = iter(blocks)
        first = next(blocks, np.zeros((1, 0), np.float32))
        if first.ndim != 2 or first.shape[0] not in (1, 2):
            raise ValueError(f"sound_blocks: got {first.shape}, expected (1 or 2, n)")
        self._channels = first.shape[0]
        self._layout = "mono" if self._channels == 1 else "stereo"
        # Cut or extend the sound, at a rate that the encoder supports
        self._codec = output_format.sound_codec
        self._bit_rate = output_format.bit_rate
        sound = fit_blocks(itertools.chain([first], blocks), sample_count)
        rates = av.Codec(self._codec, "w").audio_rates
        if rates and rate_hz not in rates:
            sample_count = clock.count_at(sample_count / rate_hz, _FALLBACK_RATE_HZ)
            sound = fit_blocks(resample_blocks(sound, rate_hz, _FALLBACK_RATE_HZ), sample_count)
            rate_hz = _FALLBACK_RATE_HZ
        self.rate_hz = rate_hz
        self.duration_s = sample_count / rate_hz
        # Align it with the video: by time stamps or by leading silence
        self._offset_samples = round(start_s * rate_hz)
        if not output_format.stamps_sound:
            lead = np.zeros((self._channels, max(self._offset_samples, 0)), np.float32)
            sound = itertools.chain([lead], sound)
            self._offset_samples = 0
        if self._codec == "wmav2" and sample_count <= _WMA_PACKET_SAMPLES:
            # Its decoder returns nothing for the first packet, so a single packet would be silent.
            padding = np.zeros((self._channels, _WMA_PACKET_SAMPLES), np.float32)
            sound = itertools.chain(sound, [padding])
        self._sound = sound
        self._delay_samples: int | None = None
        self._skips_by_edit_list = output_format.has_edit_lists and self._offset_samples > 0

    def add_to(self, sink: OutputContainer) -> AudioStream:
        """Add the stream to an output whose header is not written yet."""
        stream = cast(AudioStream, sink.add_stream(self._codec, rate=self.rate_hz))
        stream.codec_context.layout = self._layout
        if self._bit_rate is not None:
            stream.codec_context.bit_rate = self._bit_rate * self._channels // 2
        if self._codec == "flac":
            stream.codec_context.format = "s32"  # keeps 24 bits
        stream.time_base = Fraction(1, self.rate_hz)
        stream.disposition = Disposition.default
        return stream

    def packets(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        """Encode the sound; `stream` is the result of `add_to`, after its header is written."""
        position = 0
        for samples in split_blocks(self._sound, stream.frame_size or _DEFAULT_PACKET_SAMPLES):
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._layout)
            frame.sample_rate = self.rate_hz
            frame.time_base = Fraction(1, self.rate_hz)
            frame.pts = position
            position += samples.shape[1]
            yield from map(self._set_times, stream.encode(frame))
        yield from map(self._set_times, stream.encode(None))

    def _set_times(self, packet: Packet[AudioStream]) -> Packet[AudioStream]:
        """Move a packet so that the track starts with the video."""
        pts = packet.pts or 0
        if self._delay_samples is None:
            self._delay_samples = max(0, -pts)
        packet.dts = packet.pts = pts + self._offset_samples
        if self._skips_by_edit_list:
            # The muxer writes an empty edit up to the first packet's pts, then skips (pts - dts) of
            # the media, which is now the encoder's delay. For a track that starts at 0 it derives
            # the delay from the negative time stamps.
            packet.pts += self._delay_samples
        return packet
