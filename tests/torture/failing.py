"""A store that fails as real ones do: no answer, a lost answer, a refusal, late, wrong bytes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import xxhash

from outlast_agent.stores.base import Entry, RefusedError, Store, UnavailableError

T = TypeVar("T")

_FAILS = 0.05
"""Share of the calls for each way to fail."""


class Failing(Store):
    """``inner``, whose calls fail by ``chance``.

    The same key is never read twice running with wrong bytes: that would be proof of damage.
    """

    def __init__(self, inner: Store, chance: random.Random) -> None:
        self.url = inner.url
        self._inner, self._chance = inner, chance
        self._lock = threading.Lock()
        self._spoilt: set[str] = set()

    def create(self, key: str, data: bytes | Path) -> None:
        self._do(f"create of {key}", lambda: self._inner.create(key, data))

    def put(self, key: str, data: bytes) -> None:
        self._do(f"put of {key}", lambda: self._inner.put(key, data))

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        data = self._do(f"read of {key}", lambda: self._inner.read(key, limit=limit))
        return bytes([data[0] ^ 1]) + data[1:] if data and self._spoils(key) else data

    def fetch(self, key: str, path: Path) -> str:
        arrived = self._do(f"fetch of {key}", lambda: self._inner.fetch(key, path))
        if self._spoils(key):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            return xxhash.xxh3_128_hexdigest(bytes(data))
        return arrived

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        return self._do(f"list of {prefix}", lambda: self._inner.list(prefix, after=after))

    def delete(self, key: str) -> None:
        self._do(f"delete of {key}", lambda: self._inner.delete(key))

    def _do(self, what: str, call: Callable[[], T]) -> T:
        with self._lock:
            luck = self._chance.random() / _FAILS
        if luck < 1:
            raise UnavailableError(f"{what}: 503")
        if luck < 2:
            raise RefusedError(f"{what}: 403")
        if luck < 3:
            time.sleep(0.03)
        result = call()
        if luck > 19:
            raise UnavailableError(f"{what}: the connection was reset before the answer")
        return result

    def _spoils(self, key: str) -> bool:
        with self._lock:
            spoils = key not in self._spoilt and self._chance.random() < _FAILS
            (self._spoilt.add if spoils else self._spoilt.discard)(key)
        return spoils
