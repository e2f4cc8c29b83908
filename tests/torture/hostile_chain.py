"""A program that does in scratch whatever it likes, and an honest save in the midst of it."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

from agent.scratch_kit import write
from outlast.checkpoint import checkpoints_in
from outlast.manifest import CheckpointId
from outlast_agent import layout
from torture import hostile
from torture.children import saying
from torture.daemon import JOB, durable_in
from torture.machine import ChildEndedError, Machine
from torture.tally import Tally

SECONDS = 15.0
"""In which the honest save is durable, and a flush answered."""
MOST_MEMORY = 900 << 20
"""Bytes of the daemon at its most; before anything is uploaded it has a tenth."""
MOST_LINES, MOST_LINE = 25, 1000
"""What is told of it all; letters."""


class HostileChain:
    """So many deeds, each in a scratch of its own, some of several at once."""

    def __init__(self, root: Path, seed: int, points: int) -> None:
        self.tally = Tally()
        self._root, self._seed, self._points = root, seed, points
        self._chance = random.Random(seed)

    def run(self) -> Tally:
        """All of its points."""
        while self.tally.points < self._points:
            deeds = self._chance.sample(hostile.DEEDS, self._chance.choice((1, 1, 1, 2, 4)))
            self._where = " and ".join(deed.__name__ for deed in deeds)
            root = self._root / f"{self.tally.points:03d}"
            root.mkdir()
            machine = Machine(root, 1, self._seed)
            try:
                self._point(machine, deeds)
            except ChildEndedError as error:
                self._fault("wrong", str(error))
            finally:
                machine.kill("program", "daemon")
            for deed in deeds:
                self.tally.kinds[f"hostile: {deed.__name__}"] += 1
            self.tally.points += 1
        return self.tally

    def _point(self, machine: Machine, deeds: list) -> None:
        outside = machine.root / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(hostile.SECRET)
        named = hostile.ref(hostile.SECRET, 1)
        (outside / f"{named.hash}-{named.size}").write_bytes(hostile.SECRET)
        daemon = machine.start_daemon(adopts=True)
        machine.run(lambda: daemon.last("uploading") is not None)
        seed = self._chance.randrange(1 << 30)
        honest = CheckpointId(1, 500_000)

        def main(channel: socket.socket) -> None:
            _program(machine, outside / "secret", random.Random(seed), deeds, honest)
            saying(channel)(done=True)
            time.sleep(60)

        program = machine.start("program", main)
        machine.run(lambda: program.last("done") is not None, seconds=SECONDS)
        begun = time.monotonic()
        if self._chance.random() < 0.5:
            daemon.send("rush")
        daemon.send("flush")
        machine.run(lambda: daemon.last("flushed") is not None, seconds=SECONDS + 10)
        took = time.monotonic() - begun
        if daemon.last("flushed") is None or took > SECONDS:
            self._fault("lost", f"a flush takes {took:.0f} s")
        durable = [id_ for id_ in durable_in(daemon.said) if id_ != honest]
        if durable:
            self._fault("wrong", f"{durable} became durable")
        store = machine.root / "store" / layout.job_root(JOB)
        if checkpoints_in(store) != [honest]:
            self._fault("lost", f"of an honest save, {checkpoints_in(store)} is in the store")
        for path in store.rglob("*"):
            if path.is_file() and hostile.SECRET[:60] in path.read_bytes():
                self._fault("wrong", f"what is outside was read: {path.name}")
        memory = _peak(daemon.pid)
        if memory > MOST_MEMORY:
            self._fault("wrong", f"the daemon took {memory >> 20} MiB")
        told = [each for each in daemon.said if "refused" in each]
        if len(told) > MOST_LINES:
            self._fault("wrong", f"told in {len(told)} lines")
        for each in daemon.said:
            line = str(each.get("refused", ""))
            if "\n" in line or len(line) > MOST_LINE:
                self._fault("wrong", f"told in no short line: {line[:100]!r}, {len(line)} letters")
            if each.get("crashed"):
                self._fault("wrong", f"crashed: {each['crashed']}")

    def _fault(self, what: str, text: str) -> None:
        self.tally.fault(what, f"{text} ({self._where}; chain {self._seed})")


def _program(
    machine: Machine, secret: Path, chance: random.Random, deeds: list, honest: CheckpointId
) -> None:
    """The deeds, before, after and at the same time as the honest save."""
    scratch = machine.scratch
    for root in (scratch, machine.memory):
        (root / "checkpoints").mkdir(exist_ok=True)
    before = chance.random() < 0.5
    for number, deed in enumerate(deeds):
        if number == len(deeds) // 2 and not before:
            write(scratch, 1, honest.step, [b"honest" * 10_000, b"true" * 50_000], job=JOB)
        step = chance.choice((honest.step - 10_000, honest.step + 10_000)) + number * 1000
        root = chance.choice((scratch, scratch, machine.memory))
        deed(hostile.Place(root, secret, JOB, 1, CheckpointId(1, step), chance))
    if before:
        write(scratch, 1, honest.step, [b"honest" * 10_000, b"true" * 50_000], job=JOB)


def _peak(pid: int) -> int:
    """Bytes that a process had in memory at its most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0
