"""The studio works where the system limits no resources of a process, as on Windows."""

from __future__ import annotations

from support.studio_server import StudioServer, error_of


def test_a_video_is_uploaded_and_edited(tmp_path, short_clip):
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "resource.py").write_text('raise ImportError("there is none on this system")\n')
    server = StudioServer(tmp_path / "projects", hiding=hiding)
    try:
        project = server.upload(short_clip)
        edit = server.edit(project, {"add": {"time_s": 1.0, "material": "wood"}})
        assert edit["sound_revision"] == edit["revision"] and edit["changed"]
        assert server.client.get(
            f"/projects/{project}/thumbnails",
            params={"start_s": 0, "end_s": 1, "count": 2, "height": 32},
        ).content.startswith(b"\xff\xd8")
        damaged = server.client.post("/uploads", params={"name": "a.mp4"}, content=b"nothing")
        assert error_of(damaged, 422)["error"]
    finally:
        server.stop()
    assert "Traceback" not in server.errors, server.errors
