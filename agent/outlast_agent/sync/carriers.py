"""A few threads that carry things to the store. One that hangs is left behind, not waited for.

A request may hang for as long as the store's own limit, which is minutes; a notice gives
seconds. So whoever has something better to carry leaves what is under way and goes on with
fresh threads. What was left may still arrive: objects and manifests are whole or absent, so that
does no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, TypeVar

T = TypeVar("T")

COUNT = 4
CLOSE_SECONDS = 1.0
"""For what is under way at the end."""
MOST_LEFT = 2 * COUNT
"""Each one left behind holds an object in memory: with so many, nothing more is left."""


class Carriers:
    """Used by one thread."""

    def __init__(self) -> None:
        self._pool = self._new_pool()
        self._behind: set[Future[Any]] = set()

    def submit(self, call: Callable[..., T], *args: object) -> Future[T]:
        """Have it called by a free thread, now or soon."""
        return self._pool.submit(call, *args)

    def submit_apart(self, call: Callable[..., T], *args: object) -> Future[T]:
        """Have it called at once, by a thread of its own: it waits behind nothing."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="carry")
        future = pool.submit(call, *args)
        pool.shutdown(wait=False)
        return future

    def leave_apart(self, future: Future[Any]) -> None:
        """Do not wait for it."""
        if not future.done():
            self._behind.add(future)

    def may_leave(self) -> bool:
        """Whether what is under way may be left, or too much was left already."""
        self._behind = {future for future in self._behind if not future.done()}
        return len(self._behind) < MOST_LEFT

    def leave(self, futures: Collection[Future[Any]], held: ExitStack) -> None:
        """Begin none of ``futures`` that has not begun, and wait for none that has.

        ``held`` is closed once none of them runs any more.
        """
        running = [future for future in futures if not future.cancel() and not future.done()]
        if not running:
            held.close()
            return
        self._behind |= set(running)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._new_pool()

        def clear() -> None:
            wait(running)
            held.close()

        threading.Thread(target=clear, name="clear", daemon=True).start()

    def close(self) -> None:
        """Begin nothing more; what is under way is not waited for longer than a moment."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._behind, CLOSE_SECONDS)

    @staticmethod
    def _new_pool() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(COUNT, thread_name_prefix="carry")
