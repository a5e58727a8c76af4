# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium over the WebDriver protocol, with the standard library alone."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = (shutil.which(n) for n in ("chromium", "chromedriver"))
MISSING = "" if CHROMIUM and DRIVER else "no chromium and chromedriver (Debian: chromium, chromium-driver)"
KEYS = {
    "left": "\ue012",
    "up": "\ue013",
    "right": "\ue014",
    "down": "\ue015",
    "enter": "\ue007",
    "escape": "\ue00c",
    "shift": "\ue008",
}


class Browser:
    """One tab. `console()` returns what the page logged since the last call."""

    def __init__(self, address: str, session: str) -> None:
        self.base = f"{address}/session/{session}"

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return request(f"{self.base}/{path}", {} if body is None else body)

    def open(self, page: Path) -> None:
        self.call("url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        return self.call("execute/sync", {"script": script, "args": []})

    def settle(self) -> None:
        """Wait until what was asked for is drawn: two frames."""
        self.call(
            "execute/async", {"script": "const f=arguments[0];requestAnimationFrame(()=>requestAnimationFrame(f))", "args": []}
        )

    def move(self, x: float, y: float, *, click: bool = False) -> None:
        steps = [{"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}]
        steps += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}] if click else []
        self.call(
            "actions",
            {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}]},
        )
        self.settle()

    def press(self, *keys: str) -> None:
        """Keys one after the other; `shift+right` holds the first."""
        steps = []
        for key in keys:
            parts = [KEYS.get(k, k) for k in (key.split("+") if len(key) > 1 else [key])]
            steps += [{"type": "keyDown", "value": k} for k in parts] + [{"type": "keyUp", "value": k} for k in reversed(parts)]
        self.call("actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})
        self.settle()

    def dark(self, on: bool) -> None:
        self.devtools(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]}
        )
        self.settle()

    def devtools(self, cmd: str, params: dict[str, Any]) -> Any:
        return self.call("goog/cdp/execute", {"cmd": cmd, "params": params})

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        shot = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(shot["data"]))

    def console(self) -> list[str]:
        return [f"{e['level']}: {e['message']}" for e in self.call("se/log", {"type": "browser"})]


def request(url: str, body: dict[str, Any] | None, method: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method or None)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from None


@contextmanager
def browser(profile: Path, width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """A fresh Chromium without network, closed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        try:
            _wait(address)
            flags = [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                f"--window-size={width},{height}", f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND",
            ]  # fmt: skip
            wanted = {"goog:chromeOptions": {"binary": CHROMIUM, "args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}
            session = request(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            yield Browser(address, session)
            request(f"{address}/session/{session}", None, "DELETE")
        finally:
            driver.terminate()


def _wait(address: str) -> None:
    for _ in range(200):
        try:
            request(f"{address}/status", None)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("chromedriver does not answer")
