"""How fast this machine uploads, measured before there is anything to upload.

A megabyte first, which says enough of a slow link; on a faster one as many pieces at once as an
upload carries. What was written is deleted, also what a machine left that was lost meanwhile.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from outlast_agent.stores.base import Store, StoreError
from outlast_agent.sync.carriers import COUNT

FIRST_BYTES = 1 << 20
PIECE_BYTES = 2 << 20
ENOUGH_SECONDS = 0.5
"""A first piece that took this long has measured the link."""


@dataclass
class Link:
    """From this machine to the store."""

    rate: float | None = None
    """Bytes per second upwards; None: not measured."""

    def measure(self, store: Store, prefix: str, *, within: str) -> None:
        """Upload, for a moment, to keys that begin with ``prefix``; ``within`` is emptied after it.

        A store that fails is not measured. That another machine's measure ends early for it costs
        nothing: what is deleted is gone for that one too.
        """
        keys = [f"{prefix}{number}" for number in range(COUNT + 1)]
        data = os.urandom(PIECE_BYTES)
        try:
            began = time.monotonic()
            store.put(keys[0], data[:FIRST_BYTES])
            seconds, size = time.monotonic() - began, FIRST_BYTES
            if seconds < ENOUGH_SECONDS:
                began = time.monotonic()
                with ThreadPoolExecutor(COUNT, thread_name_prefix="link") as pool:
                    for _ in pool.map(lambda key: store.put(key, data), keys[1:]):
                        pass
                seconds, size = time.monotonic() - began, COUNT * PIECE_BYTES
            self.rate = size / max(seconds, 1e-6)
        except StoreError:
            pass
        with suppress(StoreError):
            for entry in list(store.list(within)):
                store.delete(entry.key)
