"""Chromium without a window, driven over a pipe by its DevTools protocol."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_SECONDS = 60.0
"""The longest wait for an answer."""


def executable() -> str | None:
    """The path in $CHROMIUM, or of the first browser that is installed; else None."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A page of a running Chromium, and everything that it complained about.

    Attributes:
      complaints: texts of errors and warnings of the console, of uncaught exceptions
        and of what could not be loaded.
      requests: addresses that the page asked for.
    """

    def __init__(self, send: int, receive: int):
        self._send, self._receive = send, receive
        self._pending, self._last, self._session = b"", 0, ""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, path: Path, *, width: int = 1100, media: str = "screen") -> None:
        """Loads a file in a window of a width, a telephone's if it is narrow."""
        self.complaints.clear()
        self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=850,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Emulation.setEmulatedMedia", media=media)
        self._loaded = False
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not self._loaded:
            self._next()

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def click(self, element: str) -> None:
        """Clicks with the mouse on what an expression of JavaScript finds."""
        x, y = self.evaluate(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        look = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **look)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses and releases a key."""
        look = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **look)

    def _next(self) -> dict[str, Any]:
        """The next message; what the page complains about is kept."""
        end = time.monotonic() + _SECONDS
        while b"\0" not in self._pending:
            left = end - time.monotonic()
            if not select.select([self._receive], [], [], max(left, 0))[0]:
                raise TimeoutError(f"Chromium said nothing for {_SECONDS} seconds")
            part = os.read(self._receive, 1 << 20)
            if not part:
                raise EOFError("Chromium closed its pipe")
            self._pending += part
        line, _, self._pending = self._pending.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", details).get("description"))
        elif method == "Runtime.consoleAPICalled":
            if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


@contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """A running Chromium, which is ended in the end."""
    send, commands = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # The protocol's pipe is file descriptors 3 and 4 of the browser.
        script = f'exec "$0" "$@" 3<&{send[0]} 4>&{commands[1]}'
        arguments = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            f"--user-data-dir={home}",
        ]
        process = subprocess.Popen(
            ["bash", "-c", script, program, *arguments],
            pass_fds=(send[0], commands[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(send[0])
        os.close(commands[1])
        try:
            yield Browser(send[1], commands[0])
        finally:
            process.terminate()
            process.wait()
            os.close(send[1])
            os.close(commands[0])
