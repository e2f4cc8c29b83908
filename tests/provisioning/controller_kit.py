"""A controller with a clock that a test turns, and a store that counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from outlast_agent.stores.base import Entry, UnavailableError
from outlast_provisioning.controller import LOOK_SECONDS, Controller
from provisioning.simulated import Cloud, Daemons, MemoryStore, launches, submitted


class CountingStore(MemoryStore):
    """Counts what is asked of it, and may not answer."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__()
        self.content = inner.content
        self.requests: Counter[str] = Counter()
        self.down = False

    def _count(self, what: str) -> None:
        if self.down:
            raise UnavailableError("no route to the store")
        self.requests[what] += 1

    def create(self, key: str, data: bytes | Path) -> None:
        self._count("create")
        super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._count("put")
        super().put(key, data)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        self._count("read")
        return super().read(key, limit=limit)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        self._count("list")
        return super().list(prefix, after=after)


class Bench:
    """A controller with a clock that a test turns."""

    def __init__(self, cloud_type: type[Cloud] = Cloud) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.store = CountingStore(submitted())
        self.cloud = cloud_type(self.store)
        self.daemons = Daemons(self.store, self.cloud)
        self.controller = Controller(
            self.store, {"local": self.cloud}, say=self.say, clock=lambda: self.now
        )

    def say(self, text: str, **facts: object) -> None:
        self.said.append(" ".join([text, *[f"{k}={v}" for k, v in facts.items()]]))

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.now += 1.0
            self.controller.once()


def train(bench: Bench) -> int:
    bench.seconds(3)
    (launch,) = launches(bench.store)
    attempt = bench.daemons.claim(launch.machine)
    assert attempt is not None
    bench.seconds(LOOK_SECONDS.__ceil__() + 1)
    return attempt
