"""What every test gets: no network, and golden files that show their difference."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
Golden = Callable[[str | Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Rewrite the golden files with what the code gives.")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches a network: connecting anywhere but to this machine's own sockets fails."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError(f"a test wants to connect to {address!r}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def update_golden(pytestconfig: pytest.Config) -> bool:
    """Did the caller ask to rewrite golden files?"""
    return bool(pytestconfig.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Golden:
    """Compare a text with a committed file, by its name in tests/golden or by its path.

    On a mismatch it prints the difference and saves the new text beside the file.
    """

    def compare(name: str | Path, text: str) -> None:
        check_golden(GOLDEN / name, text, update=update_golden)

    return compare


def check_golden(path: Path, text: str, *, update: bool) -> None:
    """Fail where the text differs from the file, or rewrite the file when `update` is set."""
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if known == text:
        return
    actual = (path if path.is_relative_to(GOLDEN) else GOLDEN / path.name).with_suffix(path.suffix + ".actual")
    actual.parent.mkdir(parents=True, exist_ok=True)
    actual.write_text(text, encoding="utf-8")
    lines = difflib.unified_diff(known.splitlines(), text.splitlines(), str(path), str(actual), lineterm="")
    pytest.fail("\n".join(["differs from its golden file; --update-golden rewrites it", *list(lines)[:200]]))
