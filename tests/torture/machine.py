"""One machine under torture: a daemon's sync and a training program, each behind its gate."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outlast.durable import replace_file
from outlast.manifest import CheckpointId, Manifest, dump_manifest, parse_manifest
from outlast.outputs import restore_outputs
from outlast_agent import surely
from outlast_agent.board import Board
from outlast_agent.journal import open_journal
from outlast_agent.stores.base import Store
from outlast_agent.stores.file import FileStore
from outlast_agent.sync import carriers, upload
from outlast_agent.sync.restore import Downloader
from outlast_agent.sync.whole import Lineage
from torture import program
from torture.failing import Failing
from torture.gate import Call, Gate, close_in, tear

JOB = "torture"
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

    def __str__(self) -> str:
        what = self.call or "any call"
        at = f" at {self.hold_at}" if self.hold_at else ""
        more = f", the other stopped{at} {self.hold} calls before" if self.hold else ""
        return f"{' and '.join(self.victims)} before {what} {self.count} of the {self.role}{more}"


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


class Machine:
    """The folders of one attempt, and its two processes."""

    def __init__(self, root: Path, attempt: int, seed: int) -> None:
        self.root, self.attempt = root, attempt
        self.store = root / "store"
        self.home = root / f"machine-{attempt:06d}"
        self.scratch, self.outputs = self.home / "scratch", self.home / "outputs"
        self.control, self.downloads = self.home / "control", self.home / "downloads"
        self.parent = self.home / "parent"
        self.log = root / "log"
        self._chance = random.Random(seed)
        self.failing: int | None = None
        """Seed of the store's failures; None: it never fails."""
        self.children: dict[str, Child] = {}
        for folder in (self.scratch, self.outputs, self.control, self.downloads):
            folder.mkdir(parents=True, exist_ok=True)

    # Processes ----------------------------------------------------------------------------------

    def start_daemon(self, *, adopts: bool) -> Child:
        """Bring the newest checkpoint, unless it ``adopts`` a running program; then upload."""

        def main(channel: socket.socket) -> None:
            _daemon(self, channel, adopts=adopts)

        return self.start("daemon", main)

    def start_writer(self, total: int = program.FOREVER) -> Child:
        """The training program; what it is told is all there already."""
        seed, pause = self._chance.randrange(FAR), self._chance.choice([0.0, 0.002, 0.01])

        def main(channel: socket.socket) -> None:
            os.environ.update(
                OUTLAST_SCRATCH=str(self.scratch), OUTLAST_OUTPUTS=str(self.outputs),
                OUTLAST_CONTROL=str(self.control), OUTLAST_JOB=JOB,
                OUTLAST_ATTEMPT=str(self.attempt), OUTLAST_EVERY="0",
            )  # fmt: skip
            program.train(None, seed, total, saying(channel), pause=pause)

        return self.start("writer", main)

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


def _daemon(machine: Machine, channel: socket.socket, *, adopts: bool) -> None:
    """As ``Attempt`` does it: restore into fresh folders, then upload what the program saves."""
    say = saying(channel)
    upload.SWEEP_SECONDS = 0.0  # after every upload: minutes of training are not waited for
    upload.LOOK_SECONDS = 0.005  # for the watch on the folder
    carriers.COUNT = random.Random(os.getpid()).choice((1, 4))  # with one, much waits to be read
    store: Store = FileStore(machine.store)
    if machine.failing is not None:
        store = Failing(store, random.Random(machine.failing + os.getpid()))
        surely.FIRST_DELAY, surely.LAST_DELAY = 0.005, 0.02  # so that it is tried again at once
    stop = threading.Event()
    parent: Manifest | None = None
    if adopts:
        if machine.parent.exists():
            name, _, data = machine.parent.read_bytes().partition(b"\n")
            parent = parse_manifest(data, name=name.decode())
    else:
        patient = surely.Surely(Board(), open_journal(), "restore", stop)
        downloader = Downloader(store, JOB, machine.downloads, patient)
        found = downloader.newest(below=machine.attempt, set_aside=())
        parent = found.manifest
        if parent is not None:
            downloader.move(parent, machine.scratch)
            restore_outputs(machine.scratch, parent, machine.outputs)
            data = f"{parent.id}\n".encode() + dump_manifest(parent)
            replace_file(machine.parent, data)
        damaged = {str(id_): why for id_, why in found.damaged.items()}
        say(restored=None if parent is None else str(parent.id), damaged=damaged)
    uploader = upload.Uploader(
        store, machine.scratch, Lineage(JOB, machine.attempt, parent),
        lambda stop: surely.Surely(Board(), open_journal(), "upload", stop),
        every=None, keep=2,
        on_durable=lambda durable: say(durable=str(durable.id)),
        on_refused=lambda why: say(refused=why),
        on_crash=lambda error: say(crashed=repr(error)),
    )  # fmt: skip
    (machine.scratch / "checkpoints").mkdir(exist_ok=True)
    uploader.start()
    say(uploading=True)
    while word := channel.recv(100):
        match word:
            case b"flush":
                uploader.flush(time.monotonic() + 20, lambda: say(flushed=True))
            case b"rush":
                uploader.rush(time.monotonic() + 30)


def durable_in(said: list[dict[str, Any]]) -> list[CheckpointId]:
    """What a daemon said to be durable."""
    return [CheckpointId.parse(each["durable"]) for each in said if "durable" in each]
