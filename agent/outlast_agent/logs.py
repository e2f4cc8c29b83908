"""What the command prints, brought to the store in chunks, and kept on the machine: both bounded.

Of one attempt the store gets the first :data:`HEAD_BYTES` of the log, every byte once; then, each
minute, the end of what came since; and always the very end, which is what a person needs. Where
something is left out, a line says how much.

On the machine's disk the same head stays, and the last :data:`KEPT_BYTES`. What lies between is a
hole in the file: offsets stay true, and the command goes on writing to the file that it has open.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

from outlast.durable import read_json, replace_file
from outlast_agent import layout
from outlast_agent.context import Context
from outlast_agent.surely import StoppedError

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 64 << 20
LATER_BYTES = 64 << 10
LATER_SECONDS = 60.0
"""Behind the head: at most so much each time, and so long between."""
LAST_BYTES = 256 << 10
"""When it has ended: at least so much of the end, if the log is that long."""
KEPT_BYTES = 16 << 20

TAIL_LINES = 50
_TAIL_BYTES = 64 << 10
_MAX_LINE = 2000

_CHUNK = re.compile(r"/([0-9]{6})\.log$")
_LEFT_OUT = "\noutlast: {:,} bytes of the log are left out here\n"
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01


class LogShipper:
    """Ships the log of one attempt."""

    def __init__(self, context: Context, attempt: int, path: Path) -> None:
        """Begins at once. How far it came is remembered beside ``path``."""
        self._store, self._job = context.store, context.spec.job
        self._attempt, self._path = attempt, path
        self._remembered = path.with_name("log-shipped.json")
        self._stop = threading.Event()
        self._last = threading.Event()
        self._late_at = float("inf")
        self._surely = context.surely("logs", self._stop)
        self._number = self._offset = 0
        self._thread = context.thread("logs", self._run)

    def finish(self, timeout: float) -> bool:
        """Ship what is there, for at most ``timeout`` seconds; whether its end is in the store.

        In the second half of the time the end comes before what lies between. May be called
        again, to give it more time.
        """
        self._late_at = time.monotonic() + timeout / 2
        self._last.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop. A request that hangs is left behind: chunks are whole or absent."""
        self._stop.set()

    @property
    def missing(self) -> int:
        """Bytes at the end of the log that are not known to be in the store."""
        try:
            return max(0, self._path.stat().st_size - self._offset)
        except FileNotFoundError:
            return 0

    def _run(self) -> None:
        try:
            self._surely.do(self._learn)
            while True:
                last = self._last.wait(self._pause())
                while self._ship(last=last):
                    pass
                if last:
                    return
        except StoppedError:
            return

    def _pause(self) -> float:
        """The first lines of a program are awaited; those of its third hour are not."""
        return LATER_SECONDS if self._offset >= HEAD_BYTES else min(15.0, 1.0 + 0.1 * self._number)

    def _learn(self) -> None:
        """What an earlier daemon has shipped."""
        begun, begin, end = self._recall()
        entries = self._store.list(layout.logs(self._job, self._attempt))
        sizes = {int(found[1]): e.size for e in entries if (found := _CHUNK.search(e.key))}
        # Not their count: a store may have removed old ones, and no number is used twice.
        self._number = max(sizes, default=-1) + 1
        # Behind what was written down, sizes say it: chunks are in order.
        later = sum(size for number, size in sizes.items() if number > begun)
        self._offset = (end if begun in sizes else begin) + later

    def _recall(self) -> tuple[int, int, int]:
        """The chunk that was last begun, and which part of the log it holds."""
        try:
            value = read_json(self._remembered)
            return int(value["number"]), int(value["begin"]), int(value["end"])
        except (OSError, ValueError, KeyError, TypeError):
            return -1, 0, 0

    def _remember(self, end: int) -> None:
        """Before a chunk is sent: a size does not tell what was left out before it."""
        value = {"number": self._number, "begin": self._offset, "end": end}
        with suppress(OSError):  # a full disk: behind the head some of it may be shipped again
            replace_file(self._remembered, json.dumps(value).encode(), fsync=False)

    def _ship(self, *, last: bool) -> bool:
        """One chunk; whether more is waiting."""
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                late = last and time.monotonic() >= self._late_at
                begin, end = part(self._offset, size, last=last, late=late)
                file.seek(begin)
                data = file.read(end - begin)
        except FileNotFoundError:
            return False
        if not data:
            return False
        if begin > self._offset:
            cut = data.find(b"\n") + 1
            cut = 0 if cut == len(data) else cut  # whole lines, if there are any
            left_out = begin + cut - self._offset
            data = _LEFT_OUT.format(left_out).encode() + data[cut:]
        self._remember(end)
        key = layout.log(self._job, self._attempt, self._number)
        if not self._surely.create(self._store, key, data):
            self._surely.do(self._learn)  # a daemon killed after its create, before it knew
            return True
        self._number, self._offset = self._number + 1, end
        return end < size


def part(offset: int, size: int, *, last: bool, late: bool) -> tuple[int, int]:
    """From where to where to ship next, of ``size`` bytes of which ``offset`` are settled.

    ``last``: nothing comes after; ``late``: and there is no time for all of it.
    """
    if offset < HEAD_BYTES and not late:
        return offset, min(size, offset + CHUNK_BYTES, HEAD_BYTES)
    return max(offset, size - (LAST_BYTES if last else LATER_BYTES)), size


def bound(path: Path) -> None:
    """Give back the disk of all but the head and the end of the log. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(descriptor)
        between = status.st_size - HEAD_BYTES - KEPT_BYTES
        if between <= 0 or status.st_blocks * 512 <= HEAD_BYTES + 2 * KEPT_BYTES:
            return
        where = ctypes.c_int64(HEAD_BYTES), ctypes.c_int64(between)
        if _libc.fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, *where):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


_libc = ctypes.CDLL(None, use_errno=True)


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
