"""Videos are decoded in processes of their own, which may fail without any harm to the server."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from support.media_files import make_video, square_painter

from foleyflow.errors import MediaError
from foleyflow.media import probe, read_frames_at
from foleyflow.media.frame_source import decode_here
from foleyflow.media.frame_times import read_frame_times
from foleyflow.studio import decoding as module
from foleyflow.studio.analysing import start_analysis
from foleyflow.studio.decoding import Decoding, Worker
from foleyflow.studio.jobs import Cancelled
from foleyflow.studio.settings import StudioSettings
from foleyflow.studio.studio import Studio


@pytest.fixture
def decoding():
    made = Decoding()
    yield made
    made.close()


def pids(decoding: Decoding) -> list[int]:
    return [worker._process.pid for worker in decoding._idle]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("size", [112, None])
def test_frames_are_those_that_this_process_decodes(decoding, short_clip, size):
    info = probe(short_clip)
    for _ in range(2):  # the second time by the same process
        stream = decoding.frames(info, size=size, max_rate_hz=20.0)
        expected = decode_here(info, size=size, max_rate_hz=20.0)
        for (time_s, picture), (other_s, other) in zip(stream, expected, strict=True):
            assert time_s == other_s and np.array_equal(picture, other)
        assert stream.counts == expected.counts and stream.counts.packets
    assert len(pids(decoding)) == 1


def test_pictures_and_times_are_those_of_this_process(decoding, short_clip):
    info = probe(short_clip)
    times_s = [0.1, 1.0, 2.0]
    expected = np.concatenate(read_frames_at(short_clip, times_s, height=32), axis=1)
    assert np.array_equal(decoding.pictures(info, times_s, height=32), expected)
    assert np.array_equal(decoding.frame_times(info), read_frame_times(info))


def test_a_worker_that_dies_is_an_error_of_the_video(decoding, tmp_path):
    info = probe(make_video(tmp_path / "clip.mp4", n_frames=900, painter=square_painter(7)))
    stream = decoding.frames(info, size=None, max_rate_hz=100.0)
    next(stream)
    (child,) = children()
    os.kill(child, signal.SIGSEGV)
    with pytest.raises(MediaError, match="memory or time, or the decoder failed"):
        for _ in stream:
            pass
    assert not is_running(child) and not pids(decoding)
    assert len(decoding.frame_times(info)) == 900


def test_a_worker_that_hangs_is_ended(decoding, short_clip, monkeypatch):
    info = probe(short_clip)
    decoding.frame_times(info)  # starts the worker, which may take long
    monkeypatch.setattr(module, "LONGEST_SILENCE_S", 1.0)
    (worker,) = pids(decoding)
    os.kill(worker, signal.SIGSTOP)
    with pytest.raises(MediaError, match="memory or time"):
        decoding.frame_times(info)
    assert not is_running(worker)


def test_memory_of_a_worker_is_limited(decoding, short_clip, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_BYTES", 300 * 2**20)
    large = make_video(short_clip.with_name("large.mp4"), n_frames=2, width=4096, height=4096)
    with pytest.raises(MediaError):
        list(decoding.frames(probe(large), size=None, max_rate_hz=100.0))


def test_an_error_of_a_video_leaves_the_worker(decoding, short_clip, tmp_path):
    gone = tmp_path / "gone.mp4"
    gone.write_bytes(short_clip.read_bytes())
    info = probe(gone)
    gone.write_bytes(b"nothing")
    with pytest.raises(MediaError):
        next(decoding.frames(info, size=112, max_rate_hz=20.0))
    (worker,) = pids(decoding)
    assert is_running(worker)


def test_a_copy_that_is_cancelled_ends_its_worker(decoding, tmp_path):
    info = probe(make_video(tmp_path / "clip.mp4", n_frames=300))
    target = tmp_path / "copy.mp4"
    done_s: list[float] = []
    decoding.copy_for_browsers(info, target, progress=done_s.append)
    assert probe(target).duration_s == pytest.approx(info.duration_s, abs=0.05) and done_s
    (worker,) = pids(decoding)

    def stop(seconds: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        decoding.copy_for_browsers(info, target, progress=stop)
    assert not is_running(worker) and not pids(decoding)


def test_a_crash_of_the_decoder_fails_the_project_alone(tmp_path, short_clip, monkeypatch):
    """The process is ended during the analysis; the next video is analysed as always."""
    studio = Studio(StudioSettings(folder=tmp_path / "projects"))
    first = studio.create(short_clip, name="clip.mp4", is_copy=True)
    ask = Worker.ask

    def crashing(self, info, kind, **values):
        ask(self, info, kind, **values)
        if info.path.is_relative_to(first.folder):
            self._process.kill()

    monkeypatch.setattr(Worker, "ask", crashing)
    job = start_analysis(studio, first)
    assert job.finished.wait(60) and job.state == "failed"
    assert "decoder failed" in first.get("error")["error"]
    second = studio.create(short_clip, name="clip.mp4", is_copy=True)
    assert start_analysis(studio, second).finished.wait(60)
    assert second.state == "ready"
    studio.close()
    end_s = time.monotonic() + 20
    while children() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not children()


def children() -> list[int]:
    """Workers of this process."""
    found = []
    for thread in threading.enumerate():
        task = f"/proc/self/task/{thread.native_id}/children"
        if os.path.exists(task):
            with open(task) as file:
                found += [int(pid) for pid in file.read().split()]
    return [pid for pid in found if b"decode_worker" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""
