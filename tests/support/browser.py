"""A browser for tests: headless Chromium, which runs a script next to an exported page."""

from __future__ import annotations

import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

import hashkit
from hashkit.errors import ConfigError
from hashkit.exporters.web.runtime import find_runtime

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

WEBGPU_IN_SOFTWARE = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
"""Arguments for WebGPU without a graphics card; without them, Chromium finds no adapter."""

WEBGPU_ON_GPU = ("--enable-gpu", "--enable-unsafe-webgpu", "--enable-features=Vulkan")
"""Arguments for WebGPU on a graphics card, which is disabled otherwise."""

PAGE = '<!doctype html><meta charset="utf-8"><script type="module" src="/test/run.js"></script>'
RUN = """
try {
  const { default: run } = await import("/test/script.js");
  await answer({ value: await run() });
} catch (error) {
  await answer({ error: `${error.stack ?? error}` });
}
async function answer(document) {
  await fetch("/test/answer", { method: "POST", body: JSON.stringify(document) });
}
"""


def until(seconds: int) -> str:
    """JavaScript of a function `until(isTrue)`, which waits for a condition with a time limit."""
    return f"""
async function until(isTrue) {{
  for (let tries = 0; tries < {20 * seconds}; tries++) {{
    if (isTrue()) return;
    await new Promise((done) => setTimeout(done, 50));
  }}
  throw new Error(`condition not met in time: ${{isTrue}}`);
}}
"""


def encode(encoder: hashkit.Encoder, images: Path, path: Path) -> hashkit.Bank:
    """Encode a folder of images into a bank, the database of a page."""
    from hashkit.datasets.sets import open_image_set
    from hashkit.workflow.encoding import EncodeOptions, encode_set

    found = open_image_set(str(images))
    encode_set(encoder, found, path, dataset="database", options=EncodeOptions())
    return hashkit.Bank.open(path)


def web_runtime() -> Path | None:
    """Folder of onnxruntime-web; None if it is not installed.

    Looks at ``$HASHKIT_ONNXRUNTIME_WEB``, then in this repository's node_modules.
    """
    named = os.environ.get("HASHKIT_ONNXRUNTIME_WEB")
    try:
        return find_runtime(Path(named) if named else Path(__file__).parents[2])
    except ConfigError:
        return None


def why_not() -> str | None:
    """Why browser tests cannot run here; None if they can."""
    if CHROMIUM is None:
        return "chromium is not installed"
    if web_runtime() is None:
        return "onnxruntime-web is missing (`make web-runtime`, or $HASHKIT_ONNXRUNTIME_WEB)"
    return None


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves folders by the first part of the path, and receives the script's answer."""

    def __init__(self, *args: Any, folders: dict[str, Path], site: Site, **kwargs: Any) -> None:
        self._folders, self._site = folders, site
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[0] not in self._folders or ".." in parts:
            return os.devnull + "/none"
        return str(self._folders[parts[0]].joinpath(*parts[1:])) + "/" * path.endswith("/")

    def do_GET(self) -> None:
        self._site.requests.append(self.path)
        pages = {"/test/": (PAGE, "text/html"), "/test/run.js": (RUN, "text/javascript")}
        pages["/test/script.js"] = (self._site.script, "text/javascript")
        if self.path not in pages:
            super().do_GET()
            return
        text, kind = pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._site.answers.put(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


class Site:
    """Serves folders on localhost, each under its name; use it as a context manager."""

    def __init__(self, **folders: Path) -> None:
        self.script = ""
        self.requests: list[str] = []
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        handler = functools.partial(_Handler, folders=folders, site=self)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def run(self, script: str, timeout: float = 240, *arguments: str) -> Any:
        """Run a module's default function in the browser, and return its result from JSON.

        Further arguments are passed to the browser.
        """
        self.script = script
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = open_browser(profile, *arguments, f"{self.address}/test/")
            try:
                answer = self.answers.get(timeout=timeout)
            finally:
                browser.terminate()
                browser.wait(30)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]


def open_browser(profile: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start headless Chromium with its own profile."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--no-first-run"]
    command += [] if set(WEBGPU_ON_GPU) <= set(arguments) else ["--disable-gpu"]
    command += ["--disable-dev-shm-usage", "--disable-background-networking"]
    command += [f"--user-data-dir={profile}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
