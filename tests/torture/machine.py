"""One machine under torture: a daemon's sync and a training program, each behind its gate."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from outlast.notice import Notice, write_notice
from torture import daemon, program
from torture.children import Child, fork, saying
from torture.gate import Call, tear

FAR = 1 << 30
QUIET = 0.3
"""Seconds without a call: nobody will make one while the other is held."""


@dataclass(frozen=True)
class Point:
    """Where to kill: before the ``count``-th ``call`` (any: "") of ``role``, whom of both."""

    role: str
    """Whose calls are counted: ``writer`` or ``daemon``."""
    call: str
    count: int
    victims: tuple[str, ...]
    torn: bool
    """If it is a write, half of it is done."""
    hold: int = 0
    """The other process is stopped from so many calls of ``role`` before, whatever they are."""
    hold_at: str = ""
    """And that at a call of this name; "": at any."""
    stops: bool = False
    """It is not killed but stopped (SIGSTOP), before that call."""

    def __str__(self) -> str:
        what = self.call or "any call"
        at = f" at {self.hold_at}" if self.hold_at else ""
        more = f", the other stopped{at} {self.hold} calls before" if self.hold else ""
        return f"{' and '.join(self.victims)} before {what} {self.count} of the {self.role}{more}"


class Machine:
    """The folders of one attempt, and its two processes."""

    def __init__(self, root: Path, attempt: int, seed: int) -> None:
        self.root, self.attempt = root, attempt
        self.url = f"file://{root}/store"
        self.environ: dict[str, str] = {}
        """Where the daemon finds a server, and what opens it."""
        self.environ_read: dict[str, str] = {}
        """The same for who only looks what is there."""
        self.faulty = False
        """Whether the store fails: the daemon's own limits and pauses are short then."""
        self.home = root / f"machine-{attempt:06d}"
        self.scratch, self.outputs = self.home / "scratch", self.home / "outputs"
        self.control, self.downloads = self.home / "control", self.home / "downloads"
        self.memory = self.home / "memory"
        """What the program lets the daemon read at a notice. Here it is on the disk too."""
        self.parent = self.home / "parent"
        self.log = root / "log"
        self._chance = random.Random(seed)
        self.failing: int | None = None
        """Seed of the store's failures; None: it never fails."""
        self.children: dict[str, Child] = {}
        for folder in (self.scratch, self.outputs, self.control, self.downloads, self.memory):
            folder.mkdir(parents=True, exist_ok=True)

    # Processes ----------------------------------------------------------------------------------

    def start_daemon(self, *, adopts: bool) -> Child:
        """Bring the newest checkpoint, unless it ``adopts`` a running program; then upload."""

        def main(channel: socket.socket) -> None:
            daemon.serve(self, channel, adopts=adopts)

        return self.start("daemon", main)

    def start_writer(self, total: int = program.FOREVER) -> Child:
        """The training program; what it is told is all there already."""
        seed, pause = self._chance.randrange(FAR), self._chance.choice([0.0, 0.002, 0.01])

        def main(channel: socket.socket) -> None:
            os.environ.update(
                OUTLAST_SCRATCH=str(self.scratch), OUTLAST_OUTPUTS=str(self.outputs),
                OUTLAST_CONTROL=str(self.control), OUTLAST_JOB=daemon.JOB,
                OUTLAST_ATTEMPT=str(self.attempt), OUTLAST_EVERY="0",
                OUTLAST_MEMORY=str(self.memory) if self.memory.is_dir() else "",
            )  # fmt: skip
            program.train(None, seed, total, saying(channel), pause=pause)

        return self.start("writer", main)

    def notice(self, seconds: float = 30.0) -> None:
        """This machine goes in so many seconds: its processes are told, as the daemon does it."""
        deadline = time.monotonic() + seconds
        self.children["daemon"].send("rush")
        write_notice(self.control, Notice("torture", "preempt", seconds, deadline, ""))

    def start_alone(self, total: int = program.FOREVER) -> Child:
        """The training program without any daemon, in a folder that stays."""
        seed = self._chance.randrange(FAR)

        def main(channel: socket.socket) -> None:
            program.train(self.home, seed, total, saying(channel), pause=0.004)

        return self.start("writer", main)

    def start(self, role: str, main: Callable[[socket.socket], None]) -> Child:
        """Fork a process of this machine."""
        child = self.children[role] = fork(role, self.log, main)
        return child

    def beside(self, old: Machine) -> None:
        """Let the processes of ``old`` go on, as ``old writer`` and ``old daemon`` here."""
        for child in list(old.children.values()):
            child.role = f"old {child.role}"
            self.children[child.role] = child
        old.children = {}

    def kill(self, *roles: str) -> None:
        """SIGKILL, at once to all of them."""
        found = [self.children[role] for role in roles if role in self.children]
        for child in found:
            if not child.ended:
                os.kill(child.pid, signal.SIGKILL)
        for child in found:
            self._reap(child)

    def _reap(self, child: Child) -> int:
        code = 0
        if not child.ended:
            _, status = os.waitpid(child.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            child.ended = True
            self._hear(child)
            child.gate.close()
            child.channel.close()
        self.children.pop(child.role, None)
        return code

    # Their calls --------------------------------------------------------------------------------

    def run(
        self,
        over: Callable[[], bool],
        *,
        point: Point | None = None,
        seconds: float = 20.0,
    ) -> bool | Call:
        """Let them work until ``point`` (its call, its victims killed), or it is ``over`` (True).

        False: neither within ``seconds``. Raises ChildEndedError if one ends by itself otherwise.
        """
        until = time.monotonic() + seconds
        held_at, quiet_since = -1, time.monotonic()
        while not over():
            if time.monotonic() > until:
                return False
            events = self._events(0.1)
            if events:
                quiet_since = time.monotonic()
            elif time.monotonic() > quiet_since + QUIET and self._release():
                held_at = FAR  # whose turn it is waits for the one that is held
            for child, event in events:
                if event == "gone":
                    if over():
                        return True
                    code = self._reap(child)
                    raise ChildEndedError(f"the {child.role} ended by itself with {code}")
                call = child.gate.next()
                if call is None:
                    continue
                child.calls[call.name] += 1
                child.calls[""] += 1
                if point is None:
                    child.gate.allow(call)
                    continue
                mine = child.role == point.role
                count = self._count(point)
                if mine and point.call in ("", call.name) and count >= point.count:
                    if point.stops:
                        os.kill(child.pid, signal.SIGSTOP)
                        return call
                    if point.torn:
                        tear(call)
                    self.kill(*point.victims)
                    self._release()
                    return call
                left = point.count - count
                if mine and point.hold and held_at < 0 and left <= point.hold:
                    held_at = count
                stops = point.hold_at in ("", call.name)
                if not mine and 0 <= held_at < FAR and stops and child.waiting is None:
                    child.waiting = call
                    continue
                child.gate.allow(call)
        return True

    def _count(self, point: Point) -> int:
        return self.children[point.role].calls[point.call] if point.role in self.children else 0

    def _release(self) -> bool:
        """Let those that are held go on; whether there were any."""
        held = [child for child in self.children.values() if child.waiting is not None]
        for child in held:
            assert child.waiting is not None
            child.gate.allow(child.waiting)
            child.waiting = None
        return bool(held)

    def _events(self, seconds: float) -> list[tuple[Child, str]]:
        poll = select.poll()
        by_descriptor: dict[int, tuple[Child, str]] = {}
        for child in self.children.values():
            poll.register(child.channel, select.POLLIN)
            by_descriptor[child.channel.fileno()] = (child, "said")
            if child.waiting is None:
                poll.register(child.gate.listener, select.POLLIN)
                by_descriptor[child.gate.listener] = (child, "call")
        found: list[tuple[Child, str]] = []
        for descriptor, event in poll.poll(seconds * 1000):
            child, kind = by_descriptor[descriptor]
            if kind == "said":
                self._hear(child)
                if event & select.POLLHUP:
                    found.append((child, "gone"))
            elif event & select.POLLIN:
                found.append((child, "call"))
        return found

    def _hear(self, child: Child) -> None:
        while True:
            try:
                data = child.channel.recv(1 << 16, socket.MSG_DONTWAIT)
            except OSError:
                return
            if not data:
                return
            child.said.append(json.loads(data))


class ChildEndedError(Exception):
    """A process ended that nobody had killed."""
