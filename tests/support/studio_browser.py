"""The page of the studio in a headless Chromium, driven by its WebDriver as a user would."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from support.studio_server import StudioServer

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
PAGE = Path(__file__).resolve().parents[2] / "foleyflow" / "studio" / "page" / "index.html"
NEEDED = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromium-driver"),
    pytest.mark.skipif(not PAGE.exists(), reason="needs the built page: make setup"),
]
TIMEOUT_S = 20.0
T = TypeVar("T")


class StudioBrowser:
    """One window that shows the page of a server."""

    def __init__(self, width: int = 1280, height: int = 720, *, colours: str = "dark") -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for flag in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            # Nothing leaves the machine
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.resize(width, height)
        self.use_colours(colours)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def use_colours(self, colours: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": colours}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, server: StudioServer, place: str = "") -> None:
        """Opens the page by the newest link of the server, which is used up by that."""
        address = re.escape(server.address["url"])
        links = re.findall(rf"{address}/\?token=[\w-]+", server.errors)
        self.driver.get(links[-1] if links else server.address["link"])
        self.one(".home")
        if place:
            self.go(server, place)

    def go(self, server: StudioServer, place: str) -> None:
        self.driver.get("about:blank")  # a change of the fragment alone does not load the page
        self.driver.get(f"{server.address['url']}/#/{place}")
        if place.startswith("projects/"):
            self.one(".project .cue")

    def quit(self) -> None:
        self.driver.quit()

    def one(self, selector: str) -> WebElement:
        """The first element of a selector, when it exists."""
        return self.until(lambda: next(iter(self.all(selector)), None), selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def button(self, label: str) -> WebElement:
        path = f"//button[normalize-space()='{label}']"
        return self.until(
            lambda: next(iter(self.driver.find_elements(By.XPATH, path)), None), label
        )

    def until(self, condition: Callable[[], T | None], what: object = "") -> T:
        """The first value of a condition that is not false.

        An element that the page replaces while the condition reads it counts as false.
        """
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            with contextlib.suppress(StaleElementReferenceException):
                if value := condition():
                    return value
            assert time.monotonic() < end_s, f"waited in vain for {what}; {self.messages()}"
            time.sleep(0.05)

    def script(self, text: str, *arguments: object) -> Any:
        return self.driver.execute_script(text, *arguments)

    def press(self, *keys: str) -> None:
        """Presses keys one after the other; "Control+z" holds one while it presses another."""
        actions = ActionChains(self.driver)
        for key in keys:
            *held, last = key.split("+") if len(key) > 1 else [key]
            for name in held:
                actions.key_down(getattr(Keys, name.upper()))
            actions.send_keys(getattr(Keys, last.upper(), last) if len(last) > 1 else last)
            for name in held:
                actions.key_up(getattr(Keys, name.upper()))
        actions.perform()

    def drag(self, element: WebElement, dx: float, dy: float, *, key: str | None = None) -> None:
        actions = ActionChains(self.driver, duration=40).click_and_hold(element)
        if key:
            actions.key_down(key)
        actions.move_by_offset(round(dx / 2), round(dy / 2))
        actions.move_by_offset(round(dx) - round(dx / 2), round(dy) - round(dy / 2)).release()
        if key:
            actions.key_up(key)
        actions.perform()

    def double_click(self, element: WebElement, x: float, y: float) -> None:
        """Double clicks at a place from the upper left corner of an element."""
        size = element.size
        offset = (round(x - size["width"] / 2), round(y - size["height"] / 2))
        actions = ActionChains(self.driver, duration=40)
        actions.move_to_element_with_offset(element, *offset).double_click().perform()

    def cue(self, name: str) -> WebElement:
        return self.one(f".cue[data-id='{name}'] .handle")

    def cue_times(self) -> list[float]:
        """Times of the cues in view, as the page shows them."""
        return self.script(
            "return [...document.querySelectorAll('.cue')].map(cue => Number(cue.dataset.time))"
        )

    def selected(self) -> list[str]:
        """Descriptions of the selected cues, as a screen reader reads them."""
        return self.script(
            "return [...document.querySelectorAll('.cue[aria-selected=true]')]"
            ".map(cue => cue.getAttribute('aria-label'))"
        )

    def x_of(self, time_s: float, duration_s: float) -> float:
        """The pixel of a time in the lanes, while they show the complete clip."""
        return time_s / duration_s * self.one(".cue-lane").size["width"]

    def wave_height(self, x: float, width: float = 12) -> float:
        """Mean height in pixels of the drawn wave right of a column of the lane."""
        return self.script(
            """
            const canvas = document.querySelector('.sound-lane canvas');
            const ratio = canvas.width / canvas.clientWidth;
            const wide = Math.round(arguments[1] * ratio);
            const {data, height} = canvas.getContext('2d')
                .getImageData(Math.round(arguments[0] * ratio), 0, wide, canvas.height);
            let drawn = 0;
            for (let at = 3; at < data.length; at += 4) drawn += data[at] > 128;
            return drawn / wide / ratio;
            """,
            x,
            width,
        )

    def messages(self) -> str:
        return self.script("return document.querySelector('.messages')?.innerText ?? ''")

    def edit_to_sound_ms(self) -> float:
        return float(self.script("return document.body.dataset.editToSoundMs ?? 'NaN'"))

    def errors(self) -> list[str]:
        """Errors in the console since the last call, such as refused scripts."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]
