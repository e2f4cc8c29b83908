"""Local files on their way into a store and out of it; scratch is hostile."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from outlast_agent.stores.beneath import checked


def open_regular(path: Path) -> BinaryIO:
    """Open for reading, following no link at the end and waiting for no pipe. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return checked(descriptor, str(path))


def opened(data: bytes | Path) -> BinaryIO:
    """Bytes, or a file's content, to read from. Raises OSError."""
    return open_regular(data) if isinstance(data, Path) else io.BytesIO(data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears at ``path`` when the block ends well, else not at all.

    Not fsynced: whoever reads it after a power cut checks its hash. Raises OSError.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
