"""The example of a program that uses the HTTP API."""

from __future__ import annotations

import shutil
import subprocess
import sys

from support.studio_server import ROOT

from foleyflow.media import probe

CLIENT = ROOT / "examples" / "studio_client.py"


def test_the_example_saves_a_video_with_sound(server, short_clip, tmp_path):
    video = tmp_path / "my clip.mp4"
    shutil.copy(short_clip, video)
    subprocess.run(
        [sys.executable, CLIENT, server.address["url"], server.address["api_key"], video],
        check=True,
        timeout=60,
    )
    info = probe(tmp_path / "my clip.foley.mp4")
    assert info.has_audio and (tmp_path / "my clip.foley.wav").exists()


def test_the_example_stays_short():
    code = CLIENT.read_text("utf-8").split('"""', 2)[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
