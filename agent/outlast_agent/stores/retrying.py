"""A store that asks again: the one place where requests to a store are retried.

The number of tries and the time are bounded; who needs to wait for ever does so knowingly,
above this. An answer that was lost may mean that a create succeeded: it is settled by reading
back what is there.
"""

from __future__ import annotations

import filecmp
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from outlast_agent.stores.base import (
    AlreadyExistsError,
    Entry,
    NotFoundError,
    Store,
    StoreError,
    UnavailableError,
)

T = TypeVar("T")

TRIES = 6
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0
"""Seconds. A pause is not broken off, and a notice may leave fewer than ten."""
WITHIN_SECONDS = 120.0
"""No try begins later than this after the first."""


class Retrying(Store):
    """Another store, with every request tried again after UnavailableError."""

    def __init__(
        self,
        store: Store,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``jitter`` gives a number from 0 to 1."""
        self.url = store.url
        self._store = store
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter

    def create(self, key: str, data: bytes | memoryview | Path) -> None:
        """See :meth:`Store.create`."""
        answer_lost = False

        def attempt() -> None:
            nonlocal answer_lost
            try:
                self._store.create(key, data)
            except UnavailableError:
                answer_lost = True
                raise
            except AlreadyExistsError:
                if not (answer_lost and self._is_there(key, data)):
                    raise

        self._try(attempt)

    def put(self, key: str, data: bytes) -> None:
        """See :meth:`Store.put`."""
        self._try(lambda: self._store.put(key, data))

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        """See :meth:`Store.read`."""
        return self._try(lambda: self._store.read(key, limit=limit))

    def fetch(self, key: str, path: Path) -> str:
        """See :meth:`Store.fetch`."""
        return self._try(lambda: self._store.fetch(key, path))

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """See :meth:`Store.list`. Goes on where it was cut off."""
        last = after
        pauses = self._pauses()
        while True:
            try:
                for entry in self._store.list(prefix, after=last):
                    last = entry.key
                    pauses = self._pauses()
                    yield entry
            except UnavailableError as error:
                self._pause_or_raise(pauses, error)
            else:
                return

    def delete(self, key: str) -> None:
        """See :meth:`Store.delete`."""
        self._try(lambda: self._store.delete(key))

    def _try(self, attempt: Callable[[], T]) -> T:
        pauses = self._pauses()
        while True:
            try:
                return attempt()
            except UnavailableError as error:
                self._pause_or_raise(pauses, error)

    def _pause_or_raise(self, pauses: Iterator[float], error: UnavailableError) -> None:
        pause = next(pauses, None)
        if pause is None:
            raise error
        self._sleep(pause)

    def _pauses(self) -> Iterator[float]:
        return self._pauses_since(self._clock())

    def _pauses_since(self, begun: float) -> Iterator[float]:
        for number in range(TRIES - 1):
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 4.0**number)
            pause *= 0.5 + self._jitter() / 2  # many machines lose a store at the same moment
            if self._clock() + pause - begun > WITHIN_SECONDS:
                return
            yield pause

    def _is_there(self, key: str, data: bytes | memoryview | Path) -> bool:
        """Whether what is at ``key`` is ``data``: then it was our own create that succeeded."""
        try:
            if not isinstance(data, Path):
                return self.read(key, limit=len(data)) == data
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "copy"
                self.fetch(key, copy)
                return filecmp.cmp(copy, data, shallow=False)
        except UnavailableError:
            raise
        except NotFoundError as error:  # deleted in between: whether it was ours is not known
            raise UnavailableError(f"create of {key} in {self.url}: it came and went") from error
        except StoreError:
            return False  # longer than ours
