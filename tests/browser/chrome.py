"""A headless Chromium spoken to over two pipes (DevTools protocol): no socket, no driver, no further package."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)
END = b"\0"
COMMANDS, ANSWERS = 3, 4
"""Descriptors that the browser reads commands from and writes answers to."""
ABOVE_STANDARD = 10
"""Descriptors of ours are at least this, so that none is in the way."""


class NoBrowserError(Exception):
    """There is no Chromium on this machine."""


def find_chromium() -> str:
    """The browser's program. Raises NoBrowserError, with the way out, where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise NoBrowserError(f"none of {', '.join(NAMES)} is on this machine; on Debian: apt-get install chromium")
    return found


@dataclass
class Chrome:
    """A running browser."""

    to_browser: int
    from_browser: int
    last_id: int = 0
    buffer: bytes = b""
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """The result of one command; events that arrive meanwhile are kept."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self.to_browser, json.dumps(message).encode() + END)
        while True:
            answer = self.read()
            if answer.get("id") == self.last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def read(self) -> Mapping[str, Any]:
        """The next message of the browser; an event is kept too."""
        while END not in self.buffer:
            data = os.read(self.from_browser, 1 << 16)
            assert data, "the browser is gone"
            self.buffer += data
        text, self.buffer = self.buffer.split(END, 1)
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def wait_for(self, event: str, session: str) -> None:
        """Until the page has told of an event."""
        while not any(e["method"] == event and e.get("sessionId") == session for e in self.events):
            self.read()


@dataclass
class Page:
    """A page that is loaded."""

    chrome: Chrome
    session: str

    def value(self, script: str) -> Any:
        """What a script gives; promises are waited for."""
        result = self.chrome.call(
            "Runtime.evaluate", self.session, expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def show_as(self, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """In a window of a size, for someone who has chosen a colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.call("Emulation.setDeviceMetricsOverride", self.session, **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.chrome.call("Emulation.setEmulatedMedia", self.session, features=features)

    def happened(self, *events: str) -> list[Mapping[str, Any]]:
        """Events of this page so far."""
        return [e["params"] for e in self.chrome.events if e["method"] in events and e.get("sessionId") == self.session]


@contextlib.contextmanager
def browser() -> Iterator[Chrome]:
    """A browser of its own with an empty profile. Raises NoBrowserError as `find_chromium`."""
    program = find_chromium()
    commands_out, commands_in = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE_STANDARD) for fd in os.pipe())
    answers_out, answers_in = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE_STANDARD) for fd in os.pipe())

    def as_expected() -> None:
        os.dup2(commands_out, COMMANDS)
        os.dup2(answers_in, ANSWERS)

    with tempfile.TemporaryDirectory() as profile:
        child = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=as_expected,
            pass_fds=(COMMANDS, ANSWERS),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(answers_in)
        try:
            yield Chrome(commands_in, answers_out)
        finally:
            child.terminate()
            child.wait(timeout=20)
            os.close(commands_in)
            os.close(answers_out)


@contextlib.contextmanager
def open_page(chrome: Chrome, path: Path) -> Iterator[Page]:
    """A file in a tab of its own."""
    target = chrome.call("Target.createTarget", url="about:blank")["targetId"]
    session = chrome.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        chrome.call(f"{domain}.enable", session)
    page = Page(chrome, session)
    page.show_as(width=1280)
    chrome.call("Page.navigate", session, url=path.as_uri())
    chrome.wait_for("Page.loadEventFired", session)
    yield page
    chrome.call("Target.closeTarget", targetId=target)
