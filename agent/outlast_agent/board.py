"""What does not work at the moment, in words, by whom: shown in the heartbeat and in status."""

from __future__ import annotations

import threading


class Board:
    """One line per part of the daemon that is waiting for something. Any thread may write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, str] = {}

    def put(self, part: str, line: str | None) -> bool:
        """Say what ``part`` waits for; None: nothing any more. True if that is news."""
        with self._lock:
            news = self._lines.get(part) != line
            if line is None:
                self._lines.pop(part, None)
            else:
                self._lines[part] = line
            return news

    def line(self, part: str) -> str:
        """What ``part`` waits for; empty: nothing."""
        with self._lock:
            return self._lines.get(part, "")

    def waits(self) -> bool:
        """Whether anything is waiting that a claim needs; notices are not."""
        with self._lock:
            return bool(self._lines.keys() - {"notices"})

    def text(self) -> str:
        """One line for each cause: a store that is away makes all parts wait for the same."""
        parts: dict[str, list[str]] = {}
        lines: dict[str, str] = {}
        with self._lock:
            for part, line in self._lines.items():
                _what, _, why = line.partition(": ")
                parts.setdefault(why or line, []).append(part)
                lines.setdefault(why or line, line)
        return "; ".join(f"{', '.join(who)}: {lines[why]}" for why, who in parts.items())
