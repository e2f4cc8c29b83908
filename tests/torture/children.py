"""Processes that are forked to be killed, and what they say meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.gate import Call, Gate, close_in


@dataclass
class Child:
    """A forked process, and what it said."""

    role: str
    pid: int
    gate: Gate
    channel: socket.socket
    calls: Counter[str] = field(default_factory=Counter)
    said: list[dict[str, Any]] = field(default_factory=list)
    waiting: Call | None = None
    """A call that is not answered yet: it is held."""
    ended: bool = False

    def last(self, name: str) -> Any:
        """The newest value said under ``name``."""
        return next((each[name] for each in reversed(self.said) if name in each), None)

    def send(self, word: str) -> None:
        """A command for a daemon."""
        with contextlib.suppress(OSError):
            self.channel.send(word.encode())


def fork(role: str, log: Path, main: Callable[[socket.socket], None]) -> Child:
    """Run ``main`` in a process of its own, whose calls wait for the gate."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _become_child(theirs, log)
            main(theirs)
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    theirs.close()
    _, descriptors, _, _ = socket.recv_fds(ours, 100, 1)
    return Child(role, pid, Gate(descriptors[0]), ours)


def _become_child(channel: socket.socket, log: Path) -> None:
    kept = channel.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, 4096)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    close_in(channel)


def saying(channel: socket.socket) -> Callable[..., None]:
    """To say something, by name, to the process that forked this one."""
    return lambda **what: channel.send(json.dumps(what).encode()) and None
