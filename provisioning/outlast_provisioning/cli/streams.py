"""Standard output as it may be: of another encoding, full, or a pipe that nobody reads."""

from __future__ import annotations

import errno
import io
import os
import sys

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def take_any_text() -> None:
    r"""Letters that the encoding of the terminal lacks are written out, as ``\xe9``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_bytes(data: bytes) -> None:
    """All of ``data`` to stdout: one write takes a part only where Python does not buffer."""
    sys.stdout.flush()
    left = memoryview(data)
    while left:
        left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()


def is_of_output(error: OSError) -> bool:
    """Whether ``error`` is of writing to a stream: no file has to do with it."""
    return error.filename is None and error.errno in _CANNOT_WRITE


def abandon() -> None:
    """Write nothing more: what is left in the buffers would fail again when Python leaves."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
