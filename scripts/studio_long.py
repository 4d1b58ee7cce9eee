"""Opens a long video in the studio: seconds until it can be edited, of its edits, and memory.

python scripts/studio_long.py server --minutes 60     # requests to a server, also after a restart
python scripts/studio_long.py page --minutes 60       # a user's actions in a headless Chromium

With --folder DIR the projects stay in DIR, and a later run opens the video that was analysed there.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from studio_load import EXAMPLES, ROOT, memory_mb
from support.studio_server import StudioServer

CLIPS = ROOT / "foleyflow" / "assets" / "examples"
WIDTH, HEIGHT, RATE_HZ = 854, 480, 30
AUDIO_HZ, AUDIO_S = 48_000, 19.2  # a multiple of the 1024 samples of an aac frame
EDITED = 20  # edits of each measurement
FIRST_STRETCH_S = 20.0  # which is analysed first
LONGEST_S = 4 * 3600.0  # until a video is analysed


def main() -> None:
    """Runs one of the two jobs."""
    sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=["server", "page"])
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the video")
    parser.add_argument("--folder", type=Path, help="of the video and its project, which stay")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        video = folder / f"{options.minutes:g} min.mp4"
        if not video.exists():
            print_time("making the video", lambda: write_long_video(video, options.minutes * 60))
        print(f"{video.name}: {video.stat().st_size / 1e6:.0f} MB")
        if options.job == "server":
            measure_server(folder, video)
        else:
            measure_in_browser(folder, video)


def write_long_video(path: Path, seconds: float) -> None:
    """Repeats the pictures of the bundled clips, and a quiet noise, up to a length.

    Each is encoded once; its packets are then copied.
    """
    with av.open(str(path), "w", options={"movflags": "faststart"}) as sink:
        stream = sink.add_stream("libx264", rate=RATE_HZ, options={"preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.gop_size = RATE_HZ
        track = sink.add_stream("aac", rate=AUDIO_HZ, layout="mono")
        pictures = [packet for picture in shown() for packet in stream.encode(picture)]
        pictures += stream.encode(None)
        sounds = [packet for sound in noise() for packet in track.encode(sound)]
        sounds += track.encode(None)
        # Packets of both streams in order of time, which belong to the one that encoded them
        loop_s = len(pictures) / RATE_HZ
        packets = iter(sorted_packets(pictures, loop_s, sounds[: round(AUDIO_S * AUDIO_HZ / 1024)]))
        for time_s, packet, pts in packets:
            if time_s >= seconds:
                break
            packet.pts = packet.dts = pts
            sink.mux(packet)


def sorted_packets(
    pictures: list[Any], loop_s: float, sounds: list[Any]
) -> Iterator[tuple[float, Any, int]]:
    """(time, packet, time stamp) of both streams without an end, in order of time."""
    picture_ticks = pictures[0].time_base
    number, at = itertools.count(), itertools.count()
    next_picture, next_sound = next(number), next(at)
    while True:
        picture_s, sound_s = next_picture / RATE_HZ, next_sound * 1024 / AUDIO_HZ
        if picture_s <= sound_s:
            pts = round(Fraction(next_picture, RATE_HZ) / picture_ticks)
            yield picture_s, copied(pictures[next_picture % len(pictures)]), pts
            next_picture = next(number)
        else:
            yield sound_s, copied(sounds[next_sound % len(sounds)]), next_sound * 1024
            next_sound = next(at)


def copied(packet: Any) -> Any:
    """A packet with the same content."""
    other = av.Packet(bytes(packet))
    other.stream, other.time_base = packet.stream, packet.time_base
    other.is_keyframe, other.duration = packet.is_keyframe, packet.duration
    return other


def shown() -> Iterator[av.VideoFrame]:
    """The pictures of the bundled clips."""
    index = itertools.count()
    for name in EXAMPLES:
        with av.open(str(CLIPS / f"{name}.mp4")) as source:
            for frame in source.decode(video=0):
                picture = frame.reformat(WIDTH, HEIGHT, "yuv420p")
                picture.pts, picture.time_base = next(index), Fraction(1, RATE_HZ)
                yield picture


def noise() -> Iterator[av.AudioFrame]:
    """Quiet noise, a little longer than its loop: an encoder delays its packets."""
    rng = np.random.default_rng(0)
    samples = 0.01 * rng.standard_normal((1, round((AUDIO_S + 1) * AUDIO_HZ))).astype(np.float32)
    for start in range(0, samples.shape[1] - 1023, 1024):
        block = np.ascontiguousarray(samples[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = AUDIO_HZ, start, Fraction(1, AUDIO_HZ)
        yield frame


def measure_server(folder: Path, video: Path) -> None:
    """Analyses the video, edits it meanwhile and afterwards, and once more after a restart."""
    server = start_server(folder)
    try:
        print_memory(server, "after the start")
        project = known_project(server, video)
        if project is None:
            project = analyse(server, video)
        print_memory(server, "when it is analysed")
        print_edits(server, project, "edits, complete")
        print_memory(server, f"after {EDITED} edits")
    finally:
        server.stop()
    server = start_server(folder)
    try:
        print_memory(server, "after a restart")
        started_s = time.perf_counter()
        server.get(f"/projects/{project}")
        print(f"opening: answer after {time.perf_counter() - started_s:.2f} s")
        duration_s = server.get(f"/projects/{project}")["video"]["duration_s"]
        print(f"first edit after the restart: {edit_near(server, project, duration_s / 2):.2f} s")
        print(f"the opening until then: {time.perf_counter() - started_s:.2f} s")
        print_edits(server, project, "edits after the restart")
        for name, path in (("undo", "undo"), ("redo", "redo")):
            print_time(name, lambda path=path: server.post(f"/projects/{project}/{path}"))
        print_memory(server, "at the end")
    finally:
        server.stop()
    print(f"tracebacks: {server.errors.count('Traceback')}")


def measure_in_browser(folder: Path, video: Path) -> None:
    """Opens the analysed video in a browser."""
    from studio_long_page import measure_page  # it needs selenium

    server = start_server(folder)
    try:
        project = known_project(server, video) or analyse(server, video)
        measure_page(server, project, folder)
    finally:
        server.stop()
    print(f"tracebacks: {server.errors.count('Traceback')}")


def start_server(folder: Path) -> StudioServer:
    """A server whose model is loaded."""
    server = StudioServer(folder / "projects", "--videos", folder)
    server.get("/status")  # waits for the model
    return server


def known_project(server: StudioServer, video: Path) -> str | None:
    """The project of an earlier run, if the video is analysed."""
    for project in server.get("/projects")["projects"]:
        if project["video"]["name"] == video.name and project["state"] == "ready":
            return str(project["id"])
    return None


def analyse(server: StudioServer, video: Path) -> str:
    """Opens the video, edits its first stretch while it is analysed, and waits for the rest."""
    started_s = time.perf_counter()
    project = str(server.post("/projects", {"video": video.name}, status=201)["id"])
    print(f"project: answer after {time.perf_counter() - started_s:.2f} s")
    while (state := server.get(f"/projects/{project}"))["sound"] is None:
        assert state["state"] == "analysing", state["error"]
        time.sleep(0.05)
    print(f"first cues and sound: {time.perf_counter() - started_s:.2f} s")
    print_memory(server, "after the first cues")
    print_edits(server, project, "edits, while it is analysed", until_s=FIRST_STRETCH_S)
    # The rest
    shown_at = iter((0.25, 0.5, 0.75, 2.0))
    next_shown = next(shown_at)
    while server.get(f"/projects/{project}")["state"] == "analysing":
        assert time.perf_counter() - started_s < LONGEST_S, "it takes too long"
        jobs = server.get("/jobs", project=project)["jobs"]
        done = max((job["progress"] or 0.0 for job in jobs if job["kind"] == "analyse"), default=0)
        if done >= next_shown:
            print_memory(server, f"at {done:.0%} of the analysis")
            next_shown = next(shown_at)
        time.sleep(0.2)
    state = server.get(f"/projects/{project}")
    assert state["state"] == "ready", state["error"]
    print(f"analysed after {time.perf_counter() - started_s:.0f} s: {state['cue_count']} cues")
    return project


def print_edits(
    server: StudioServer, project: str, what: str, *, until_s: float | None = None
) -> None:
    """Prints the times of edits at places between the start and a time, by default the end."""
    end_s = until_s or server.get(f"/projects/{project}")["video"]["duration_s"]
    places_s = end_s * (np.arange(EDITED) * 7 % EDITED + 0.5) / EDITED
    times_s = [edit_near(server, project, place_s) for place_s in places_s]
    median_s, high_s = np.percentile(times_s, [50, 95])
    print(
        f"{what}: {len(times_s)}, median {median_s:.2f} s, 95th percentile {high_s:.2f} s, "
        f"longest {max(times_s):.2f} s"
    )


def edit_near(server: StudioServer, project: str, place_s: float) -> float:
    """Moves the cue that is nearest to a place, and fetches its sound; returns the seconds."""
    cues = [cue for cue in server.cues(project) if cue["enabled"] and cue["kind"] == "hit"]
    cue = min(cues, key=lambda each: abs(each["time_s"] - place_s))
    change = {"id": cue["id"], "set": {"time_s": round(cue["time_s"] + 0.013, 4)}}
    started_s = time.perf_counter()
    answer = server.edit(project, change)
    assert answer["changed"] and answer["sound_revision"] == answer["revision"], answer
    for stretch in answer["changed"]:
        server.samples(project, **stretch)
    return time.perf_counter() - started_s


def print_time(what: str, work: Callable[[], object]) -> None:
    """Prints the seconds that a call takes."""
    started_s = time.perf_counter()
    work()
    print(f"{what}: {time.perf_counter() - started_s:.2f} s")


def print_memory(server: StudioServer, when: str) -> None:
    """Prints the memory of the server."""
    print(f"memory of the server {when}: {memory_mb(server)} MB")


if __name__ == "__main__":
    main()
