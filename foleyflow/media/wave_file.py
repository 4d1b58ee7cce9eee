"""Write wave files with integer samples and further chunks; RF64 beyond 4 GiB.

References: EBU Tech 3285 (Broadcast Wave), EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Chunk = tuple[bytes, bytes]  # four letters, and the content

_LARGEST_RIFF_BYTES = 2**32 - 1
_SIZE_ELSEWHERE = 0xFFFFFFFF  # of RF64: the size is in the chunk ds64
_SIZES = struct.Struct("<QQQI")  # RIFF, data, samples, length of the table


class WaveWriter:
    """A wave file that is written in blocks.

    A placeholder at the start of the file becomes the 64-bit sizes of RF64 if the file exceeds the
    32-bit sizes of RIFF; otherwise readers skip it.

    Args:
        file: empty, seekable.
        channels, rate_hz: of the sound.
        bits: of a sample, 16 or 24.
        chunks: before the samples.
        largest_riff_bytes: a larger file becomes RF64; smaller values are for tests.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        channels: int,
        rate_hz: int,
        bits: int,
        chunks: Iterable[Chunk] = (),
        largest_riff_bytes: int = _LARGEST_RIFF_BYTES,
    ) -> None:
        self._file = file
        self._bits = bits
        self._frame_bytes = channels * bits // 8
        self._largest_riff_bytes = largest_riff_bytes
        self._data_bytes = 0
        layout = struct.pack(
            "<HHIIHH",
            1,  # integer samples
            channels,
            rate_hz,
            rate_hz * self._frame_bytes,
            self._frame_bytes,
            bits,
        )
        file.write(b"RIFF\0\0\0\0WAVE")
        for kind, content in ((b"JUNK", bytes(_SIZES.size)), *chunks, (b"fmt ", layout)):
            file.write(_chunk_bytes(kind, content))
        file.write(b"data\0\0\0\0")
        self._data_start = file.tell()

    def write(self, levels: NDArray[np.int32]) -> None:
        """Write the next (channels, n) integer samples."""
        interleaved = np.ascontiguousarray(levels.T, "<i4").view(np.uint8).reshape(-1, 4)
        self._data_bytes += self._file.write(interleaved[:, : self._bits // 8].tobytes())

    def finish(self, chunks: Iterable[Chunk] = ()) -> None:
        """Write the chunks after the samples, and the sizes."""
        self._file.write(bytes(self._data_bytes % 2))
        for kind, content in chunks:
            self._file.write(_chunk_bytes(kind, content))
        riff_bytes = self._file.tell() - 8
        if riff_bytes <= self._largest_riff_bytes:
            self._write_at(4, struct.pack("<I", riff_bytes))
            self._write_at(self._data_start - 4, struct.pack("<I", self._data_bytes))
            return
        frame_count = self._data_bytes // self._frame_bytes
        sizes = _SIZES.pack(riff_bytes, self._data_bytes, frame_count, 0)
        self._write_at(0, b"RF64" + struct.pack("<I", _SIZE_ELSEWHERE) + b"WAVE")
        self._write_at(12, _chunk_bytes(b"ds64", sizes))
        self._write_at(self._data_start - 4, struct.pack("<I", _SIZE_ELSEWHERE))

    def _write_at(self, position: int, data: bytes) -> None:
        self._file.seek(position)
        self._file.write(data)


def _chunk_bytes(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
