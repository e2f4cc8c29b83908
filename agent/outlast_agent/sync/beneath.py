"""Reading a folder that a hostile program writes to: beneath it, no links, regular, bounded.

A program may put links, pipes, devices and huge or endless things wherever it can write, and
exchange them at any moment. So every part of a path is opened relative to the one before it
and without following links, and what was opened is what is checked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

MAX_NAMES = 100_000
"""A folder with more names is read no further."""

_PIECE = 1 << 20
"""Read and hashed at a time: it stays in the processor's cache in between."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class HostileError(OSError):
    """Something that an honest program does not put there."""


@contextmanager
def open_folder(root: Path, *parts: str) -> Iterator[int]:
    """A descriptor of the folder ``parts`` beneath ``root``. Raises OSError."""
    descriptor = os.open(root, _FOLDER)
    try:
        for part in parts:
            _check(part)
            below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_file(root: Path, *parts: str) -> Iterator[int]:
    """A descriptor of the regular file ``parts`` beneath ``root``. Raises OSError."""
    *folders, name = parts
    _check(name)
    with open_folder(root, *folders) as folder:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HostileError(f"{'/'.join(parts)!r:.200} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def names(root: Path, *parts: str) -> list[str]:
    """Names in a folder, at most :data:`MAX_NAMES`; none if it is not there. Raises OSError."""
    try:
        with open_folder(root, *parts) as folder, os.scandir(folder) as entries:
            return [entry.name for entry, _ in zip(entries, range(MAX_NAMES), strict=False)]
    except FileNotFoundError:
        return []


def read(root: Path, *parts: str, limit: int) -> bytes:
    """All of a file of at most ``limit`` bytes. Raises OSError."""
    with open_file(root, *parts) as descriptor, open(descriptor, "rb", closefd=False) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise HostileError(f"{'/'.join(parts)!r:.200} is longer than {limit} bytes")
    return data


@dataclass(frozen=True)
class Opened:
    """An open file that is an object, or a larger one that holds it."""

    descriptor: int
    start: int | None = None
    """Where the object begins; None: it is all of the file."""


def read_object(opened: Opened, into: memoryview, *, digest: str, name: str) -> memoryview:
    """Fill ``into`` with an object, which must be as long and have this xxh3-128.

    Raises OSError. What is hashed is the copy: the file may be changed meanwhile.
    """
    descriptor, first = opened.descriptor, opened.start or 0
    hasher = xxhash.xxh3_128()
    here = 0
    while here < len(into):
        piece = into[here : here + _PIECE]
        if not (count := os.preadv(descriptor, [piece], first + here)):
            break
        hasher.update(piece[:count])
        here += count
    longer = opened.start is None and os.pread(descriptor, 1, here)
    if here < len(into) or longer or hasher.hexdigest() != digest:
        raise HostileError(f"{name!r:.200} does not hold what its name says")
    return into


def _check(part: str) -> None:
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        raise HostileError(f"{part!r:.200} is not a name in a folder")
