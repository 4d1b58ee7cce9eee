"""A killed server loses nothing: cues, undo, takes and unfinished work are there afterwards."""

from __future__ import annotations

import contextlib
import threading
import time

import httpx2 as httpx
import numpy as np
from support.studio_server import StudioServer, answer


def wait_for_sound(server: StudioServer, project: str) -> dict:
    end_s = time.monotonic() + 60
    while True:
        state = server.get(f"/projects/{project}")
        if state["sound"] and state["sound"]["revision"] == state["revision"]:
            return state
        assert time.monotonic() < end_s, state
        time.sleep(0.05)


def test_nothing_is_lost_when_the_server_is_killed_during_a_render(tmp_path, short_clip):
    folder = tmp_path / "projects"
    server = StudioServer(folder)
    project = server.upload(short_clip)
    answer(
        server.client.put(
            f"/projects/{project}/cues",
            json={"cues": [{"time_s": 0.3, "material": "wood"}, {"time_s": 1.0}]},
        )
    )
    kept = server.job(f"/projects/{project}/takes", {"name": "Kept"})["result"]
    first, undoable = server.cues(project), server.get(f"/projects/{project}")["undo"]
    # Kill it as soon as an edit is stored, while its sound is rendered
    history = folder / project / "history.jsonl"
    size = history.stat().st_size
    change = {"add": {"time_s": 1.8, "material": "glass"}}

    def edit() -> None:
        with contextlib.suppress(httpx.HTTPError):
            server.client.patch(f"/projects/{project}/cues", json={"changes": [change]})

    sender = threading.Thread(target=edit)
    sender.start()
    while history.stat().st_size == size:
        time.sleep(0.0005)
    server.process.kill()
    sender.join()
    server.kill()
    (folder / ".upload-1.part").write_bytes(b"left")
    (folder / project / "exports" / "e99").mkdir()
    # Everything is there again, and the sound of the edit is generated
    server = StudioServer(folder)
    try:
        state = wait_for_sound(server, project)
        assert state["state"] == "ready" and state["takes"][0]["id"] == kept["id"]
        cues = server.cues(project)
        assert len(cues) == 3 and cues[:2] == first and cues[2]["material"] == "glass"
        with_glass = server.samples(project)
        undone = server.post(f"/projects/{project}/undo")
        assert undone["removed"] == [cues[2]["id"]] and undone["undo"] == undoable
        server.post(f"/projects/{project}/redo")
        assert np.array_equal(server.samples(project), with_glass)
        stored = server.samples(project, source=f"take:{kept['id']}")
        server.post(f"/projects/{project}/undo")
        assert np.abs(server.samples(project) - stored).max() < 2**-22
        assert not list(folder.glob(".*.part"))
        assert [each.name for each in (folder / project / "exports").iterdir()] == []
    finally:
        server.stop()
    assert "Traceback" not in server.errors, server.errors


def test_a_server_that_is_stopped_during_work_goes_on_with_it_later(tmp_path):
    folder = tmp_path / "projects"
    server = StudioServer(folder)
    project = server.post("/projects", {"example": "falling"}, status=201)["id"]
    assert server.stop() == 130
    assert "Traceback" not in server.errors and "terminate" not in server.errors
    assert '"state": "analysing"' in (folder / project / "project.json").read_text("utf-8")
    server = StudioServer(folder)
    try:
        server.wait_until_ready(project)
        assert len(server.samples(project))
    finally:
        server.stop()
