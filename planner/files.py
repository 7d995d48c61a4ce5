"""Files that are whole or not there: what every output of the planner is written with."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from planner.errors import InputError

NEW_FILE_MODE = 0o666
"""Permissions of a new file, less what the process's umask takes away."""


def write_atomically(path: Path, data: bytes) -> Path:
    """Write the file under a temporary name in its folder, then put it in place; returns `path`.

    Folders on the way are made. A symbolic link at `path` is refused, since it could lead out of the folder that
    the user named. Raises InputError where the file cannot be written; nothing half-written stays behind.
    """
    if path.is_symlink():
        raise InputError(f"{path}: is a symbolic link; remove it or name another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(NEW_FILE_MODE & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as err:
        raise InputError(f"{path}: cannot be written: {err.strerror}") from None
    return path


def _umask() -> int:
    """The process's umask, which the system only tells by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
