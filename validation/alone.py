"""One run at a time in a folder, and none that leaves a child behind when it is told to end."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from validation.record import RecordError


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder for this run alone: two in one would end each other's trials and overwrite each other's records.

    Raises RecordError where it cannot be written, and where another run has it. The lock goes with the process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        handle = os.open(folder, os.O_RDONLY)
    except OSError as err:
        raise RecordError(f"{folder}: cannot be written: {err.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RecordError(f"{folder}: another run writes there; wait for its end or name another folder") from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """What a scheduler or a closed terminal sends ends the run as Ctrl-C does, so that no child is left on the card."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGHUP)}
    for sign, handler in before.items():
        if handler is not signal.SIG_IGN:  # under nohup a closed terminal is to mean nothing
            signal.signal(sign, signal.default_int_handler)
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
