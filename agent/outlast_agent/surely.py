"""Store operations that are tried until they are done: the one place where the daemon waits.

A store's own calls retry for a bounded time. Beyond that the daemon waits, says so on the
board, and goes on when the store does: a store that is down for an hour must not cost a job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from outlast_agent.board import Board
from outlast_agent.journal import Journal
from outlast_agent.stores.base import (
    AlreadyExistsError,
    NotFoundError,
    RefusedError,
    Store,
    UnavailableError,
)

T = TypeVar("T")

FIRST_DELAY = 0.2
LAST_DELAY = 15.0
"""Seconds between two tries: doubled from the first to the last."""
HURRIED_DELAY = 0.5
"""Under a notice, also where a longer wait has begun: few seconds are left."""


class StoppedError(Exception):
    """The wait was broken off from outside."""


class Surely:
    """Tries for one part of the daemon, named ``part`` on the board and in the journal."""

    def __init__(
        self, board: Board, journal: Journal, part: str, stop: Event, hurry: Event | None = None
    ) -> None:
        """``stop`` breaks every wait off, ``hurry`` makes them short."""
        self._board = board
        self._journal = journal
        self._part = part
        self._stop = stop
        self._hurry = Event() if hurry is None else hurry

    def do(self, call: Callable[[], T]) -> T:
        """What ``call`` returns, once it does. Raises StoppedError, and NotFoundError and
        AlreadyExistsError at once: they are answers."""
        delay = FIRST_DELAY
        while True:
            if self._stop.is_set():
                raise StoppedError(self._part)
            try:
                result = call()
            except (NotFoundError, AlreadyExistsError):
                self._clear()
                raise
            except (UnavailableError, RefusedError) as error:
                # A refusal may be lifted too (a role that is still being assigned); until then
                # the machine works on with what it has.
                if self._board.put(self._part, str(error)):
                    self._journal.warning(f"{self._part} waits for the store", error=str(error))
                if self._rest(delay):
                    raise StoppedError(self._part) from error
                delay = min(2 * delay, LAST_DELAY)
            else:
                self._clear()
                return result

    def create(self, store: Store, key: str, data: bytes) -> bool:
        """Have ``data`` at ``key``. True: it is there, whoever's call it was that put it there;
        False: something else is. Raises StoppedError."""

        def settle() -> bool:
            try:
                store.create(key, data)
            except AlreadyExistsError:
                try:
                    # Twice, for one read with wrong bytes proves nothing.
                    return any(self.do(lambda: store.read(key)) == data for _ in range(2))
                except NotFoundError as error:
                    text = f"create of {key}: the store says that it exists, and has nothing there"
                    raise UnavailableError(f"{text}: it is tried again") from error
            return True

        return self.do(settle)

    def _rest(self, seconds: float) -> bool:
        """Whether it was broken off from outside."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._stop.wait(min(left, HURRIED_DELAY)):
                return True
            if self._hurry.is_set():
                return False
        return False

    def _clear(self) -> None:
        if self._board.put(self._part, None):
            self._journal.info(f"{self._part} goes on")
