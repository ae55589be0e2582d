"""Headless Chromium for the tests: one process for many pages, driven over a pipe.

    with Browser() as browser:
        seen = browser.open(file, width=360, dark=True)

It speaks the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) on two file
descriptors, so nothing has to be installed beside Chromium.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
HEIGHT = 900
SETTLED = """new Promise(done => setTimeout(done, 20)).then(() => new Promise(done =>
  requestAnimationFrame(() => requestAnimationFrame(done))))"""


def missing() -> str | None:
    """Why there is no browser here, or None."""
    if any(map(shutil.which, NAMES)):
        return None
    return "no Chromium here: apt-get install chromium"


@dataclass(frozen=True)
class Seen:
    """complaints: errors and warnings of the page's console, and exceptions that nobody caught.
    width: of the window. wrong: what is wider, by its right end in pixels, and words that lie on
    others. ground: how bright the upper left corner is, 0 to 255 for red, green and blue.
    """

    complaints: list[str]
    width: int
    wrong: list[str]
    ground: tuple[int, int, int]


# In the page: what Seen calls wrong. What scrolls by itself (overflow-x) may hold more.
WIDE = """(() => {
  const wide = [], width = innerWidth;
  const scrolls = (e) => e && e instanceof HTMLElement && e !== document.body &&
    e !== document.documentElement && getComputedStyle(e).overflowX !== "visible";
  const inside = (e) => { for (let p = e.parentElement; p; p = p.parentElement)
    if (scrolls(p)) return true; return false; };
  for (const e of document.querySelectorAll("*")) {
    const box = e.getBoundingClientRect();
    if (box.width && box.height && box.right > width + 1 && !inside(e))
      wide.push(`${e.tagName} ${e.id} ${(e.textContent || "").slice(0, 30)}: ${box.right}`);
  }
  const words = [...document.querySelectorAll("svg text")].filter((e) => e.textContent.trim());
  const boxes = words.map((e) => [e, e.getBoundingClientRect()]).filter(([, b]) => b.width);
  boxes.forEach(([e, a], k) => boxes.slice(k + 1).forEach(([f, b]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    const same = e.ownerSVGElement === f.ownerSVGElement;
    if (same && across > 1 && down > Math.min(a.height, b.height) / 3)
      wide.push(`"${e.textContent}" lies on "${f.textContent}"`);
  }));
  const whole = document.scrollingElement?.scrollWidth ?? 0;
  if (whole > width) wide.push(`the page: ${whole}`);
  return wide;
})()"""


class Browser:
    """Use it in a `with`; RuntimeError where the browser does not start or ends."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._last = 0
        self._kept: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            raise RuntimeError(missing())
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        # Chromium reads from 3 and writes to 4.
        line = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, program, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._from = os.fdopen(ours_in, "rb")
        self._to = os.fdopen(ours_out, "wb")
        self._left = b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._from.close()
        with contextlib.suppress(BrokenPipeError):
            self._to.close()
        self._profile.cleanup()

    _session: str | None = None

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found
            self._kept.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._from.fileno(), 1 << 16)
            if not more:
                raise RuntimeError("the browser ended")
            self._left += more
        line, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def open(self, page: Path, width: int, dark: bool) -> Seen:
        """Load a page in a window of this width, and tell what is wrong with it."""
        self._kept.clear()
        self._set(width, dark)
        self._call("Page.navigate", url=page.as_uri())
        while not any(m.get("method") == "Page.loadEventFired" for m in self._kept):
            self._kept.append(self._read())
        return self._look(width)

    def turn(self, width: int, dark: bool) -> Seen:
        """The same page after its window or the reader's system has changed."""
        self._kept.clear()
        self._set(width, dark)
        return self._look(width)

    def _set(self, width: int, dark: bool) -> None:
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def _look(self, width: int) -> Seen:
        self.run(SETTLED)
        return Seen(self._complaints(), width, self.run(WIDE), self._corner())

    def _complaints(self) -> list[str]:
        found = []
        for m in self._kept:
            about = m.get("params", {})
            if m.get("method") == "Runtime.exceptionThrown":
                details = about["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            if m.get("method") == "Log.entryAdded" and about["entry"]["level"] != "info":
                found.append(about["entry"]["text"])
            if m.get("method") == "Runtime.consoleAPICalled" and about["type"] != "log":
                found.append(f"{about['type']}: {about['args']}")
        return found

    def run(self, script: str) -> Any:
        """The value of an expression in the page; RuntimeError where it throws."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        found = self._call("Runtime.evaluate", **asked)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def _corner(self) -> tuple[int, int, int]:
        """The pixel there, from a PNG of one pixel in 8 bits a channel."""
        clip = {"x": 0, "y": 0, "width": 1, "height": 1, "scale": 1}
        shot = base64.b64decode(self._call("Page.captureScreenshot", clip=clip)["data"])
        parts, at = b"", 8
        while at < len(shot):
            end = at + 8 + int.from_bytes(shot[at : at + 4], "big")
            parts += shot[at + 8 : end] if shot[at + 4 : at + 8] == b"IDAT" else b""
            at = end + 4
        row = zlib.decompress(parts)
        return row[1], row[2], row[3]  # after the row's filter, which changes no first pixel

    def picture(self) -> bytes:
        """The whole page as it is now, a PNG."""
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=True, **self._whole())
        return base64.b64decode(shot["data"])

    def _whole(self) -> dict[str, Any]:
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "x": 0, "y": 0, "scale": 1}}
