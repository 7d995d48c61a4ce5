"""The PDF engine in a process of its own: it loads its libraries and fonts while the plan is still being made.

Half of a PDF's time is loading. A second process also keeps a crash of the layout libraries from taking the
plan with it.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from planner.errors import InputError, MissingPartError
from planner.report.pdf import render_pdf

MISSING_PART_CODE = 2
BAD_PAGE_CODE = 3
WARM_UP = "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>warm-up</title><h1>A</h1><p><b>1</b></p></html>"


class PdfProcess:
    """Started at once; takes one page. Leaving the context ends the process."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "planner.report.pdf_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.communicate()

    def send(self, html: str) -> None:
        """Hand over the page, made by `render_html`, and let the process lay it out while the caller goes on."""
        pipe = self._child.stdin
        if pipe is None:
            raise RuntimeError("one process takes one page")
        self._child.stdin = None
        # A child that is gone tells why when the PDF is fetched.
        with broken_pipes_are_errors(), contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(html.encode())

    def fetch(self) -> bytes:
        """The PDF of the page that was sent.

        Raises MissingPartError when the engine's libraries are missing or it died, InputError when the page
        wants to load something.
        """
        pdf, told = self._child.communicate()
        message = told.decode(errors="replace").strip()
        if self._child.returncode == 0:
            return pdf
        if self._child.returncode == BAD_PAGE_CODE:
            raise InputError(message)
        if self._child.returncode == MISSING_PART_CODE:
            raise MissingPartError(message)
        last = message.splitlines()[-1] if message else "no message"
        raise MissingPartError(f"the PDF engine ended with code {self._child.returncode}: {last}")


@contextlib.contextmanager
def broken_pipes_are_errors() -> Iterator[None]:
    """A child that is gone must not end this process, as the default of the command line would."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def main() -> int:
    """Warm up, read a page from stdin, write its PDF to stdout; the exit code says what went wrong."""
    gc.disable()
    problem: MissingPartError | None = None
    try:
        render_pdf(WARM_UP)
    except MissingPartError as err:
        problem = err
    html = sys.stdin.buffer.read().decode()
    if problem is not None:
        print(problem, file=sys.stderr)
        return MISSING_PART_CODE
    try:
        pdf = render_pdf(html)
    except InputError as err:
        print(err, file=sys.stderr)
        return BAD_PAGE_CODE
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
