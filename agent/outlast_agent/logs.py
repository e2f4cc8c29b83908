"""What the command prints, brought to the store in chunks: bounded, every byte once."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from outlast_agent import layout
from outlast_agent.context import Context
from outlast_agent.surely import StoppedError

CHUNK_BYTES = 1 << 20
MAX_BYTES = 64 << 20
"""Of one attempt. The rest stays on the machine; the tail is told when it fails."""

TAIL_LINES = 50
_TAIL_BYTES = 64 << 10
_MAX_LINE = 2000

_CHUNK = re.compile(r"/([0-9]{6})\.log$")
_CUT = b"\noutlast: the log is longer than 64 MiB; the rest is not kept\n"


class LogShipper:
    """Ships the log of one attempt."""

    def __init__(self, context: Context, attempt: int, path: Path) -> None:
        """Begins at once."""
        self._store, self._job = context.store, context.spec.job
        self._attempt, self._path = attempt, path
        self._stop = threading.Event()
        self._last = threading.Event()
        self._surely = context.surely("logs", self._stop)
        self._number = self._offset = 0
        self._thread = context.thread("logs", self._run)

    def close(self, timeout: float) -> None:
        """Ship what is there and stop; after ``timeout`` seconds stop in any case.

        A request that hangs is left behind: chunks are whole or absent, and an end cannot wait.
        """
        self._last.set()
        self._thread.join(timeout)
        self._stop.set()

    def _run(self) -> None:
        try:
            self._surely.do(self._learn)
            while self._offset < MAX_BYTES:
                # The first lines of a program are awaited; those of its third hour are not.
                last = self._last.wait(min(15.0, 1.0 + 0.1 * self._number))
                while self._ship():
                    pass
                if last:
                    return
        except StoppedError:
            return

    def _learn(self) -> None:
        """What an earlier daemon has shipped: chunks are in order, so their sizes say where."""
        entries = list(self._store.list(layout.logs(self._job, self._attempt)))
        # Not their count: a store may have removed old ones, and no number is used twice.
        numbers = [int(found[1]) for entry in entries if (found := _CHUNK.search(entry.key))]
        self._number, self._offset = max(numbers, default=-1) + 1, sum(e.size for e in entries)

    def _ship(self) -> bool:
        """One chunk; whether more is waiting."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            return False
        if not data:
            return False
        self._offset += len(data)
        if self._offset >= MAX_BYTES:
            data += _CUT
        key = layout.log(self._job, self._attempt, self._number)
        if not self._surely.create(self._store, key, data):
            self._surely.do(self._learn)  # a daemon killed after its create, before it knew
            return True
        self._number += 1
        return len(data) >= CHUNK_BYTES and self._offset < MAX_BYTES


def tail(path: Path) -> tuple[str, ...]:
    """The last lines of a log, at most :data:`TAIL_LINES`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except FileNotFoundError:
        return ()
    lines = data.decode(errors="replace").splitlines()
    if size > _TAIL_BYTES and len(lines) > 1:
        lines = lines[1:]
    return tuple(line[:_MAX_LINE] for line in lines[-TAIL_LINES:])
