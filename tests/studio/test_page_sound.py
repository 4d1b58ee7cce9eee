"""The page of the studio with stereo sound, a recording to follow, and takes with names."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

browsers = pytest.importorskip("support.studio_browser", reason="needs selenium")
Select = pytest.importorskip("selenium.webdriver.support.select").Select
pytestmark = browsers.NEEDED

RATE_HZ = 48_000


@pytest.fixture
def project(server, short_clip) -> str:
    made = server.upload(short_clip)
    cues = [
        {"time_s": 0.5, "material": "wood", "level_db": -6.0},
        {"time_s": 1.2, "material": "glass", "level_db": -6.0},
    ]
    server.client.put(f"/projects/{made}/cues", json={"cues": cues}).raise_for_status()
    return made


@pytest.fixture
def page(browser, server, project):
    """The browser with the project open."""
    browser.go(server, f"projects/{project}")
    browser.until(lambda: len(browser.cue_times()) == 2, "two cues")
    browser.until(lambda: channels_drawn(browser) == "1", "the wave")
    yield browser
    assert not browser.errors()


def channels_drawn(page) -> str:
    return page.script("return document.querySelector('.sound-lane canvas').dataset.channels ?? ''")


def set_value(page, selector: str, value: object) -> None:
    """Sets a slider or a field, as a user who has finished doing so."""
    page.one(selector)
    page.script(
        """
        const field = document.querySelector(arguments[0]);
        field.value = arguments[1];
        field.dispatchEvent(new Event("input", {bubbles: true}));
        field.dispatchEvent(new Event("change", {bubbles: true}));
        """,
        selector,
        str(value),
    )


def click(page, selector: str) -> None:
    """Clicks an element of a list that may be drawn again at any time."""
    page.one(selector)
    page.script("document.querySelector(arguments[0]).click()", selector)


def levels(samples: np.ndarray, time_s: float) -> np.ndarray:
    part = samples[:, round(time_s * RATE_HZ) : round((time_s + 0.06) * RATE_HZ)]
    return np.square(part.astype(np.float64)).sum(axis=1)


# Notes the channels of every sound that the page plays, and their peaks.
NOTE_CHANNELS = """
window.played = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...times) {
  const channels = Array.from({length: this.buffer.numberOfChannels}, (_, index) =>
      this.buffer.getChannelData(index).reduce((most, one) => Math.max(most, Math.abs(one)), 0));
  window.played.push(channels);
  return start.apply(this, times);
};
"""


def test_stereo_is_switched_on_and_a_cue_panned_heard_undone_and_exported(page, server, project):
    mono = server.samples(project)
    assert not page.all("[name=pan]")
    page.button("Sound settings").click()
    page.one("dialog [name=stereo]").click()
    page.until(lambda: server.samples(project).ndim == 2, "stereo sound")
    page.press("ESCAPE")
    page.until(lambda: channels_drawn(page) == "2", "two waves")
    # The place of the picture, then another one by the slider
    page.press("n", "n")
    place = server.get(f"/projects/{project}/cues/{server.cues(project)[1]['id']}/place")["pan"]
    field = page.one("[name=pan]")
    page.until(lambda: page.one("[name=pan]").get_attribute("placeholder") == str(place), place)
    assert field.get_attribute("value") == ""
    page.script(NOTE_CHANNELS)
    before = server.samples(project)
    set_value(page, "[name=pan_slider]", 1)
    page.until(lambda: server.cues(project)[1].get("pan") == 1, "the pan")
    page.until(lambda: page.edit_to_sound_ms() > 0, "the new sound")
    both = server.samples(project)
    left, right = levels(both, 1.2)
    assert right > 3.5 * left and np.array_equal(both[:, :48_000], before[:, :48_000])
    [[left, right]] = page.until(lambda: page.script("return window.played"), "the audition")
    assert right > 1.8 * left > 0
    # Playing measures both channels
    page.press("HOME")
    page.button("Play").click()
    page.until(lambda: "LUFS" in page.one(".meter-value").text, "the meter")
    # By the number, back to the picture, and all of it undone
    set_value(page, "[name=pan]", -0.5)
    page.until(lambda: server.cues(project)[1].get("pan") == -0.5, "the number")
    page.until(lambda: page.one(".pan-text").text == "50 % left", "the words")
    page.one("[name=pan_picture]").click()
    page.until(lambda: "pan" not in server.cues(project)[1], "the picture")
    for _ in range(2):
        page.press("Control+z")
    page.until(lambda: server.cues(project)[1].get("pan") == 1, "undo")
    page.until(lambda: np.array_equal(server.samples(project), both), "its sound")
    # The export
    page.press("e")
    Select(page.one("dialog [name=video]")).select_by_value("none")
    Select(page.one("dialog [name=sound]")).select_by_value("wav24")
    set_value(page, "dialog [name=export_name]", "panned")
    page.one("#start-export").click()
    link = page.one(".export-files a")
    assert link.text == "panned.foley.wav"
    content = server.client.get(link.get_attribute("href")).content
    exported = soundfile.read(io.BytesIO(content), dtype="float32")[0].T
    assert np.abs(exported - both).max() < 2**-22
    page.press("ESCAPE")
    # Back to mono by undo: the page follows
    page.press("Control+z", "Control+z")
    page.until(lambda: channels_drawn(page) == "1", "one wave")
    assert np.array_equal(server.samples(project), mono)
    page.until(lambda: not page.all("[name=pan]"), "no pan")


def test_a_recording_is_chosen_and_removed(page, server, project, tmp_path):
    times_s = np.arange(RATE_HZ // 2) / RATE_HZ
    knock = tmp_path / "knock.wav"
    soundfile.write(knock, np.exp(-times_s / 0.02) * np.sin(1400 * times_s), RATE_HZ)
    server.render(project, seed=0)  # no edits since then
    before = server.samples(project)
    page.button("Sound settings").click()
    page.one("dialog .file-input").send_keys(str(knock))
    page.until(lambda: not np.array_equal(server.samples(project), before), "another sound")
    assert server.get(f"/projects/{project}")["references"][0]["name"] == "knock.wav"
    page.press("n")
    page.until(lambda: "knock.wav" in page.one(".inspector").text, "the name")
    # An edit of a material changes nothing; what was recorded does
    page.button("Sound settings").click()
    Select(page.one("dialog [name=reference_material]")).select_by_value("wood")
    page.until(
        lambda: server.get(f"/projects/{project}")["settings"]["reference_material"] == "wood"
    )
    page.until(lambda: not page.all("dialog"), "the dialog is closed")
    page.button("Sound settings").click()
    page.one("dialog [name=remove_recording]").click()
    page.until(lambda: np.array_equal(server.samples(project), before), "the first sound")
    page.until(lambda: "knock.wav" not in page.one(".inspector").text, "no name")
    # What is no sound is refused in words
    wrong = tmp_path / "notes.wav"
    wrong.write_text("no sound")
    page.button("Sound settings").click()
    page.one("dialog .file-input").send_keys(str(wrong))
    page.until(lambda: "notes.wav:" in page.messages(), "the error")
    page.errors()  # The refused request is an error in the console.


def test_a_take_gets_another_name(page, server, project):
    page.button("Keep").click()
    click(page, "[aria-label='Rename Take 1']")
    page.one("input.take-name").click()
    page.press("Control+a", *"Dry", "ENTER")
    page.until(lambda: page.one("button.take-name").text == "Dry", "the new name")
    assert server.get(f"/projects/{project}")["takes"][0]["name"] == "Dry"
    click(page, "[aria-label='Rename Dry']")
    page.one("input.take-name").send_keys("x", browsers.Keys.ESCAPE)
    page.until(lambda: page.one("button.take-name").text == "Dry", "the name stays")


def test_the_points_of_a_level_curve_are_dragged_and_typed(page, server, project):
    fields = {"time_s": 1.5, "kind": "scrape", "end_s": 2.3, "material": "stone"}
    server.edit(project, {"add": {**fields, "level_db": -12.0}})
    page.until(lambda: len(page.cue_times()) == 3, "the scrape")
    page.press("n", "n", "n")
    page.one("[name=curve]").click()
    page.until(lambda: server.cues(project)[2].get("level_curve_db") == [-12.0] * 3, "a curve")
    before = server.samples(project)
    page.until(lambda: page.edit_to_sound_ms() > 0, "its sound")
    page.until(lambda: len(page.all(".curve-point")) == 3, "its points")
    lane = page.one(".cue-lane").size["height"]
    page.drag(page.all(".curve-point")[2], 0, lane / 3)
    page.until(lambda: server.cues(project)[2]["level_curve_db"][2] < -30, "a lower end")
    curve = server.cues(project)[2]["level_curve_db"]
    assert curve[:2] == [-12, -12] and curve[2] == pytest.approx(-36, abs=1)
    end = slice(round(2.1 * RATE_HZ), round(2.25 * RATE_HZ))
    loud = np.square(before[end]).sum()
    page.until(lambda: np.square(server.samples(project)[end]).sum() < loud / 4, "a quiet end")
    # The same by numbers and buttons
    set_value(page, "[name=curve_0]", -30)
    page.until(lambda: server.cues(project)[2]["level_curve_db"][0] == -30, "a number")
    page.one("[name=more_points]").click()
    page.until(lambda: len(server.cues(project)[2]["level_curve_db"]) == 4, "four points")
    page.until(lambda: len(page.all(".curve-point")) == 4, "four points in the lane")
    page.one("[name=one_level]").click()
    page.until(lambda: "level_curve_db" not in server.cues(project)[2], "one level")
    for _ in range(3):
        page.press("Control+z")
    page.until(lambda: server.cues(project)[2].get("level_curve_db") == curve, "undo")
