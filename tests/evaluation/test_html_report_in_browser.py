"""The page in a headless browser: it is drawn, its players play, it makes no requests.

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
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs chromium; make test installs it where it can"
)
RATE_HZ, SECONDS = 16000, 1.5
BROWSER_INITIATOR = "not an origin"  # of the browser's own requests

# Measures every image and player of the page and stores the results in the document.
MEASURE = """
<script>
window.addEventListener("load", async () => {
  const players = [...document.querySelectorAll("audio")];
  const durations = await Promise.all(players.map(player => new Promise(resolve => {
    player.addEventListener("loadedmetadata", () => resolve(player.duration));
    player.addEventListener("error", () => resolve(-1));
    player.preload = "auto"; player.load();
  })));
  const pictures = [...document.querySelectorAll("img")].map(p => p.naturalWidth);
  const requests = performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 40));
  document.body.dataset.answers = JSON.stringify({durations, pictures, requests,
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
    """The output of the browser for a page."""
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


def test_images_are_drawn_and_players_play(page, tmp_path):
    measuring = page.replace("</body>", MEASURE + "</body>")
    document = browse(measuring, tmp_path, "--dump-dom", "--virtual-time-budget=20000")
    found = re.search(r'data-answers="([^"]+)"', document)
    assert found, "the script of the page did not finish"
    answers = json.loads(found[1].replace("&quot;", '"'))
    assert len(answers["pictures"]) == page.count("<img ") and min(answers["pictures"]) > 100
    assert answers["durations"] == pytest.approx([SECONDS] * 6, abs=0.01)
    assert all(name.startswith("data:") for name in answers["requests"])
    assert not answers["wide"]


def addresses(page, folder):
    """The addresses that a page requests, without the browser's own requests."""
    log = folder / "net.json"
    browse(page, folder, "--dump-dom", f"--log-net-log={log}")
    requests = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    return {
        request["url"]
        for request in requests
        if request.get("url", "").startswith(("http", "ws", "ftp"))
        and request.get("initiator", BROWSER_INITIATOR) != BROWSER_INITIATOR
    }


def test_the_page_makes_no_network_requests(page, tmp_path):
    with_request = page.replace("</body>", '<img src="http://127.0.0.1:9/pixel.png"></body>')
    assert addresses(with_request, tmp_path) == {"http://127.0.0.1:9/pixel.png"}
    assert addresses(page, tmp_path) == set()


def test_the_page_is_not_blank(page, tmp_path):
    picture = tmp_path / "page.png"
    browse(page, tmp_path, f"--screenshot={picture}")
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (2400, 1280)
    drawn = (pixels < 0.95).any(2)
    assert 0.03 < drawn.mean() < 0.6
    # No part of the page down to the spectrograms is blank
    assert drawn[:1500].reshape(15, -1).any(1).all()
