"""The page in a real browser without a window: it draws, its players play, it asks nobody.

Needs Chromium (`make test` installs it where it can); skipped where there is none.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest
import soundfile

from foleyflow.evaluation.folder import evaluate_systems
from foleyflow.evaluation.html_report import page_text

pytest.importorskip("librosa")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here; make test says why")
RATE_HZ, SECONDS = 16000, 1.5
NOBODY = "not an origin"  # who begins the requests that the browser makes for itself

# Asks every picture and player of the page how it is, and leaves the answers in the document.
ASK = """
<script>
window.addEventListener("load", async () => {
  const players = [...document.querySelectorAll("audio")];
  const durations = await Promise.all(players.map(player => new Promise(told => {
    player.addEventListener("loadedmetadata", () => told(player.duration));
    player.addEventListener("error", () => told(-1));
    player.preload = "auto"; player.load();
  })));
  const pictures = [...document.querySelectorAll("img")].map(p => p.naturalWidth);
  const asked = performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 40));
  document.body.dataset.answers = JSON.stringify({durations, pictures, asked,
    wide: document.documentElement.scrollWidth > window.innerWidth});
});
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of two systems on two clips, with scores."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    for case in "ab":
        for name in ("gt", "first", "second"):
            sound = np.zeros(round(SECONDS * RATE_HZ))
            for start in rng.integers(1000, 20000, 3):
                sound[start : start + 400] += rng.uniform(-0.5, 0.5, 400)
            (folder / case).mkdir(exist_ok=True)
            soundfile.write(folder / case / f"{name}.wav", sound, RATE_HZ)
    reports = evaluate_systems(folder, metrics=["onset_f1", "log_spectral_distance"])
    return page_text(reports, title="Two systems")


def browse(page, folder, *flags):
    """What the browser says of a page."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # nothing leaves the machine
        "--window-size=1280,2400",
        f"--user-data-dir={folder / 'profile'}",
        *flags,
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_pictures_are_drawn_and_players_play(page, tmp_path):
    asking = page.replace("</body>", ASK + "</body>")
    document = browse(asking, tmp_path, "--dump-dom", "--virtual-time-budget=20000")
    found = re.search(r'data-answers="([^"]+)"', document)
    assert found, "the page did not come to an end"
    answers = json.loads(found[1].replace("&quot;", '"'))
    assert len(answers["pictures"]) == page.count("<img ") and min(answers["pictures"]) > 100
    assert answers["durations"] == pytest.approx([SECONDS] * 6, abs=0.01)
    assert all(name.startswith("data:") for name in answers["asked"])
    assert not answers["wide"]


def addresses(page, folder):
    """Everything that a page asked of the network; what the browser asks by itself is not its."""
    log = folder / "net.json"
    browse(page, folder, "--dump-dom", f"--log-net-log={log}")
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    return {
        request["url"]
        for request in asked
        if request.get("url", "").startswith(("http", "ws", "ftp"))
        and request.get("initiator", NOBODY) != NOBODY
    }


def test_the_page_asks_nobody(page, tmp_path):
    watched = page.replace("</body>", '<img src="http://127.0.0.1:9/pixel.png"></body>')
    assert addresses(watched, tmp_path) == {"http://127.0.0.1:9/pixel.png"}  # it would be seen
    assert addresses(page, tmp_path) == set()


def test_the_page_looks_like_something(page, tmp_path):
    picture = tmp_path / "page.png"
    browse(page, tmp_path, f"--screenshot={picture}")
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (2400, 1280)
    drawn = (pixels < 0.95).any(2)
    assert 0.03 < drawn.mean() < 0.6
    # Down to the spectrograms there is something on every stretch of the page.
    assert drawn[:1500].reshape(15, -1).any(1).all()
