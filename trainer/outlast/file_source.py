"""An output file as it is handed from the snapshot to the writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Content = tuple[str, int]
"""xxh3-128 in hex and length of a run of bytes."""
FILE_CHUNK = 4 << 20
"""Output files are compared with the previous save in runs of this many bytes."""


class OutputChangedError(OSError):
    """An output file did not stay as it was while it was saved."""


class OutputUnreadableError(OSError):
    """An output file or folder cannot be read."""


@dataclass(frozen=True)
class FileSource:
    """An output file as it was when the snapshot was taken."""

    path: str
    size: int
    read: Callable[[int, int], bytes]
    """(offset, length) to exactly those bytes; raises OSError."""
    contents: tuple[Content, ...] | None = None
    """Its runs of FILE_CHUNK bytes, if it did not change since the previous save."""
