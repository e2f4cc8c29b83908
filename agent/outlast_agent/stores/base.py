"""What a store is: durable, shared, create-only. Six methods; every store passes one suite.

Keys are relative, ``/`` between parts, printable ASCII. All methods may be called from any
thread. Each call has its own time limit; none waits for ever.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class StoreError(Exception):
    """Something about a store; the message names the operation, the key and what to do."""


class NotFoundError(StoreError):
    """Nothing is at this key. This is proof, not a failure."""


class AlreadyExistsError(StoreError):
    """Something is at this key already; it was left as it is."""


class RefusedError(StoreError):
    """The store says no, and will again: credentials, permission, a name that does not exist."""


class UnavailableError(StoreError):
    """The store did not answer or answered with a fault of its own: try again later."""


class NoLoginError(UnavailableError):
    """No credentials are set, and no identity of the machine answers: there is none, or not yet."""


@dataclass(frozen=True)
class Entry:
    """One line of a listing."""

    key: str
    size: int
    """Bytes."""


class Store(ABC):
    """A place for keys and bytes. All methods raise the errors above.

    OSError is raised only for a local file: one given to ``create`` that cannot be read (it is
    gone, it is a link), or one that ``fetch`` cannot write.
    """

    url: str
    """As the user wrote it, without credentials."""

    @abstractmethod
    def create(self, key: str, data: bytes | memoryview | Path) -> None:
        """Store ``data`` (bytes, or a file's content) durably if nothing is at ``key``.

        The bytes of a memoryview must stay as they are until this returns.

        Whole or not at all. Raises AlreadyExistsError if something is there. If the answer is
        lost (UnavailableError), it may have been stored: read it back and compare a nonce.
        """

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` at ``key`` over whatever is there; for ``beats/`` and ``controllers/``."""

    @abstractmethod
    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        """The bytes at ``key``. Raises NotFoundError; StoreError if longer than ``limit``."""

    @abstractmethod
    def fetch(self, key: str, path: Path) -> str:
        """Write the bytes at ``key`` to the file ``path``, which is whole once it returns.

        What it returns is their XXH3-128 in hex, taken as they arrived.
        """

    @abstractmethod
    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """Entries whose key starts with ``prefix`` and sorts after ``after``, in key order.

        ``prefix`` is a plain prefix of the key, not a folder: ``signals/digits-`` works.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove ``key``; nothing there is fine."""
