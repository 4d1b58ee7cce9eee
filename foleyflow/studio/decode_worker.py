"""Decodes videos in a process of its own with a limit of memory, one request after the other.

    python -m foleyflow.studio.decode_worker MEMORY_BYTES

reads requests, one JSON object a line, and answers each by messages: the lengths of a JSON header
and of the bytes after it, the header, and the bytes. The last message of an answer has the key
"done" or "error". The process ends when its input does.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import FoleyflowError
from foleyflow.media import FrameStream, MediaInfo, probe, read_frames_at
from foleyflow.media.browser_playback import encode_for_browsers
from foleyflow.media.frame_source import decode_here
from foleyflow.media.frame_times import read_frame_times
from foleyflow.studio.limits import limit_this_process
from foleyflow.system.allocator import release_freed_memory
from foleyflow.system.memory import memory_error_of

LENGTHS = struct.Struct(">II")
FRAMES_TOGETHER = 16  # in one message, if they have at most
BYTES_TOGETHER = 4 * 2**20
SHORTEST_UPDATE_S = 0.2  # between two messages about progress

Message = tuple[dict[str, Any], bytes]


def answer(request: dict[str, Any]) -> Iterator[Message]:
    """The messages that answer a request."""
    path = Path(request["path"])
    info = _probed(path, path.stat().st_mtime_ns)
    info = dataclasses.replace(info, duration_s=request["duration_s"])
    yield from _KINDS[request["kind"]](info, request)


@functools.lru_cache(maxsize=8)
def _probed(path: Path, changed_ns: int) -> MediaInfo:
    return probe(path)


def _frames(info: MediaInfo, request: dict[str, Any]) -> Iterator[Message]:
    """All frames, and at the end what was lost."""
    frames = decode_here(info, size=request["size"], max_rate_hz=request["max_rate_hz"])
    for pairs in _batches(frames):
        times_s = [float(time_s) for time_s, _ in pairs]
        pictures = np.stack([picture for _, picture in pairs])
        yield {"times_s": times_s, "shape": pictures.shape}, pictures.tobytes()
    yield {"done": vars(frames.counts)}, b""


def _batches(frames: FrameStream) -> Iterator[list[tuple[float, NDArray[np.uint8]]]]:
    """Consecutive frames of the same shape."""
    batch: list[tuple[float, NDArray[np.uint8]]] = []
    for time_s, picture in frames:
        most = min(FRAMES_TOGETHER, BYTES_TOGETHER // picture.nbytes)
        if batch and (len(batch) >= most or batch[0][1].shape != picture.shape):
            yield batch
            batch = []
        batch.append((time_s, picture))
    if batch:
        yield batch


def _pictures(info: MediaInfo, request: dict[str, Any]) -> Iterator[Message]:
    """The frames at some times, next to each other."""
    found = read_frames_at(info.path, request["times_s"], height=request["height"], info=info)
    row = np.concatenate(found, axis=1)
    yield {"done": row.shape}, row.tobytes()


def _times(info: MediaInfo, request: dict[str, Any]) -> Iterator[Message]:
    """The times of all frames."""
    yield {"done": {}}, read_frame_times(info).astype("<f8").tobytes()


def _copy(info: MediaInfo, request: dict[str, Any]) -> Iterator[Message]:
    """Writes a copy for browsers; yields only the last message, the others are written at once."""
    last_s = 0.0

    def report(done_s: float) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= SHORTEST_UPDATE_S:
            last_s = time.monotonic()
            send({"progress_s": float(done_s)}, b"")

    encode_for_browsers(info, Path(request["target"]), progress=report)
    yield {"done": {}}, b""


_KINDS: dict[str, Callable[[MediaInfo, dict[str, Any]], Iterator[Message]]] = {
    "frames": _frames,
    "pictures": _pictures,
    "times": _times,
    "copy": _copy,
}


def send(header: dict[str, Any], content: bytes) -> None:
    """Writes a message to the standard output."""
    text = json.dumps(header).encode()
    output = sys.stdout.buffer
    output.write(LENGTHS.pack(len(text), len(content)) + text)
    output.write(content)
    output.flush()


def _described(problem: Exception) -> dict[str, str]:
    """The error and hint of an exception."""
    known = memory_error_of(problem)
    if known is None and isinstance(problem, FoleyflowError):
        known = problem
    if known is not None:
        return {"error": str(known), "hint": known.hint or ""}
    return {"error": f"it can't be decoded ({type(problem).__name__}: {problem})", "hint": ""}


def _main() -> None:
    limit_this_process(int(sys.argv[1]))
    for line in sys.stdin.buffer:
        try:
            for message in answer(json.loads(line)):
                send(*message)
        except BrokenPipeError:
            return
        except Exception as problem:  # the next request may be about another video
            send(_described(problem), b"")
        release_freed_memory()


if __name__ == "__main__":
    _main()
