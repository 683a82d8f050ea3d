"""A browser that tests use as a person does: by keys, clicks and the size of the window.

Headless Chromium is driven through its DevTools protocol, over a pipe. Unlike events from a script,
these keys and clicks act like those of a keyboard and a mouse: they move the focus, close dialogs
and go back in the history.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from browser import CHROMIUM

SECONDS = 60
"""How long `until` waits."""

NAVIGATED = "Inspected target navigated or closed"
"""Chromium's answer if a page is left before its JavaScript has ended."""

KEYS = {
    "Enter": ("\r", 13),
    "Tab": ("", 9),
    "Escape": ("", 27),
    " ": (" ", 32),
    "End": ("", 35),
    "Home": ("", 36),
    "ArrowLeft": ("", 37),
    "ArrowRight": ("", 39),
}
"""Text and key code of the keys that tests press."""


class PageLeftError(Exception):
    """A page was left before its JavaScript had ended."""


class Browser:
    """Headless Chromium with one page; use it as a context manager.

    `problems` lists exceptions of pages, and what their security policy blocked.
    """

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._buffer = b""
        self._last = 0
        self.problems: list[dict[str, Any]] = []
        requests, to_browser = os.pipe()
        from_browser, answers = os.pipe()
        arguments = [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            f"--user-data-dir={self._profile.name}",
            "--remote-debugging-pipe",
        ]
        # Chromium reads requests from descriptor 3 and writes answers to descriptor 4.
        shell = f"exec {shlex.join(arguments)} 3<&{requests} 4>&{answers}"
        self._process = subprocess.Popen(
            ["bash", "-c", shell],
            pass_fds=(requests, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(requests)
        os.close(answers)
        self._to, self._from = to_browser, from_browser
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            self._note(answer)
            if answer.get("id") == self._last:
                if answer.get("error", {}).get("message") == NAVIGATED:
                    raise PageLeftError(NAVIGATED)
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result

    def _note(self, event: dict[str, Any]) -> None:
        """Keep the faults of a page: exceptions, and what its security policy blocked."""
        method, entry = event.get("method"), event.get("params", {}).get("entry", {})
        if method == "Runtime.exceptionThrown" or entry.get("source") in ("security", "violation"):
            self.problems.append(event)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._from, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def window(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window, CSS pixels, and the colours that the user prefers."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Go to an address, and wait until its document and scripts are loaded."""
        self.ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page, from JSON; promises are awaited."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true.

        It counts as false while it raises an error or the page is left for another one.
        """
        end = time.monotonic() + SECONDS
        while not self._is_true(condition):
            assert time.monotonic() < end, f"not met in time: {condition}; {self.value(STATE)}"
            time.sleep(0.02)

    def _is_true(self, condition: str) -> bool:
        attempt = f"(() => {{ try {{ return Boolean({condition}) }} catch {{ return false }} }})()"
        try:
            return bool(self.value(attempt))
        except PageLeftError:
            return False

    def press(self, *keys: str, shift: bool = False, alt: bool = False) -> None:
        """Press keys, one after the other."""
        for key in keys:
            text, code = KEYS[key]
            press = {
                "key": key,
                "code": "Space" if key == " " else key,
                "windowsVirtualKeyCode": code,
                "modifiers": 8 * shift + alt,
            }
            self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **press)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **press)

    def write(self, text: str) -> None:
        """Type text into the element with the focus."""
        self.ask("Input.insertText", text=text)

    def drop(self, kind: str, data: str) -> None:
        """Drop data of a MIME type onto the upper left of the window."""
        items = {"items": [{"mimeType": kind, "data": data}], "dragOperationsMask": 1}
        for step in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=step, x=20, y=20, data=items)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in a file input."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    @contextlib.contextmanager
    def offline(self) -> Iterator[None]:
        """Make the page believe that there is no network."""
        self.ask("Network.enable")
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.ask("Network.emulateNetworkConditions", offline=True, **conditions)
        try:
            yield
        finally:
            self.ask("Network.emulateNetworkConditions", offline=False, **conditions)
            self.ask("Network.disable")

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save a picture of the window, or of the whole page, as PNG."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


STATE = "document.title + ' | ' + (document.getElementById('error')?.textContent ?? '')"
"""JavaScript of what a failure message shows of the page: its title and its error."""
