"""The page of the studio in a headless browser, with a real server and the embedded model.

Needs Chromium and its driver (`make test` installs them where it can) and the built page (`make
setup` builds it where npm is installed); skipped otherwise.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from support.studio_server import StudioServer

from foleyflow.media import probe

browsers = pytest.importorskip("support.studio_browser", reason="needs selenium")
pytestmark = browsers.NEEDED

RATE_HZ = 48_000
DURATION_S = 2.4
# Mean heights of the drawn wave; silence is a line of one pixel.
DRAWN_PX, SILENT_PX = 2.5, 1.5


@pytest.fixture
def project(server, short_clip) -> str:
    """A project with three cues, and nothing between and around them."""
    made = server.upload(short_clip)
    cues = [
        {"time_s": 0.5, "material": "wood", "level_db": -6.0, "confidence": 0.9},
        {"time_s": 1.2, "material": "glass", "level_db": -12.0, "confidence": 0.5},
        {"time_s": 1.9, "material": "wood", "level_db": -9.0, "confidence": 0.1},
    ]
    server.client.put(f"/projects/{made}/cues", json={"cues": cues}).raise_for_status()
    return made


@pytest.fixture
def page(browser, server, project):
    """The browser with the project open."""
    browser.go(server, f"projects/{project}")
    browser.until(lambda: len(browser.cue_times()) == 3, "three cues")
    browser.until(lambda: browser.wave_height(browser.x_of(0.5, DURATION_S)) > DRAWN_PX, "the wave")
    yield browser
    assert not browser.errors()


def cue_at(server, project: str, index: int) -> dict:
    return server.cues(project)[index]


def energy(samples: np.ndarray, start_s: float, length_s: float = 0.1) -> float:
    start = round(start_s * RATE_HZ)
    return float(np.square(samples[start : start + round(length_s * RATE_HZ)]).sum())


def test_an_example_is_exported_in_four_actions(browser, server, tmp_path):
    browser.driver.get(f"{server.address['url']}/#/")
    browser.button("chopping").click()  # 1
    browser.one(".cue")
    project = browser.driver.current_url.rsplit("/", 1)[-1]
    server.wait_until_ready(project)
    browser.one("#export-button").click()  # 2
    browser.one("#start-export").click()  # 3
    link = browser.one(".export-files a")  # 4: click it
    response = server.client.get(link.get_attribute("href"))
    video = tmp_path / "out.mp4"
    video.write_bytes(response.raise_for_status().content)
    original = Path("foleyflow/assets/examples/chopping.mp4")
    exported = probe(video)
    assert exported.has_audio
    assert exported.duration_s == pytest.approx(probe(original).duration_s, abs=0.05)
    browser.press("ESCAPE")


def test_dragging_a_cue_moves_its_sound(page, server, project):
    before = server.samples(project)
    cue = cue_at(server, project, 0)
    page.drag(page.cue(cue["id"]), page.x_of(0.3, DURATION_S), 0)
    page.until(lambda: page.edit_to_sound_ms() > 0, "the new sound")
    moved = cue_at(server, project, 0)
    assert moved["time_s"] == pytest.approx(0.8, abs=0.01)
    assert moved["level_db"] == cue["level_db"] and "confidence" not in moved
    after = server.samples(project)
    assert energy(before, 0.5) > 10 * energy(after, 0.5)
    assert energy(after, moved["time_s"]) > 10 * energy(before, moved["time_s"])
    # The page holds and draws the new sound
    page.until(lambda: page.wave_height(page.x_of(0.5, DURATION_S)) < SILENT_PX, "silence there")
    assert page.wave_height(page.x_of(moved["time_s"], DURATION_S)) > DRAWN_PX
    # Escape cancels a drag
    handle = page.cue(cue["id"])
    actions = browsers.ActionChains(page.driver, duration=40).click_and_hold(handle)
    actions.move_by_offset(60, 0).send_keys(browsers.Keys.ESCAPE).release().perform()
    assert cue_at(server, project, 0) == moved


def test_dragging_with_shift_snaps_to_frames(page, server, project):
    frames = np.array(server.get(f"/projects/{project}/frames")["times_s"])
    cue = cue_at(server, project, 1)
    page.drag(page.cue(cue["id"]), 53, 1, key=browsers.Keys.SHIFT)
    moved = page.until(
        lambda: next((c for c in server.cues(project) if c["id"] == cue["id"] and c != cue), None)
    )
    assert np.abs(frames - moved["time_s"]).min() < 1e-6
    # The keys Q and W move by one frame
    index = int(np.abs(frames - moved["time_s"]).argmin())
    page.press("w")
    page.until(lambda: cue_at(server, project, 1)["time_s"] == round(frames[index + 1], 6), "W")


def test_dragging_up_makes_louder(page, server, project):
    cue = cue_at(server, project, 1)
    page.drag(page.cue(cue["id"]), 1, -10)
    page.until(lambda: cue_at(server, project, 1)["level_db"] != -12, "another level")
    lane, louder = page.one(".cue-lane").size["height"], cue_at(server, project, 1)
    assert louder["time_s"] == cue["time_s"]
    assert louder["level_db"] == pytest.approx(-12 + 10 / lane * 72, abs=1.0)
    page.press("ARROW_DOWN")
    page.until(
        lambda: cue_at(server, project, 1)["level_db"] == round(louder["level_db"] - 1, 1), "1 dB"
    )


def test_cues_are_added_changed_deleted_and_brought_back(page, server, project):
    start, sound = server.cues(project), server.samples(project)
    lane = page.one(".cue-lane")
    page.double_click(lane, page.x_of(1.55, DURATION_S), lane.size["height"] / 4)
    page.until(lambda: len(page.selected()) == 1 and len(server.cues(project)) == 4, "a new cue")
    added = cue_at(server, project, 2)
    assert added["time_s"] == pytest.approx(1.55, abs=0.01)
    assert added["level_db"] == pytest.approx(-6, abs=2)
    # A digit sets the material, here the third of the list
    page.press("3")
    page.until(lambda: cue_at(server, project, 2).get("material") == "glass", "glass")
    page.press("d")
    page.until(lambda: not cue_at(server, project, 2)["enabled"], "off")
    page.press("Control+a", "DELETE")
    page.until(lambda: server.cues(project) == [], "no cues")
    page.until(lambda: "No cues" in page.one(".cue-lane").text, "the empty state")
    # Undo to the start, and redo
    for _ in range(4):
        page.press("Control+z")
    page.until(lambda: server.cues(project) == start, "the first cues")
    page.until(lambda: len(page.cue_times()) == 3, "three cues in the page")
    np.testing.assert_array_equal(server.samples(project), sound)
    page.press("Control+y")
    page.until(lambda: len(page.cue_times()) == 4, "redo")


def test_tapping_along_adds_hits_at_the_playhead(page, server, project):
    page.press("SPACE")
    page.until(lambda: page.button("Pause"), "playing")
    clock = page.one(".clock")
    taps = []
    for wanted_s in (0.7, 1.0, 1.4):
        page.until(lambda wanted_s=wanted_s: float(clock.text.split(":")[1]) > wanted_s)
        early_s = float(clock.text.split(":")[1])
        page.press("a")
        taps.append((early_s, float(clock.text.split(":")[1])))
    page.until(lambda: len(server.cues(project)) == 6, "three more cues")
    added = [cue["time_s"] for cue in server.cues(project) if "level_db" not in cue]
    for time_s, (early_s, late_s) in zip(added, taps, strict=True):
        assert early_s - 0.05 <= time_s <= late_s + 0.05
    # At the end playing stops by itself
    page.until(lambda: clock.text == "0:02.400", "the end")
    assert page.button("Play")


def test_stepping_shows_exactly_each_frame(page, server, project):
    frames = server.get(f"/projects/{project}/frames")["times_s"]
    offset_s = server.get(f"/projects/{project}")["video"]["player_offset_s"]
    picture = page.one(".picture")
    for index in (1, 2, 3):
        page.press(".")
        shown = f"{frames[index] + offset_s:.3f}"
        page.until(lambda shown=shown: picture.get_attribute("data-shown")[:-3] == shown, shown)
        assert page.one(".frame-number").text == f"frame {index}"
    page.press(",")
    assert page.one(".frame-number").text == "frame 2"


def test_uncertain_cues_are_visited_and_confirmed(page, server, project):
    assert "1 uncertain" in page.one(".counts").text
    page.press("u")
    expected = ["Hit at 0:01.200, glass, −12.0 dB, confidence 50 %"]
    page.until(lambda: page.selected() == expected, expected)
    page.press("c")
    page.until(lambda: "uncertain" not in page.one(".counts").text, "no uncertain cue")
    assert "confidence" not in cue_at(server, project, 1)
    # Several cues by the keyboard, and another take of them
    page.press("Control+a", "t")
    page.until(lambda: all("seed" in cue for cue in server.cues(project)), "seeds")
    assert len(page.selected()) == 3


def test_a_reload_shows_the_same_state(page, server, project):
    page.press("m", "s", "+", "+", "i")
    cue = cue_at(server, project, 0)
    page.press("n", "2")
    page.until(lambda: cue_at(server, project, 0).get("material") == "metal", "metal")
    page.until(
        lambda: server.get(f"/projects/{project}")["view"].get("span_s") == pytest.approx(0.6),
        "view",
    )
    page.until(lambda: server.get(f"/projects/{project}")["view"].get("playhead_s") == 0.5)
    times = page.cue_times()
    page.driver.refresh()
    page.until(lambda: page.cue_times() == times, "the same cues")
    assert page.one(".clock").text == "0:00.500"
    assert page.button("Spectrogram").get_attribute("aria-pressed") == "true"
    assert page.button("Original").get_attribute("aria-pressed") == "true"
    assert page.button("Loop").get_attribute("aria-pressed") == "true"
    assert "metal" in page.one(f".cue[data-id='{cue['id']}']").get_attribute("aria-label")
    page.press("Control+z")
    page.until(lambda: cue_at(server, project, 0)["material"] == "wood", "undo after a reload")


# Notes the length and the peak of every sound that the page plays.
NOTE_SOUNDS = """
window.played = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...times) {
  const peak = this.buffer.getChannelData(0).reduce((most, one) => Math.max(most, one), 0);
  window.played.push([this.buffer.duration, peak]);
  return start.apply(this, times);
};
"""


def test_an_edit_plays_at_once_while_paused(page, server, project):
    page.script(NOTE_SOUNDS)
    page.press("n", "t")
    page.until(lambda: page.script("return window.played.length") == 1, "the sound")
    [[seconds, peak]] = page.script("return window.played")
    assert seconds == pytest.approx(1.3, abs=0.01) and peak > 0.01
    assert page.one(".clock").text == "0:00.500" and page.button("Play")
    # H turns it off, Enter plays the cue itself
    page.press("h", "t", "ENTER")
    page.until(lambda: page.script("return window.played.length") == 2, "the cue")
    revision = server.get(f"/projects/{project}")["revision"]
    page.press("t")
    page.until(lambda: server.get(f"/projects/{project}")["revision"] > revision, "the edit")
    assert page.script("return window.played.length") == 2


def test_takes_are_kept_compared_and_used(page, server, project):
    kept = server.samples(project)
    page.button("Keep").click()
    page.one(".take-name")
    page.press("n", "t")
    page.until(lambda: not np.array_equal(server.samples(project), kept), "another sound")
    page.press("b")
    page.until(lambda: "Take 1" in page.one(".audible").text, "the take is audible")
    page.until(lambda: "Take 1" in page.one(".lane-names").text, "the lane of the take")
    page.one("[aria-label='Use Take 1']").click()
    page.until(lambda: "present" in page.one(".audible").text, "the present sound")
    page.until(lambda: np.array_equal(server.samples(project), kept), "the kept sound")


def test_a_cue_sheet_is_imported(page, server, project, tmp_path):
    sheet = tmp_path / "cues.csv"
    sheet.write_text("time_s,material\n0.7,stone\n1.6,\n")
    page.one(".bar .file-input").send_keys(str(sheet))
    page.until(lambda: page.cue_times() == [0.7, 1.6], "the cues of the file")
    sheet.write_text("time_s,material\n0.7,cheese\n")
    page.one(".bar .file-input").send_keys(str(sheet))
    page.until(lambda: "'cheese'" in page.messages(), "the error")
    assert len(server.cues(project)) == 2
    page.press("Control+z")
    page.until(lambda: len(page.cue_times()) == 3, "the cues before")
    page.errors()  # The refused request is an error in the console.


def test_edits_of_another_program_appear(page, server, project):
    server.edit(project, {"add": {"time_s": 1.55, "material": "metal", "level_db": 0.0}})
    page.until(lambda: len(page.cue_times()) == 4, "the new cue")
    page.until(lambda: page.wave_height(page.x_of(1.55, DURATION_S)) > DRAWN_PX, "its sound")


def test_quick_changes_of_the_address_open_one_page(page, server, project):
    page.script(f"location.hash = '#/'; location.hash = '#/projects/{project}';")
    page.until(lambda: page.all(".project .cue"), "the cues")
    before = server.get(f"/projects/{project}")["revision"]
    page.press("n", "2")
    page.until(lambda: "metal" in "".join(page.selected()), "metal")
    page.press("n", "2")
    page.until(lambda: cue_at(server, project, 1)["material"] == "metal", "metal")
    assert server.get(f"/projects/{project}")["revision"] == before + 2


def test_a_video_is_uploaded_and_a_wrong_file_is_refused_in_words(
    browser, server, short_clip, tmp_path
):
    browser.driver.get(f"{server.address['url']}/#/")
    wrong = tmp_path / "notes.mp4"
    wrong.write_text("no video")
    browser.one(".file-input").send_keys(str(wrong))
    browser.until(lambda: "notes.mp4: not a media file" in browser.messages(), "the error")
    browser.errors()  # The refused request is an error in the console.
    browser.one(".file-input").send_keys(str(short_clip))
    browser.one(".project")
    assert "/projects/" in browser.driver.current_url


BROKEN_LAYOUT = """
const wrong = [];
if (document.documentElement.scrollWidth > innerWidth) wrong.push("page too wide");
if (document.documentElement.scrollHeight > innerHeight) wrong.push("page too high");
const parts = document.querySelectorAll(
    ".bar > *, .panel, .picture, .transport > *, .lane-names > div, .lanes > *, .overview");
for (const part of parts) {
  const box = part.getBoundingClientRect();
  if (box.left < -1 || box.top < -1 || box.right > innerWidth + 1
      || box.bottom > innerHeight + 1) wrong.push(`${part.className} leaves the page`);
}
for (const part of document.querySelectorAll("button, .lane-names > div, .legend li")) {
  if (part.scrollWidth > part.clientWidth + 2) wrong.push(`"${part.textContent}" is cut`);
}
return wrong;
"""


def test_the_layout_holds_at_small_and_large_sizes_in_dark_and_light(page):
    page.press("n")
    page.one(".inspector select")
    broken = {}
    for size in ((1280, 720), (3840, 2160)):
        for colours in ("dark", "light"):
            page.resize(*size)
            page.use_colours(colours)
            time.sleep(0.1)
            broken[size, colours] = page.script(BROKEN_LAYOUT)
    page.resize(1280, 720)
    page.use_colours("dark")
    assert not any(broken.values()), broken


def test_everything_has_a_name_and_a_key(page, server):
    page.press("n")
    page.one(".inspector select")
    nameless = page.script(
        """
        const fields = [...document.querySelectorAll(
            "button, input, select, a, canvas, video, img, [role=option], [role=meter]")];
        return fields.filter(field => !(field.textContent.trim() || field.ariaLabel
            || field.title || field.alt || field.labels?.[0]?.textContent.trim()
            || field.ariaHidden === "true" || field.getAttribute("aria-hidden") === "true"))
            .map(field => field.outerHTML);
        """
    )
    assert nameless == []
    lane = page.one(".cue-lane")
    assert lane.get_attribute("role") == "listbox" and lane.get_attribute("aria-label") == "Cues"
    active = lane.get_attribute("aria-activedescendant")
    assert page.one(f"[id='{active}']").get_attribute("aria-selected") == "true"
    page.press("?")
    keys = page.one("dialog[open]").text
    for words in ("Play or pause", "tap along", "Next uncertain cue", "Undo", "Export"):
        assert words in keys
    page.press("ESCAPE")
    # All of that came from the own server
    names = page.script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert names and all(name.startswith(server.address["url"]) for name in names)


def test_a_killed_server_loses_nothing(browser, short_clip, tmp_path):
    folder = tmp_path / "projects"
    first = StudioServer(folder)
    try:
        project = first.upload(short_clip)
        first.client.put(f"/projects/{project}/cues", json={"cues": [{"time_s": 0.6}]})
        browser.open(first, f"projects/{project}")
        browser.press("n", "2")
        browser.until(lambda: first.cues(project)[0].get("material") == "metal", "metal")
        browser.press("t")
        time.sleep(0.02)  # the take is being generated
    finally:
        first.kill()
    browser.until(lambda: "does not answer" in browser.one(".project").text, "the message")
    second = StudioServer(folder)
    try:
        browser.open(second, f"projects/{project}")
        label = browser.one(".cue").get_attribute("aria-label")
        assert label.startswith("Hit at 0:00.600, metal")
        assert json.loads(second.client.get(f"/projects/{project}").text)["state"] == "ready"
    finally:
        second.stop()
    browser.errors()
