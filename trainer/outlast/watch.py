"""What is done beside training: the notice is seen within 50 ms."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from outlast.control import say
from outlast.notice import FILE, Notice, read_notice

TICK = 0.05
"""Seconds between two looks at the notice file."""


class NoticeFile:
    """The notice file, read again only when it changed: one stat otherwise."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._seen: tuple[int, int] | None = None
        self._notice: Notice | None = None

    def read(self) -> Notice | None:
        """The notice in force. Raises OSError or ValueError, once, for what is not a notice."""
        try:
            found = (self._control / FILE).stat()
        except FileNotFoundError:
            self._seen = self._notice = None
            return None
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp != self._seen:
            self._seen = stamp
            self._notice = read_notice(self._control)
        return self._notice


class Ticker:
    """Calls ``tick`` every 50 ms from a thread of its own, until closed."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._closed = threading.Event()
        self._told = False
        self._thread = threading.Thread(target=self._work, name="outlast-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop calling; returns once the last call is over (unless called from within it)."""
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _work(self) -> None:
        while not self._closed.wait(TICK):
            try:
                self._tick()
            except Exception as error:
                # A fault here must not leave the program deaf to its notice.
                if not self._told:
                    self._told = True
                    say(f"watching for a notice failed, and goes on: {error!r}")
