"""Decodes videos in worker processes, so that a file that breaks the decoder only ends a worker."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.media import FrameStream, MediaInfo
from foleyflow.media.reader import DecodeCounts
from foleyflow.studio.decode_worker import LENGTHS
from foleyflow.studio.limits import worker_options

LARGEST_BYTES = 6 * 2**30  # addresses of a worker
LONGEST_SILENCE_S = 60.0  # of a worker that is to answer
KEPT_IDLE = 2  # workers that wait for the next video
PIPE_BYTES = 2**20  # where the system can set it
_WORKER = "foleyflow.studio.decode_worker"
_HINT = "convert the video to h264 in mp4 first; it may be damaged"

Header = dict[str, Any]


class Worker:
    """A process that decodes. One thread at a time may use it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER, str(LARGEST_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=PIPE_BYTES,
            **worker_options(),
        )
        self._asked_s: float | None = None  # since when an answer is expected
        self.has_answered = True  # the last request, completely
        threading.Thread(target=self._watch, name="studio-decode", daemon=True).start()

    def ask(self, info: MediaInfo, kind: str, **values: Any) -> None:
        """Sends a request about a video, see `decode_worker`."""
        request = {
            "kind": kind,
            "path": str(info.path),
            "duration_s": info.duration_s,
            **values,
        }
        self.has_answered = False
        pipe = self._process.stdin
        with contextlib.suppress(OSError):  # then there will be no answer either
            pipe.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            pipe.flush()  # type: ignore[union-attr]

    def next_message(self) -> tuple[Header, bytearray]:
        """The next part of the answer.

        Raises:
            MediaError: the video can't be decoded, or the process ended or was too slow.
        """
        self._asked_s = time.monotonic()
        try:
            text_length, length = LENGTHS.unpack(self._read(LENGTHS.size))
            header: Header = json.loads(self._read(text_length))
            content = self._read(length)
        finally:
            self._asked_s = None
        self.has_answered = "done" in header or "error" in header
        if "error" in header:
            raise MediaError(header["error"], hint=header["hint"] or _HINT)
        return header, content

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent
                pipe.close()  # type: ignore[union-attr]

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        if self._process.stdout.readinto(data) != count:  # type: ignore[union-attr]
            raise MediaError(
                "decoding the video took too much memory or time, or the decoder failed", hint=_HINT
            )
        return data

    def _watch(self) -> None:
        """Ends a process that does not answer."""
        while self._process.poll() is None:
            asked_s = self._asked_s
            if asked_s is not None and time.monotonic() - asked_s > LONGEST_SILENCE_S:
                self._process.kill()
            time.sleep(1.0)


class Decoding:
    """Decodes in workers, which are started when they are needed and used again."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def prepare(self) -> None:
        """Starts a worker, so that the first video does not wait for it."""
        worker = Worker()
        with self._lock:
            self._idle.append(worker)

    def frames(self, info: MediaInfo, *, size: int | None, max_rate_hz: float) -> FrameStream:
        """See `decode_here`."""
        counts = DecodeCounts()

        def pairs() -> Iterator[tuple[float, NDArray[np.uint8]]]:
            with self._worker() as worker:
                worker.ask(info, "frames", size=size, max_rate_hz=max_rate_hz)
                while "done" not in (message := worker.next_message())[0]:
                    header, content = message
                    pictures = np.frombuffer(content, np.uint8).reshape(header["shape"])
                    yield from zip(header["times_s"], pictures, strict=True)
                vars(counts).update(message[0]["done"])

        return FrameStream(pairs(), counts)

    def pictures(
        self, info: MediaInfo, times_s: Sequence[float], *, height: int
    ) -> NDArray[np.uint8]:
        """The frames at some times next to each other, (height, W, 3)."""
        with self._worker() as worker:
            worker.ask(info, "pictures", times_s=list(times_s), height=height)
            header, content = worker.next_message()
            return np.frombuffer(content, np.uint8).reshape(header["done"])

    def frame_times(self, info: MediaInfo) -> NDArray[np.float64]:
        """See `read_frame_times`."""
        with self._worker() as worker:
            worker.ask(info, "times")
            return np.frombuffer(worker.next_message()[1], "<f8").astype(np.float64)

    def copy_for_browsers(
        self, info: MediaInfo, target: Path, *, progress: Callable[[float], None]
    ) -> None:
        """See `encode_for_browsers`."""
        with self._worker() as worker:
            worker.ask(info, "copy", target=str(target))
            while "done" not in (header := worker.next_message()[0]):
                progress(header["progress_s"])

    def close(self) -> None:
        """Ends the workers that wait."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        """A worker, which is used again if its answer was read to the end."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or Worker()
        try:
            yield worker
        finally:
            with self._lock:
                has_room = not self._is_closed and len(self._idle) < KEPT_IDLE
                is_kept = worker.has_answered and has_room
                if is_kept:
                    self._idle.append(worker)
            if not is_kept:
                worker.end()
