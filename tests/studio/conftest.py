"""A studio server with the embedded model that the tests of this folder share, and a short clip."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.media_files import Sound, make_video, square_painter
from support.studio_server import StudioServer

pytest.importorskip("fastapi", reason="needs the extra 'web': pip install 'foleyflow[web]'")


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory) -> Path:
    """An mp4 of 2.4 s with sound; the pictures have 96 x 64 pixels."""
    import numpy as np

    samples = np.zeros((1, 48_000), np.float32)
    samples[0, 24_000:24_480] = 0.5 * np.hanning(480)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(path, n_frames=60, painter=square_painter(7), sound=Sound(samples=samples))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    started = StudioServer(tmp_path_factory.mktemp("studio") / "projects", "--upload-limit", 0.01)
    yield started
    started.stop()
    assert "Traceback" not in started.errors, started.errors


@pytest.fixture(scope="session")
def clip_project(server, short_clip) -> str:
    """A project with three cues, for tests that leave it with them."""
    project = server.upload(short_clip, "A clip.mp4")
    cues = [
        {"time_s": 0.5, "material": "wood", "level_db": -6.0},
        {"time_s": 1.2, "material": "glass"},
        {"time_s": 1.9, "material": "wood"},
    ]
    response = server.client.put(f"/projects/{project}/cues", json={"cues": cues})
    assert response.status_code == 200, response.text
    return project


@pytest.fixture(scope="module")
def browser(server):
    """A browser with the list of projects of the server open."""
    from support.studio_browser import StudioBrowser

    opened = StudioBrowser()
    opened.open(server)
    yield opened
    opened.quit()
