"""A real Chromium, driven by the W3C protocol through chromedriver, with nothing but the standard library."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
HIGHEST = 12000  # pixels of a screenshot


class Browser:
    """One window."""

    def __init__(self, port: int, profile: str) -> None:
        self._base = f"http://127.0.0.1:{port}/session"
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._base += "/" + self._ask("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, page: Path, width: int, *, scripts: bool = True, media: str = "", **features: str) -> None:
        """Show a page in a window of that width; `features` are media features, prefers_color_scheme="dark"."""
        narrow = width < 600
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=narrow)
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.cdp("Emulation.setEmulatedMedia", media=media, features=wanted)
        self._ask("/url", {"url": page.as_uri()})

    def ask(self, script: str) -> Any:
        """What an expression of JavaScript comes to."""
        return self._ask("/execute/sync", {"script": f"return {script}", "args": []})

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        found = self._ask("/element", {"using": "css selector", "value": selector})
        self._ask(f"/element/{next(iter(found.values()))}/value", {"text": text})

    def console(self) -> list[str]:
        """What was written to the console since the last call."""
        return [entry["message"] for entry in self._ask("/se/log", {"type": "browser"})]

    def screenshot(self, path: Path, width: int) -> bytes:
        """The whole page as PNG."""
        height = min(self.cdp("Page.getLayoutMetrics")["cssContentSize"]["height"], HIGHEST)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path.read_bytes()

    def cdp(self, command: str, **parameters: Any) -> Any:
        """A command of Chrome's own protocol."""
        return self._ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def close(self) -> None:
        """End the browser."""
        with urllib.request.urlopen(urllib.request.Request(self._base, method="DELETE"), timeout=60):
            pass

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with an empty profile."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert driver.stdout
        said = (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)
        port = next(int(found[1]) for found in said if found)
        with tempfile.TemporaryDirectory() as profile:
            window = Browser(port, profile)
            try:
                yield window
            finally:
                window.close()
    finally:
        driver.terminate()
        driver.wait()
