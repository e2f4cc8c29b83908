"""How fast a disk takes bytes, measured by a short burst."""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

BYTES = 64 << 20
SECONDS = 1.0
"""A burst ends with the first of the two."""

_BLOCK = 8 << 20


def write_rate(folder: Path) -> float | None:
    """Bytes a second that reach the disk below ``folder``; None: it takes none."""
    try:
        descriptor, path = tempfile.mkstemp(dir=folder, prefix=".rate-")
    except OSError:
        return None
    try:
        return _measured(path)
    except OSError:
        return None
    finally:
        os.close(descriptor)
        with suppress(OSError):
            Path(path).unlink()


def _measured(path: str) -> float:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
    except OSError:  # not every file system can
        descriptor = os.open(path, os.O_WRONLY)
    try:
        with mmap.mmap(-1, _BLOCK) as block:
            block.write(os.urandom(1 << 20) * (_BLOCK >> 20))  # touched, and not to be left out
            began, written = time.perf_counter(), 0
            while written < BYTES and time.perf_counter() - began < SECONDS:
                written += os.write(descriptor, block)
            os.fsync(descriptor)
            return written / (time.perf_counter() - began)
    finally:
        os.close(descriptor)
