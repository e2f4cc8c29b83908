"""The same with an attempt that goes on beside its successor, or is stopped and continued.

A successor takes over while the daemon and the program of the attempt before train on, upload and
sweep: after a notice whose time is over, or after an end that somebody else wrote. Or that daemon
is stopped (SIGSTOP) before it deletes something, and continued when the successor has saved.
"""

from __future__ import annotations

import os
import signal

from outlast.checkpoint import checkpoints_in
from outlast_agent import layout
from torture.chain import Chain
from torture.daemon import JOB, durable_in
from torture.gate import Call
from torture.machine import Machine, Point

SAVES = 3
"""Of the successor, until the one that was stopped is continued."""
SECONDS = 20.0


class ZombieChain(Chain):
    """Each attempt outlives its end by another, or by two."""

    def _is_alone(self) -> bool:
        return False

    def _managed(self) -> None:
        machine = self._machine(1)
        self._begin(machine)
        try:
            while self.tally.points + self.tally.missed < self._points:
                self._until_durable(machine, self._chance.randint(1, 8))
                stopped = self._chance.random() < 0.5 and self._stop(machine)
                if not stopped and self._chance.random() < 0.5:
                    machine.children["daemon"].send("rush")
                    self._where = "after a notice"
                elif not stopped:
                    self._where = "after an end"
                self._hear(machine)
                machine = self._successor(machine)
                self._until_durable(machine, SAVES)
                if stopped:
                    os.kill(machine.children["old daemon"].pid, signal.SIGCONT)
                self._until_durable(machine, self._chance.randint(1, 4))
                self.tally.count("collector stopped" if stopped else f"zombie {self._where}")
                self._check_live(machine)
        finally:
            for child in machine.children.values():
                os.kill(child.pid, signal.SIGCONT)
            machine.kill(*machine.children)

    def _stop(self, machine: Machine) -> bool:
        """Before it deletes something; whether it was stopped there."""
        machine.children["daemon"].calls.clear()
        point = Point("daemon", "delete", self._chance.randint(1, 8), (), False, stops=True)
        self._where = f"stopped before delete {point.count}"
        return isinstance(machine.run(lambda: False, point=point, seconds=5.0), Call)

    def _successor(self, old: Machine) -> Machine:
        machine = self._machine(old.attempt + 1)
        old.kill("old writer", "old daemon")
        machine.beside(old)
        self._begin(machine)
        return machine

    def _until_durable(self, machine: Machine, count: int) -> None:
        """So many more of this attempt's own."""
        said = machine.children["daemon"].said
        machine.run(lambda: len(durable_in(said)) >= count, seconds=SECONDS)
        if len(durable_in(said)) < count:
            self._fault("lost", f"attempt {machine.attempt} makes nothing durable")
        self._hear(machine)

    def _hear(self, machine: Machine) -> None:
        for role in ("writer", "daemon"):
            self._listen(machine.children[role].said)
        for role in machine.children.keys() & {"old writer", "old daemon"}:
            for each in machine.children[role].said:
                if each.get("crashed") or each.get("wrong"):
                    self._fault("wrong", f"{role}: {each}")

    def _check_live(self, machine: Machine) -> None:
        """The newest is the successor's; all of its own are whole, and what it began from."""
        said = max(self._said_durable)
        daemon = machine.children["daemon"]
        os.kill(daemon.pid, signal.SIGSTOP)  # so that it does not sweep meanwhile
        os.waitpid(daemon.pid, os.WUNTRACED)
        root = self._root / "store" / layout.job_root(JOB)
        try:
            ids = checkpoints_in(root)
            if not ids or ids[0] < said:
                self._fault("lost", f"{said} was durable, the newest is {ids[:1]}")
            if self._parent is not None and self._parent not in ids:
                self._fault("lost", f"{self._parent}, which was begun from, has gone")
            for id_ in ids:
                if id_.attempt == machine.attempt or id_ == self._parent:
                    self._check(root, id_)
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
