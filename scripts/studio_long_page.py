"""A user's actions on a long video in a headless Chromium, for `studio_long.py page`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from selenium.webdriver.common.action_chains import ActionChains
from studio_load import memory_mb
from support import studio_browser
from support.studio_browser import StudioBrowser
from support.studio_server import StudioServer

EDITED = 10
PLAYED_S = 3.0
LONGEST_WAIT_S = 120.0  # for an action, also on a busy machine
MOST_FRAMES = 30  # after a cue, one of which has no hit
SHOWN_S = 0.15  # until the page shows an added hit
PLACES = (0.9, 0.5)  # of the video, where it is looked at


def measure_page(server: StudioServer, project: str, pictures: Path) -> None:
    """Opens the project, plays, seeks, scrolls and edits it; prints times and memory."""
    studio_browser.TIMEOUT_S = LONGEST_WAIT_S
    browser = StudioBrowser()
    try:
        browser.open(server)
        print_memory(browser, server, "with the list of projects")
        started_s = time.perf_counter()
        browser.driver.get(f"{server.address['url']}/#/projects/{project}")
        browser.until(lambda: is_picture_shown(browser), "the first picture")
        print(f"first picture: {time.perf_counter() - started_s:.2f} s")
        browser.one(".project .cue")
        print(f"first cue: {time.perf_counter() - started_s:.2f} s")
        browser.press("f")
        time.sleep(5.0)
        browser.driver.save_screenshot(str(pictures / "complete.png"))
        print_memory(browser, server, "with the complete video in view")
        # Playing at several places
        duration_s = server.get(f"/projects/{project}")["video"]["duration_s"]
        for place in PLACES:
            started_s = time.perf_counter()
            seek(browser, place)
            expected_s = place * duration_s
            browser.until(
                lambda wanted_s=expected_s: abs(player_s(browser) - wanted_s) < 0.02 * duration_s,
                "the picture of another place",
            )
            shown_s, from_s = time.perf_counter() - started_s, player_s(browser)
            browser.press("SPACE")
            browser.until(lambda from_s=from_s: player_s(browser) > from_s + PLAYED_S, "playing")
            browser.press("SPACE")
            played_s = time.perf_counter() - started_s - shown_s
            print(f"{place:.0%}: shown after {shown_s:.2f} s, {PLAYED_S:g} s in {played_s:.2f} s")
        print_memory(browser, server, "after playing")
        # Looking closer, editing and scrolling
        for _ in range(9):
            browser.press("=")
        browser.until(lambda: browser.all(".cue"), "cues in view")
        print_edits(browser, "edit to sound", EDITED)
        print_memory(browser, server, f"after {EDITED} edits")
        started_s = time.perf_counter()
        browser.press(*["PAGE_DOWN"] * 10)
        print(f"ten pages forward: {time.perf_counter() - started_s:.2f} s")
        print_edits(browser, "edit to sound just after that", 1)
        time.sleep(3.0)
        browser.driver.save_screenshot(str(pictures / "closer.png"))
        print_memory(browser, server, "after scrolling")
        # 409: the original sound is still being read, and is asked for again
        assert not (errors := [text for text in browser.errors() if "409" not in text]), errors
    finally:
        browser.quit()


def print_edits(browser: StudioBrowser, what: str, count: int) -> None:
    """Adds hits after the next cues, and prints the milliseconds until each is audible."""
    times_ms = []
    for _ in range(count):
        browser.press("n")
        browser.script("delete document.body.dataset.editToSoundMs")
        add_hit(browser)
        browser.until(lambda: browser.edit_to_sound_ms() > 0, "the sound of an edit")
        times_ms.append(browser.edit_to_sound_ms())
    median_ms, high_ms = np.percentile(times_ms, [50, 95])
    print(f"{what}: {count}, median {median_ms:.0f} ms, 95th percentile {high_ms:.0f} ms")


def add_hit(browser: StudioBrowser) -> None:
    """Adds a hit at the next frame without one: where there is one, the page adds none."""
    for _ in range(MOST_FRAMES):
        browser.press(".")
        before = len(browser.all(".cue"))
        browser.press("a")
        time.sleep(SHOWN_S)
        if len(browser.all(".cue")) > before:
            return
    raise AssertionError("no frame without a hit")


def seek(browser: StudioBrowser, place: float) -> None:
    """Clicks the ruler at a part of its width, while the complete video is in view."""
    ruler = browser.one(".ruler")
    offset = round((place - 0.5) * ruler.size["width"])
    ActionChains(browser.driver).move_to_element_with_offset(ruler, offset, 0).click().perform()


def is_picture_shown(browser: StudioBrowser) -> bool:
    """Whether the video has decoded a picture."""
    return bool(browser.script("return (document.querySelector('video')?.readyState ?? 0) >= 2"))


def player_s(browser: StudioBrowser) -> float:
    """The position of the video element."""
    return float(browser.script("return document.querySelector('video').currentTime"))


def print_memory(browser: StudioBrowser, server: StudioServer, when: str) -> None:
    """Prints the memory of the server, of the page's objects, and of the browser's tab."""
    heap = browser.script("return performance.memory.usedJSHeapSize") / 2**20
    print(
        f"memory {when}: server {memory_mb(server)} MB, tab {tab_memory_mb(browser)} MB, of which "
        f"objects {heap:.0f} MB",
    )


def tab_memory_mb(browser: StudioBrowser) -> int:
    """Resident memory of the largest renderer below the driver's process."""
    renderers = []
    parents = {browser.driver.service.process.pid}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda each: int(each.name)):
        try:
            status = dict(
                line.split(":", 1) for line in (path / "status").read_text("utf-8").splitlines()
            )
            command = (path / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if int(status["PPid"]) in parents:
            parents.add(int(path.name))
            if b"--type=renderer" in command:
                renderers.append(int(status["VmRSS"].split()[0]) // 1024)
    return max(renderers, default=0)
