"""S3, Azure Blob and Google Cloud Storage as stores, through obstore.

Create-only is the server's doing: a conditional request (``If-None-Match: *``). Nothing is
retried here; :mod:`outlast_agent.stores.retrying` does that for every kind of request.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from outlast_agent.stores.base import (
    AlreadyExistsError,
    Entry,
    NotFoundError,
    RefusedError,
    Store,
    StoreError,
)
from outlast_agent.stores.keys import check_key, check_prefix
from outlast_agent.stores.local import opened, receive, size_of
from outlast_agent.stores.object_errors import translate
from outlast_agent.stores.patience import Patience

if TYPE_CHECKING:
    from obstore import GetOptions  # only there for type checkers

Client = S3Store | AzureStore | GCSStore
ClientFactory = Callable[[float], Client]
"""A client whose requests may each take this many seconds."""

READ_BYTES = 16 << 20
"""Larger objects are read in ranges of this size, so that each request has a short limit."""

RECORD_BYTES = 1 << 20
"""What is read first of something that is probably small, so that a hang is noticed soon."""

LARGE_BYTES = 256 << 20
"""Larger files are uploaded in parts instead of from memory (see :meth:`ObjectStore.create`)."""


class ObjectStore(Store):
    """A :class:`Store` in a bucket or container."""

    def __init__(
        self, url: str, connect: ClientFactory, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``connect`` makes a client that works below the URL's prefix."""
        self.url = url
        self._connect = connect
        self._clock = clock
        self._clients: dict[float, Client] = {}
        self._lock = threading.Lock()
        self._up = Patience()
        self._down = Patience()

    def create(self, key: str, data: bytes | memoryview | Path) -> None:
        """See :meth:`Store.create`.

        A file of more than ``LARGE_BYTES`` goes up in parts, which no client can do with a
        condition: it is checked first that nothing is there, and of two writers at the same
        time the last one wins. Only ``outputs/<attempt>/`` holds files as large, and only the
        daemon that holds the claim writes there.
        """
        check_key(key, operation="create")
        if isinstance(data, Path) or len(data) > LARGE_BYTES:
            with opened(data) as source:
                size = size_of(source)
                if size > LARGE_BYTES:
                    self._create_large(key, source, size)
                    return
                content: bytes | memoryview = source.read(size)
        else:
            content = data  # sent from where it lies: a copy takes as long as sending it
        with self._request("create", key, len(content), self._up) as client:
            obstore.put(client, key, content, mode="create", use_multipart=False)

    def put(self, key: str, data: bytes) -> None:
        """See :meth:`Store.put`."""
        check_key(key, operation="put")
        with self._request("put", key, len(data), self._up) as client:
            obstore.put(client, key, data, use_multipart=False)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        """See :meth:`Store.read`."""
        size, pieces = self._open(key, "read", RECORD_BYTES)
        if size > limit:
            raise StoreError(f"read of {key} in {self.url}: it is longer than {limit} bytes")
        return b"".join(pieces)

    def fetch(self, key: str, path: Path) -> str:
        """See :meth:`Store.fetch`."""
        _size, pieces = self._open(key, "fetch", READ_BYTES)
        return receive(pieces, path)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """See :meth:`Store.list`."""
        return self._walk(check_prefix(prefix, operation="list"), after)

    def delete(self, key: str) -> None:
        """See :meth:`Store.delete`."""
        check_key(key, operation="delete")
        with (
            contextlib.suppress(NotFoundError),
            self._request("delete", key, 0, self._up) as client,
        ):
            obstore.delete(client, key)

    def _create_large(self, key: str, source: BinaryIO, size: int) -> None:
        with (
            contextlib.suppress(NotFoundError),
            self._request("create", key, 0, self._down) as client,
        ):
            obstore.head(client, key)
            raise AlreadyExistsError(f"create of {key} in {self.url}: it exists")
        # The limit holds for each request, a part or the completion; four share the link.
        with self._request("create", key, 4 * READ_BYTES, self._up, learn=False) as client:
            obstore.put(
                client,
                key,
                source,
                use_multipart=True,
                chunk_size=max(READ_BYTES, size // 5000),  # S3 takes 10,000 parts
                max_concurrency=4,
            )

    def _open(self, key: str, operation: str, expected: int) -> tuple[int, Iterator[bytes]]:
        """Size of the object, and its bytes piece by piece, ``expected`` of them first."""
        check_key(key, operation=operation)
        try:
            first, size, tag = self._range(key, operation, 0, expected, None)
        except RefusedError as error:
            # A range of an object without bytes cannot be satisfied (416); its head can be had.
            if "status code: 416" not in str(error.__cause__):
                raise
            with self._request(operation, key, 0, self._down) as client:
                if obstore.head(client, key)["size"]:
                    raise
            return 0, iter(())

        def pieces() -> Iterator[bytes]:
            yield first
            for start in range(expected, size, READ_BYTES):
                yield self._range(key, operation, start, min(start + READ_BYTES, size), tag)[0]

        return size, pieces()

    def _range(
        self, key: str, operation: str, start: int, end: int, tag: str | None
    ) -> tuple[bytes, int, str | None]:
        options: GetOptions = {"range": (start, end)}
        if tag:
            options["if_match"] = tag
        with self._request(operation, key, end - start, self._down) as client:
            answer = obstore.get(client, key, options=options)
            return answer.bytes().to_bytes(), answer.meta["size"], answer.meta["e_tag"]

    def _walk(self, prefix: str, after: str) -> Iterator[Entry]:
        # The client lists folders only; a part of a name is told apart here. An offset is
        # exclusive, so the prefix without its last letter leaves out nothing that counts.
        folder = prefix[: prefix.rfind("/") + 1]
        offset = max(after, prefix[:-1] if prefix != folder else "")
        previous = ""
        for chunk in self._chunks(folder, offset):
            for entry in chunk:
                key = entry["path"]
                if key <= previous:
                    raise RefusedError(
                        f"list of {prefix} in {self.url}: keys come out of order: "
                        "use a general purpose bucket"
                    )
                previous = key
                if key > prefix and not key.startswith(prefix):
                    return
                if key > after and key.startswith(prefix):
                    yield Entry(key, entry["size"])

    def _chunks(self, folder: str, offset: str) -> Iterator[Any]:
        with self._request("list", folder, 0, self._down) as client:
            pages = obstore.list(client, folder or None, offset=offset or None, chunk_size=1000)
        while True:
            with self._request("list", folder, 0, self._down):
                page = next(pages, None)
            if page is None:
                return
            yield page

    @contextmanager
    def _request(
        self, operation: str, key: str, size: int, patience: Patience, *, learn: bool = True
    ) -> Iterator[Client]:
        """A client with time for ``size`` bytes; what it raises is translated."""
        allowed = patience.seconds(size)
        with self._lock:
            if allowed not in self._clients:
                self._clients[allowed] = self._connect(allowed)
            client = self._clients[allowed]
        begun = self._clock()
        try:
            yield client
        except StoreError:
            raise
        except Exception as error:  # the library's classes, and built-in ones for some faults
            took = self._clock() - begun
            if learn and took >= 0.9 * allowed:
                patience.timed_out(size, took)
            raise translate(error, operation=operation, key=key, url=self.url) from error
        if learn:
            patience.succeeded(size, self._clock() - begun)
