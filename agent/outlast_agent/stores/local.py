"""Local files on their way into a store and out of it; scratch is hostile."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import xxhash

from outlast_agent.stores.beneath import checked

_CHUNK = 1 << 20


def open_regular(path: Path) -> BinaryIO:
    """Open for reading, following no link at the end and waiting for no pipe. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return checked(descriptor, str(path))


def opened(data: bytes | memoryview | Path) -> BinaryIO:
    """Bytes, or a file's content, to read from. Raises OSError."""
    return open_regular(data) if isinstance(data, Path) else io.BytesIO(data)


def size_of(source: BinaryIO) -> int:
    """Bytes from here to the end, as it is now: who writes to it still may do so for ever."""
    here = source.tell()
    size = source.seek(0, io.SEEK_END) - here
    source.seek(here)
    return size


def copy(source: BinaryIO, target: BinaryIO) -> None:
    """Write to ``target`` what ``source`` holds now. Raises OSError."""
    left = size_of(source)
    while piece := source.read(min(left, _CHUNK)):
        target.write(piece)
        left -= len(piece)


def receive(pieces: Iterable[bytes], path: Path) -> str:
    """Write ``pieces`` to a file that appears at ``path`` when all are there; their XXH3-128.

    Raises OSError, and what ``pieces`` raises.
    """
    digest = xxhash.xxh3_128()
    with whole_file(path) as target:
        for piece in pieces:
            target.write(piece)
            digest.update(piece)
    return digest.hexdigest()


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
