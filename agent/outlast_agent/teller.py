"""Events for people: into the journal at once, into the store by a thread of its own."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal

from outlast_agent import layout, records
from outlast_agent.clock import stamp
from outlast_agent.context import Context
from outlast_agent.surely import StoppedError

MAX_WAITING = 1000
"""While the store is away, no more than this are remembered."""

Level = Literal["info", "warning", "error"]


class Teller:
    """Tells of one job, from one launch."""

    def __init__(self, context: Context) -> None:
        """Begins at once."""
        self._store, self._journal = context.store, context.journal
        self._job, self._launch = context.spec.job, context.spec.launch
        self._stop = threading.Event()
        self._surely = context.surely("events", self._stop)
        self._waiting: queue.Queue[tuple[str, bytes] | threading.Event | None]
        self._waiting = queue.Queue(MAX_WAITING)
        self._dropped = 0
        self._thread = context.thread("events", self._run)

    def tell(
        self,
        kind: str,
        text: str,
        *,
        level: Level = "info",
        source: str = "daemon",
        attempt: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """One event. Never waits."""
        item = self._record(kind, text, level, source=source, attempt=attempt, data=data)
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            self._dropped += 1
            self._journal.warning("an event is dropped: the store has been away too long")

    def _record(
        self,
        kind: str,
        text: str,
        level: Level,
        *,
        source: str = "daemon",
        attempt: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> tuple[str, bytes]:
        """Into the journal; its key and what to write there."""
        event = records.Event(
            at=stamp(),
            source=source,
            kind=kind,
            level=level,
            text=text,
            attempt=attempt,
            launch=self._launch,
            data=dict(data or {}),
        )
        log = {
            "info": self._journal.info,
            "warning": self._journal.warning,
            "error": self._journal.error,
        }[level]
        log(text, kind=kind, attempt=attempt, **({"data": event.data} if event.data else {}))
        key = layout.event(self._job, time.time_ns() // 1000, secrets.token_hex(4))
        return key, records.dump(event)

    def flush(self, within: float) -> None:
        """Wait until all that was told is in the store, for at most ``within`` seconds."""
        reached = threading.Event()
        try:
            self._waiting.put_nowait(reached)
        except queue.Full:
            return
        reached.wait(within)

    def close(self, timeout: float) -> None:
        """Write what waits and stop; after ``timeout`` seconds leave a request that hangs."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._stop.set()
        self._thread.join(timeout)
        self._stop.set()

    def _run(self) -> None:
        try:
            while (item := self._waiting.get()) is not None:
                if isinstance(item, threading.Event):
                    item.set()
                    continue
                self._surely.create(self._store, *item)
                if dropped := self._dropped:
                    self._dropped -= dropped
                    text = f"{dropped} events are lost: the store was away, and too many waited"
                    self._surely.create(self._store, *self._record("events-lost", text, "warning"))
        except StoppedError:
            return
