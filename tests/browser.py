"""Headless Chromium, driven over the WebDriver protocol (https://www.w3.org/TR/webdriver2/), which is HTTP and JSON."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
)
MISSING = "needs Chromium and its driver: apt-get install chromium chromium-driver"
PATIENCE_S = 60


class Browser:
    """One window."""

    def __init__(self, driver_url: str) -> None:
        self.driver_url = driver_url
        self.address = ""
        options = {
            "binary": str(CHROMIUM),
            "args": list(FLAGS),
            "perfLoggingPrefs": {"enableNetwork": True},
        }
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        self.session = ""
        self.session = "/session/" + self._call("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _call(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.driver_url + self.session + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Go there, and wait until the page says that it is ready."""
        self.go(url)
        ready = "const f = () => document.documentElement.dataset.ready ? arguments[0](1) : setTimeout(f, 50); f()"
        self.wait(ready)

    def go(self, url: str) -> None:
        """Go there."""
        self._call("/url", {"url": url})

    def wait(self, script: str) -> Any:
        """What the script hands to its callback, arguments[0]."""
        return self._call("/execute/async", {"script": script, "args": []})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a function's body in the page."""
        return self._call("/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools protocol."""
        return self._call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width_px: int, theme: str, medium: str = "screen", height_px: int = 900) -> None:
        """Screen width, preferred theme (light or dark), screen or print."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False
        )
        self.devtools(
            "Emulation.setEmulatedMedia", media=medium, features=[{"name": "prefers-color-scheme", "value": theme}]
        )

    def screenshot(self, beyond: bool = True) -> bytes:
        """The page as PNG: all of it, or what the window shows."""
        return base64.b64decode(self.devtools("Page.captureScreenshot", captureBeyondViewport=beyond)["data"])

    def complaints(self) -> list[str]:
        """Warnings and errors on the console since the last look."""
        entries = self._call("/se/log", {"type": "browser"})
        return [one["message"] for one in entries if one["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """Addresses asked for since the last look."""
        events = [json.loads(one["message"])["message"] for one in self._call("/se/log", {"type": "performance"})]
        return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """End the browser."""
        self._call("", {}, method="DELETE")


@contextmanager
def browser() -> Iterator[Browser]:
    """A window, closed in the end, with its driver."""
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        window = Browser(f"http://127.0.0.1:{port}")
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait()
