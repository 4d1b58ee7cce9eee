"""A real studio server in a process of its own, and requests to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from support.cli_model import reset_signals

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0


class StudioServer:
    """`foleyflow serve` on a free port; `errors` is what it printed on stderr.

    Modules in `hiding` come before those of Python, also in its workers.
    """

    def __init__(self, folder: Path, *options: object, hiding: Path | None = None) -> None:
        self.folder = folder
        self._log = folder.with_name(f"{folder.name}.log")
        path = os.pathsep.join(map(str, (hiding, ROOT) if hiding else (ROOT,)))
        command = [sys.executable, "-m", "foleyflow", "serve", "--json", "--folder", folder]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in (*command, *options)],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                preexec_fn=reset_signals,
            )
        lines = []
        while (line := self.process.stdout.readline()) and line != b"}\n":
            lines.append(line)
        if not line:
            raise RuntimeError(f"foleyflow serve has ended: {self.errors}")
        self.address = json.loads(b"".join([*lines, line]))
        self.client = self.new_client()

    def new_client(self, **headers: str) -> httpx.Client:
        key = {"Authorization": f"Bearer {self.address['api_key']}"}
        return httpx.Client(
            base_url=f"{self.address['url']}/api/v1", headers=key | headers, timeout=TIMEOUT_S
        )

    @property
    def errors(self) -> str:
        return self._log.read_text("utf-8")

    def kill(self) -> None:
        self.process.kill()
        self._close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self._close()

    def _close(self) -> int:
        self.client.close()
        self.process.stdout.close()
        return self.process.wait(timeout=TIMEOUT_S)

    def get(self, path: str, **parameters: object) -> Any:
        return answer(self.client.get(path, params=parameters))

    def post(self, path: str, body: object = None, *, status: int = 200) -> Any:
        return answer(self.client.post(path, json=body), status)

    def patch(self, path: str, body: object) -> Any:
        return answer(self.client.patch(path, json=body))

    def edit(self, project: str, *changes: dict[str, Any], **options: object) -> Any:
        return self.patch(f"/projects/{project}/cues", {"changes": changes, **options})

    def upload(self, video: Path, name: str = "clip.mp4") -> str:
        """The id of a new project, when it is ready."""
        response = self.client.post("/uploads", params={"name": name}, content=video.read_bytes())
        return self.wait_until_ready(answer(response, 201)["id"])

    def example(self, name: str) -> str:
        return self.wait_until_ready(self.post("/projects", {"example": name}, status=201)["id"])

    def wait_until_ready(self, project: str) -> str:
        end_s = time.monotonic() + TIMEOUT_S
        while (state := self.get(f"/projects/{project}"))["state"] == "analysing":
            assert time.monotonic() < end_s, state
            time.sleep(0.05)
        assert state["state"] == "ready", state["error"]
        return project

    def job(self, path: str, body: object) -> Any:
        """The finished job that a POST request starts."""
        started = self.post(path, body, status=202)
        return self.get(f"/jobs/{started['id']}", wait_s=TIMEOUT_S)

    def render(self, project: str, **settings: object) -> Any:
        """The edit of the sound with other settings."""
        job = self.job(f"/projects/{project}/render", settings)
        assert job["state"] == "done", job
        return job["result"]

    def samples(self, project: str, **parameters: object) -> np.ndarray:
        """(n,), or (channels, n) of stereo sound."""
        response = self.client.get(f"/projects/{project}/sound", params=parameters)
        assert response.status_code == 200, response.text
        channels = int(response.headers["x-channels"])
        samples = np.frombuffer(response.content, "<f4")
        return samples if channels == 1 else samples.reshape(-1, channels).T

    def cues(self, project: str) -> list[dict[str, Any]]:
        return self.get(f"/projects/{project}/cues")["cues"]


def answer(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, (response.status_code, response.text)
    return response.json() if response.content else None


def error_of(response: httpx.Response, status: int) -> dict[str, str]:
    """The body of a refusal, which has an error and a hint."""
    body = answer(response, status)
    assert set(body) == {"error", "hint"} and body["error"], body
    return body
