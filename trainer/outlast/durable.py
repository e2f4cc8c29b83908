"""Files that are whole or absent after any kill: temporary file, fsync, rename or link, fsync."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, fsync: bool = True) -> None:
    """Make ``folder`` and what it lies in, with names that are durable. Raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        if fsync:
            fsync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, fsync: bool = True) -> None:
    """Put ``data`` at ``path`` whole, over whatever is there. Raises OSError.

    ``fsync=False`` is for files that only a process on this same kernel reads (progress,
    notices): a reader still sees the old or the new file, never a mixture.
    """
    temporary = _write_temporary(path, data, fsync=fsync)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if fsync:
        fsync_folder(path.parent)


def create_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` only if nothing is there.

    Raises FileExistsError if ``path`` exists, OSError otherwise. A link, unlike a rename,
    fails when the name is taken, so of two writers exactly one wins.
    """
    temporary = _write_temporary(path, data, fsync=True)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def replace_json(path: Path, value: Any, *, fsync: bool = True) -> None:
    """:func:`replace_file` with ``value`` as JSON."""
    replace_file(path, json.dumps(value, allow_nan=False).encode(), fsync=fsync)


def read_json(path: Path, *, limit: int = 1 << 20) -> Any:
    """The JSON at ``path``, read without following a link, at most ``limit`` bytes.

    Raises FileNotFoundError, OSError for a link or anything but a regular file, and
    ValueError for too much or for what is not JSON.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - an opened descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} is longer than {limit} bytes")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep") from error


def _write_temporary(path: Path, data: bytes, *, fsync: bool) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return temporary
