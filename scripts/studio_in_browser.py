"""Drives the studio in a headless Chromium to draw and to measure it.

    python scripts/studio_in_browser.py pictures          # writes docs/studio/*.png
    python scripts/studio_in_browser.py speed             # prints milliseconds from edit to sound

Both need Chromium, its driver and the built page (`make setup`).
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

import av
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webelement import WebElement

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.studio_browser import StudioBrowser  # noqa: E402
from support.studio_server import StudioServer  # noqa: E402

EXAMPLES = ROOT / "foleyflow" / "assets" / "examples"
PICTURES = ROOT / "docs" / "studio"
LARGEST_WIDTH, LARGEST_BYTES = 1600, 300_000


def main() -> None:
    """Runs one of the two jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=["pictures", "speed"])
    parser.add_argument("--edits", type=int, default=40, help="edits that are measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = StudioServer(Path(folder) / "projects")
        browser = StudioBrowser()
        try:
            browser.open(server)
            if options.job == "pictures":
                draw_all(browser, server, Path(folder))
            else:
                print_speed(browser, server, Path(folder), options.edits)
        finally:
            browser.quit()
            server.stop()


def draw_all(browser: StudioBrowser, server: StudioServer, folder: Path) -> None:
    """Draws the main states, each by the actions of a user."""
    PICTURES.mkdir(exist_ok=True)
    # While a video is analysed
    browser.one(".file-input").send_keys(str(repeated(EXAMPLES / "chopping.mp4", folder, 150.0)))
    browser.one(".project .job progress[value]")
    browser.one(".cue")
    time.sleep(1.0)
    picture(browser, "analysing")
    long_project = browser.driver.current_url.rsplit("/", 1)[-1]

    # Cues of an example, one of them selected
    drums = server.example("drums")
    browser.go(server, f"projects/{drums}")
    time.sleep(2.0)
    browser.press("u", "u", "u", "c")
    browser.until(lambda: browser.edit_to_sound_ms() > 0, "the confirmed cue")
    browser.drag(browser.one(".cue.active .handle"), 14, 0)
    time.sleep(3.0)
    picture(browser, "cues")

    # Spectrogram, loop and several selected cues, on a light page
    browser.use_colours("light")
    browser.press("s", "ESCAPE")
    browser.drag(browser.one(".loop-strip"), 170, 0)
    drag_along_bottom(browser, browser.one(".cue-lane"), 300)
    time.sleep(3.0)
    picture(browser, "spectrogram")
    browser.use_colours("dark")
    browser.press("s", "l")

    # Takes, while one of them plays
    browser.button("3 new").click()
    browser.until(lambda: len(browser.all(".take-name")) == 3)
    browser.go(server, f"projects/{drums}")
    browser.press("HOME", "b", "SPACE")
    time.sleep(2.5)
    picture(browser, "takes")
    browser.press("SPACE", "b")

    # Stereo sound with a panned cue, and the settings of the sound
    server.render(drums, stereo=True)
    hits = [cue["id"] for cue in server.cues(drums) if cue["enabled"]]
    server.edit(drums, {"id": hits[0], "set": {"pan": -0.8}})
    browser.go(server, f"projects/{drums}")
    browser.until(lambda: browser.cue_times())
    browser.cue(hits[0]).click()
    time.sleep(2.0)
    picture(browser, "stereo")
    browser.button("Sound settings").click()
    time.sleep(0.5)
    picture(browser, "sound_settings")
    browser.press("ESCAPE")

    # The export dialog with the files of an export, and the list of keys
    browser.press("e")
    for label in ("EDL (CMX 3600)", "MIDI", "REAPER project"):
        browser.driver.find_element("xpath", f"//label[contains(., '{label}')]").click()
    browser.one("#start-export").click()
    browser.one(".export-files a")
    time.sleep(0.5)
    picture(browser, "export")
    exported = browser.all(".export-files a")[0].get_attribute("href")
    browser.press("ESCAPE", "?")
    time.sleep(0.5)
    picture(browser, "keys")
    browser.press("ESCAPE")

    # A video with a sound of its own, on a large screen
    with_sound = folder / "with sound.mp4"
    with_sound.write_bytes(server.client.get(exported).raise_for_status().content)
    browser.resize(3840, 2160)
    browser.go(server, f"projects/{server.upload(with_sound, 'take with sound.mp4')}")
    browser.press("n", "n", "n")
    time.sleep(3.0)
    picture(browser, "large_screen")
    browser.resize(1280, 720)

    # The list of projects, and a server that was stopped
    server.wait_until_ready(long_project)
    browser.driver.get(f"{server.address['url']}/#/")
    browser.until(lambda: len(browser.all(".card img")) == 3)
    time.sleep(1.0)
    picture(browser, "projects")


def drag_along_bottom(browser: StudioBrowser, lane: WebElement, width: int) -> None:
    """Selects the cues of a stretch in the middle of the lane, below their handles."""
    actions = ActionChains(browser.driver, duration=40)
    actions.move_to_element_with_offset(lane, -7, lane.size["height"] // 2 - 6).click_and_hold()
    actions.move_by_offset(width // 2, 0).move_by_offset(width // 2, 0).release().perform()


def picture(browser: StudioBrowser, name: str) -> None:
    """Stores what the window shows in at most 300 kB, with as many colours as fit."""
    image = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    if image.width > LARGEST_WIDTH:
        image = image.resize((LARGEST_WIDTH, image.height * LARGEST_WIDTH // image.width))
    path = PICTURES / f"{name}.png"
    for colours in (256, 128, 64, 32):
        image.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < LARGEST_BYTES:
            break
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1000} kB")


def repeated(video: Path, folder: Path, seconds: float) -> Path:
    """A copy of a video that repeats its pictures up to a length."""
    path = folder / f"{video.stem} {seconds:.0f} s.mp4"
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        rate = stream.average_rate
        output = target.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        output.width, output.height, output.pix_fmt = stream.width, stream.height, "yuv420p"
        frames = [frame.to_ndarray(format="yuv420p") for frame in source.decode(stream)]
        for index in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(frames[index % len(frames)], format="yuv420p")
            target.mux(output.encode(frame))
        target.mux(output.encode())
    return path


def print_speed(browser: StudioBrowser, server: StudioServer, folder: Path, edits: int) -> None:
    """Moves cues of a clip of 10 s by the pointer, and prints how soon each is audible."""
    video = repeated(EXAMPLES / "drums.mp4", folder, 10.0)
    for channels in ("mono", "stereo"):
        project = server.upload(video, "ten seconds.mp4")
        if channels == "stereo":
            server.render(project, stereo=True)
        browser.go(server, f"projects/{project}")
        time.sleep(3.0)
        measured = edit_times_ms(browser, server, project, edits)
        print(
            f"{len(measured)} edits of a clip of 10 s, {channels}: "
            f"median {statistics.median(measured):.0f} ms, "
            f"95th percentile {measured[int(0.95 * len(measured))]:.0f} ms, "
            f"largest {measured[-1]:.0f} ms"
        )


def edit_times_ms(
    browser: StudioBrowser, server: StudioServer, project: str, edits: int
) -> list[float]:
    """Times from the end of an edit to its sound, ascending, after three edits to warm up."""
    names = [cue["id"] for cue in server.cues(project) if cue["enabled"] and cue["time_s"] < 9.5]
    measured = []
    for index in range(edits + 3):
        revision = server.get(f"/projects/{project}")["revision"]
        browser.script("delete document.body.dataset.editToSoundMs")
        browser.drag(browser.cue(names[index % len(names)]), 9 if index % 2 else -9, 0)
        browser.until(lambda: browser.edit_to_sound_ms() > 0, f"edit {index}")
        assert server.get(f"/projects/{project}")["revision"] > revision
        measured.append(browser.edit_to_sound_ms())
    return sorted(measured[3:])


if __name__ == "__main__":
    main()
