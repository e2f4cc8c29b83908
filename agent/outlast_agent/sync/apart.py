"""Requests that the deciding thread does not wait for when something else becomes urgent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import wait
from contextlib import suppress

from outlast.manifest import ObjectRef
from outlast_agent.stores.base import Store, StoreError
from outlast_agent.surely import Surely
from outlast_agent.sync.carriers import Carriers
from outlast_agent.sync.sweep import Sweeper

GLANCE = 0.05
"""Seconds after which it is looked whether something better has come."""

MANIFEST_SECONDS = 1.0
"""A manifest under way, the last step to a durable checkpoint, gets this before a newer one."""


def create(
    carriers: Carriers,
    surely: Callable[[threading.Event], Surely],
    store: Store,
    item: tuple[str, bytes],
    *,
    leave: Callable[[bool], bool],
) -> bool | None:
    """Have a manifest (``item``: key and content) in the store; False: another one is there.

    ``leave`` is asked again and again, and told whether it has taken ``MANIFEST_SECONDS``: None
    when it said so.
    """
    left = threading.Event()
    creating = carriers.submit_apart(surely(left).create, store, *item)
    late_at = time.monotonic() + MANIFEST_SECONDS
    try:
        while not wait({creating}, GLANCE).done:
            if leave(time.monotonic() >= late_at):
                return None
        return creating.result()
    finally:
        left.set()
        carriers.leave_apart(creating)


def sweep(
    carriers: Carriers,
    sweeper: Sweeper,
    forget: Callable[[ObjectRef], None],
    *,
    spared: Collection[ObjectRef],
    stop: Callable[[], bool],
) -> None:
    """Tidy up in the store until ``stop``, which a request that hangs must not hold up."""
    sweeping = carriers.submit_apart(lambda: sweeper.sweep(forget, stop, spared=spared))
    while not wait({sweeping}, GLANCE).done:
        # One that is left deletes nothing any more. The object whose delete is under way
        # could be named by what is carried next: that one is waited for.
        if stop() and not sweeper.deletes:
            carriers.leave_apart(sweeping)
            return
    with suppress(StoreError):  # what is left over is swept with what comes after it
        sweeping.result()
