"""Uploads: limits, damaged and hostile files, and names."""

from __future__ import annotations

import numpy as np
import pytest
from support.media_files import make_video, square_painter
from support.studio_server import StudioServer, answer, error_of

from foleyflow.errors import MediaError
from foleyflow.experiments.robustness.mutations import mutate
from foleyflow.studio import probe_worker

LIMIT_BYTES = round(0.01 * 2**30)  # of the server of these tests
MUTANTS = 6


def upload(server: StudioServer, data: bytes, name: str = "clip.mp4"):
    return server.client.post("/uploads", params={"name": name}, content=data)


def leftovers(server: StudioServer) -> list:
    return [path for path in server.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "empty"),
        (b"not a video", "not a media file"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nfile:///etc/passwd\n", "playlist|not a"),
        (b"\x00" * 5000, "not a media file"),
    ],
)
def test_what_is_no_video_is_refused_without_a_trace(server, data, match):
    import re

    before = set(server.folder.iterdir())
    refused = error_of(upload(server, data), 422)
    assert re.search(match, refused["error"]), refused
    assert ".part" not in refused["error"] and str(server.folder) not in refused["error"]
    assert set(server.folder.iterdir()) == before


def test_uploads_are_limited_in_size(server):
    large = b"\x00" * (LIMIT_BYTES + 1)
    error_of(upload(server, large), 413)

    def chunks():
        for _ in range(12):
            yield b"\x00" * 2**20

    error_of(server.client.post("/uploads", params={"name": "x.mp4"}, content=chunks()), 413)
    assert not leftovers(server)


def test_bodies_of_other_requests_are_limited(server, clip_project):
    large = b'{"changes": "' + b"x" * (17 * 2**20) + b'"}'
    response = server.client.patch(
        f"/projects/{clip_project}/cues",
        content=large,
        headers={"content-type": "application/json"},
    )
    error_of(response, 413)


def test_names_of_uploads_are_only_shown(server, short_clip):
    for name in ("../../evil.mp4", "..\\evil.mp4", "/etc/cron.d/evil.mp4"):
        project = server.upload(short_clip, name)
        shown = server.get(f"/projects/{project}")
        assert shown["video"]["name"] == "evil.mp4" and shown["name"] == "evil"
        files = [path.name for path in (server.folder / project).iterdir() if path.is_file()]
        assert sorted(files) == ["cues.json", "history.jsonl", "project.json", "video.mp4"]
        answer(server.client.delete(f"/projects/{project}"), 204)


def test_damaged_videos_are_refused_or_used(server, short_clip, tmp_path):
    other = make_video(tmp_path / "other.mkv", n_frames=20, painter=square_painter(5))
    data = short_clip.read_bytes()
    for seed in range(MUTANTS):
        mutant, changes = mutate(data, np.random.default_rng(seed), donors=[other.read_bytes()])
        response = upload(server, mutant)
        assert response.status_code in (201, 413, 422), (changes, response.text)
        if response.status_code != 201:
            error_of(response, response.status_code)
            continue
        project = response.json()["id"]
        while (state := server.get(f"/projects/{project}"))["state"] == "analysing":
            pass
        assert state["state"] == "ready" or state["error"]["error"], changes
        for path, query in (
            ("frames", {}),
            ("thumbnails", {"start_s": 0, "end_s": 2, "count": 3, "height": 16}),
            ("sound", {"source": "original"}),
        ):
            response = server.client.get(f"/projects/{project}/{path}", params=query)
            assert response.status_code in (200, 404, 409, 422), (changes, path, response.text)
        answer(server.client.delete(f"/projects/{project}"), 204)
    assert not leftovers(server)
    assert "Traceback" not in server.errors


def test_the_examination_has_limits(short_clip, tmp_path, monkeypatch):
    assert probe_worker.examine(short_clip)["suffix"] == ".mp4"
    monkeypatch.setattr(probe_worker, "LARGEST_BYTES", 200 * 2**20)
    with pytest.raises(MediaError, match="limits of time and memory"):
        probe_worker.examine(short_clip)
