"""Processes of this machine: who is alive, who descends from whom, and ending them all.

A pid alone names nobody for long: it is used again. Here a process is its pid and its start
time, as the kernel counts it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Process:
    """One process, for ever."""

    pid: int
    start: int
    """Field 22 of ``/proc/<pid>/stat``: clock ticks from the boot of this machine."""


def kernel() -> str:
    """This boot of this machine: pids and start times mean nothing in another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def me() -> Process:
    """This process."""
    found = find(os.getpid())
    assert found is not None
    return found


def find(pid: int) -> Process | None:
    """The living process with this pid; None also for a zombie."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in "ZX" else Process(pid, stat[2])


def alive(process: Process) -> bool:
    """Whether it still runs."""
    return find(process.pid) == process


def kill(process: Process) -> None:
    """SIGKILL to exactly this process; nothing if it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor names one process; whether it is the right one is seen after opening it.
        if find(process.pid) == process:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def descendants(pid: int) -> list[int]:
    """Living processes below ``pid``, parents before their children."""
    children: dict[int, list[int]] = {}
    for one in _pids():
        stat = _stat(one)
        if stat is not None and stat[0] not in "ZX":
            children.setdefault(stat[1], []).append(one)
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found


def kill_descendants(pid: int, reap: Callable[[], None], *, seconds: float = 10.0) -> bool:
    """SIGKILL everything below ``pid`` until nothing is left; False if something would not go.

    ``pid`` must have called :func:`adopt_orphans`, or a grandchild escapes when its parent dies.
    ``reap`` waits for ended children without blocking.
    """
    deadline = time.monotonic() + seconds
    while True:
        below = descendants(pid)
        if not below:
            return True
        for one in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        reap()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)


def with_variable(name: str, value: str) -> Iterator[Process]:
    """Processes that were started with this environment variable (our own user's)."""
    wanted = f"{name}={value}".encode()
    for pid in _pids():
        process = find(pid)
        if process is None or pid == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment:
            yield process


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, spaces and parentheses too.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])
