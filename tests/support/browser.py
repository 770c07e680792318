"""A headless Chromium, driven over its own protocol (DevTools) through two pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from laneway.local.packages import apt_install
from laneway.local.signals import termination_raises

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE = 30.0
# The browser reads commands from descriptor 3 and answers on 4.
_START = """
import fcntl, os, sys
ours = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
os.dup2(ours[0], 3)
os.dup2(ours[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--lang=en-US",
)


def find_chromium() -> str | None:
    """The program; root on Debian gets it installed where it is missing (64 MB to fetch).

    Raises:
        InstallFailed: apt could not.
    """
    if (found := _in_path()) or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return found
    with termination_raises():
        apt_install("chromium-headless-shell")
    return _in_path()


def _in_path() -> str | None:
    names = ("chromium", "chromium-browser", "chromium-headless-shell")
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """One page of a browser; use as a context manager.

    Args:
        program: of :func:`find_chromium`.
        profile: an empty folder for all that it keeps.
        width, height: of the page, in pixels.
    """

    def __init__(self, program: str, profile: Path, *, width: int = 1280, height: int = 900):
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # A browser that runs as root has no sandbox to offer.
        more = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _START, str(commands), str(answers)),
                *(program, *_OPTIONS, *more),
                *(f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"),
            ],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile), "TZ": "UTC"},
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        self._read = b""
        self._number = 0
        self._session: str | None = None
        try:
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = str(attached["sessionId"])
            self.resize(width, height)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        for end in (self._commands, self._answers):
            os.close(end)

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        answer = self._call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def fill(self, selector: str, text: str) -> None:
        """Write into a field as a person does."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Press a button or follow a link."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def wait_until(self, condition: str) -> None:
        """Wait until a condition, in JavaScript, holds."""
        until = time.monotonic() + _PATIENCE
        while not self._try(condition):
            assert time.monotonic() < until, f"never {condition}: {self.text[:2000]}"
            time.sleep(0.1)

    def run(self, code: str) -> Any:
        """What a line of JavaScript gives."""
        answer = self._call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    @property
    def path(self) -> str:
        """Where it is."""
        return str(self.run("location.pathname"))

    def picture(self, file: Path) -> None:
        """Save what is seen as PNG."""
        data = self._call("Page.captureScreenshot", format="png", optimizeForSpeed=False)["data"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(data))

    def resize(self, width: int, height: int) -> None:
        """Give the page other measures, in pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _try(self, condition: str) -> bool:
        try:
            return bool(self.run(condition))
        except AssertionError:
            return False  # between two pages there is nothing to ask

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        answer = self._wait_for(lambda said: said.get("id") == message["id"])
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE
        while True:
            while b"\0" in self._read:
                line, _, self._read = self._read.partition(b"\0")
                said: dict[str, Any] = json.loads(line)
                if wanted(said):
                    return said
            ready, _, _ = select.select([self._answers], [], [], max(0, until - time.monotonic()))
            assert ready, f"no answer within {_PATIENCE} s"
            chunk = os.read(self._answers, 1 << 16)
            assert chunk, f"the browser ended with status {self._process.poll()}"
            self._read += chunk
