"""Who is refused: other hosts and sites, requests without a session, paths outside a project."""

from __future__ import annotations

import os
import socket

import httpx2 as httpx
import pytest
from support.cli_model import run_cli
from support.studio_server import StudioServer, answer, error_of

from foleyflow.studio.access import Keys
from foleyflow.studio.problems import NotFound
from foleyflow.studio.project_files import confined, display_name, file_name, new_id
from foleyflow.studio.serving import is_loopback


def test_a_request_needs_a_session_or_the_key(server):
    with httpx.Client(base_url=server.address["url"]) as stranger:
        for path in ("/", "/api/v1/status", "/api/v1/projects", "/api/v1/openapi.json"):
            error_of(stranger.get(path), 401)
        for key in ("x", "wrong", server.address["api_key"][:-1]):
            headers = {"Authorization": f"Bearer {key}"}
            error_of(stranger.get("/api/v1/status", headers=headers), 401)
        error_of(stranger.get("/", params={"token": "wrong"}), 401)
        error_of(stranger.get("/", headers={"Cookie": "foleyflow_session_1=\x7f;=;"}), 401)


def test_the_link_opens_one_session(tmp_path, server):
    keys, links = Keys(lambda token: links.append(token)), []
    first = keys.token
    session = keys.exchange(first)
    assert session and keys.is_session(session) and not keys.is_session("x")
    assert keys.exchange(first) is None and links == [keys.token]
    with httpx.Client() as browser:
        response = browser.get(server.address["link"])
        assert response.status_code == 303 and response.headers["location"] == "/"
        cookie = response.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        base = server.address["url"]
        assert browser.get(f"{base}/api/v1/status").status_code == 200
        assert browser.get(server.address["link"]).status_code == 303  # still signed in
    with httpx.Client() as other:
        error_of(other.get(server.address["link"]), 401)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil", ""])
def test_other_hosts_are_refused(server, host):
    error_of(server.client.get("/status", headers={"Host": host}), 403)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://x"]
)
def test_other_sites_are_refused(server, origin):
    error_of(server.client.post("/projects", json={}, headers={"Origin": origin}), 403)
    error_of(server.client.get("/status", headers={"Origin": origin}), 403)


def test_requests_that_browsers_send_for_other_sites_are_refused(server):
    error_of(server.client.get("/status", headers={"Sec-Fetch-Site": "cross-site"}), 403)
    error_of(server.client.get("/status", headers={"Sec-Fetch-Site": "same-site"}), 403)
    own = {"Origin": server.address["url"], "Sec-Fetch-Site": "same-origin"}
    assert server.client.get("/status", headers=own).status_code == 200


def test_answers_have_the_headers_that_browsers_need(server):
    headers = server.client.get("/status").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store" and "server" not in headers


def test_without_a_page_the_server_says_how_to_build_it(server):
    response = server.client.get(server.address["url"] + "/")
    assert response.status_code in (200, 503)
    assert response.status_code == 200 or "make setup" in response.text
    listed = server.client.get("/docs").text
    assert "/api/v1/projects/{project_id}/cues" in listed


@pytest.mark.parametrize(
    "path",
    [
        "/projects/..",
        "/projects/%2e%2e",
        "/projects/..%2f..%2fetc",
        "/projects/x%00y",
        "/projects/.hidden",
        "/projects/a/../../status",
        "/../../../../etc/passwd",
        "/projects/%2Fetc%2Fpasswd/video",
    ],
)
def test_paths_do_not_leave_the_folder(server, path):
    response = server.client.get(path)
    assert response.status_code in (404, 401, 200)
    assert "root:" not in response.text
    raw = socket.create_connection(server.client.base_url.netloc.decode().split(":"))
    raw.sendall(f"GET /api/v1{path} HTTP/1.0\r\nHost: {server.address['url'][7:]}\r\n\r\n".encode())
    assert b"root:" not in raw.recv(65536)
    raw.close()


def test_files_are_confined_to_their_folder(tmp_path):
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (folder / "deep" / "own.mp4").write_bytes(b"x")
    os.symlink(tmp_path / "secret.mp4", folder / "link.mp4")
    os.symlink(tmp_path, folder / "up")
    os.symlink("circle", folder / "circle")
    assert confined(folder, "deep/own.mp4").name == "own.mp4"
    for relative in (
        "../secret.mp4",
        "deep/../../secret.mp4",
        str(tmp_path / "secret.mp4"),
        "link.mp4",
        "up/secret.mp4",
        "circle",
        "deep",
        "",
        "a\0b",
        "x" * 5000,
    ):
        with pytest.raises(NotFound):
            confined(folder, relative)


def test_a_linked_project_folder_is_no_project(server, clip_project, tmp_path):
    os.symlink(server.folder / clip_project, server.folder / "linked-1")
    try:
        error_of(server.client.get("/projects/linked-1"), 404)
        assert "linked-1" not in [p["id"] for p in server.get("/projects")["projects"]]
    finally:
        (server.folder / "linked-1").unlink()


def test_names_of_uploads_never_reach_the_disk():
    for name in ("../../x.mp4", "..\\x.mp4", "/etc/passwd", "a\nb.mp4", "\u202egpm.mp4", "", "."):
        shown = display_name(name)
        assert "/" not in shown and "\n" not in shown and shown
        stored = file_name(name)
        assert "/" not in stored and not stored.startswith(".") and stored
        assert set(new_id(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_other_hosts_need_a_word_of_permission(tmp_path):
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org")
    outcome = run_cli("serve", "--host", "0.0.0.0", "--folder", tmp_path / "studio")
    assert outcome.status == 2 and "--allow-remote" in outcome.stderr
    outcome = run_cli("serve", "--videos", tmp_path / "missing", "--json")
    assert outcome.status == 2 and "no such folder" in outcome.answer["error"]


def test_referred_videos_are_not_copied(tmp_path, short_clip):
    videos = tmp_path / "videos"
    (videos / "reel").mkdir(parents=True)
    (videos / "reel" / "shot.mp4").write_bytes(short_clip.read_bytes())
    (videos / "notes.txt").write_text("x")
    os.symlink("/etc/passwd", videos / "passwd.mp4")
    server = StudioServer(tmp_path / "projects", "--videos", videos)
    try:
        listed = server.get("/videos")["videos"]
        assert [each["name"] for each in listed] == ["reel/shot.mp4"]
        for wrong in ("../x.mp4", "passwd.mp4", "notes.txt", "/etc/passwd", "reel"):
            response = server.client.post("/projects", json={"video": wrong})
            assert response.status_code in (404, 422), response.text
        created = server.post("/projects", {"video": "reel/shot.mp4"}, status=201)
        project = server.wait_until_ready(created["id"])
        assert not list((server.folder / project).glob("video*"))
        assert len(server.samples(project))
        answer(server.client.delete(f"/projects/{project}"), 204)
        assert (videos / "reel" / "shot.mp4").exists()
    finally:
        assert server.stop() == 130
    assert "Traceback" not in server.errors
