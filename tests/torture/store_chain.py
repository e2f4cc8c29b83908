"""The same with a store that fails: a real server behind a front that breaks, a full disk.

After each point the newest checkpoint that was said to be durable is read as the next attempt
would read it, from the server itself; once all is well again, what is saved becomes durable.
"""

from __future__ import annotations

from pathlib import Path

from outlast.manifest import CheckpointId
from torture import reader
from torture.chain import Chain
from torture.machine import Machine
from torture.places import Place
from torture.tally import Tally

HEALED_SECONDS = 20.0
"""In which something becomes durable once all is well again; where nothing is wrong, in one."""
VICTIMS = ((), (), (), ("daemon",), ("writer",), ("writer", "daemon"))


class StoreChain(Chain):
    """A job whose store is at ``place``."""

    def __init__(self, root: Path, seed: int, points: int, place: Place) -> None:
        super().__init__(root, seed, points)
        self._place = place
        self._current: Machine | None = None

    def run(self) -> Tally:
        """All of its points, and its end."""
        try:
            return super().run()
        finally:
            self._place.end()

    def _is_alone(self) -> bool:
        return False

    def _machine(self, attempt: int) -> Machine:
        machine = Machine(self._root, attempt, self._chance.randrange(1 << 30))
        machine.faulty = True
        self._place.take(machine)
        self._current = machine
        return machine

    def _attempt(self, machine: Machine) -> None:
        if self._place.name != "file" and self._chance.random() < 0.7:
            self._where = "restore, " + self._place.trouble(self._chance, seconds=0.5)
        self._begin(machine)
        while self.tally.points < self._points:
            lasts = self._chance.uniform(0.2, 0.5)
            kind = self._place.trouble(self._chance, seconds=lasts)
            victims = self._chance.choice(VICTIMS)
            self._where = f"{kind}, killed: {' and '.join(victims) or 'nobody'}"
            machine.run(lambda: False, seconds=lasts)
            machine_said = [child.said for child in machine.children.values()]
            machine.kill(*victims)
            if self._chance.random() < 0.5 or "writer" not in victims:
                self._place.heal()  # else what it is stays so for whoever comes next
            for said in machine_said:
                self._listen(said)
            self.tally.count(f"store: {self._place.kind}")
            if victims == ("writer",):
                self._place.heal()
                self._flush(machine)
            elif "writer" not in victims:
                if victims:
                    machine.start_daemon(adopts=True)
                self._becomes_durable(machine)
            self._place.heal()
            self._read(machine, most=1)
            if "writer" in victims:
                return

    def _becomes_durable(self, machine: Machine) -> None:
        daemon = machine.children["daemon"]
        before = len(self._said_durable)
        machine.run(lambda: daemon.last("durable") is not None, seconds=HEALED_SECONDS)
        for child in machine.children.values():
            self._listen(child.said)
        if len(self._said_durable) == before:
            self._fault("lost", f"{HEALED_SECONDS:.0f} s after all was well nothing is durable")

    def _check_store(self) -> list[CheckpointId]:
        assert self._current is not None
        return self._read(self._current, most=1000)

    def _read(self, machine: Machine, *, most: int) -> list[CheckpointId]:
        """The newest so many; one that was said to be durable is among them, or a newer."""
        said = max(self._said_durable, default=None)
        child = machine.start("reader", lambda channel: reader.read(machine, channel, most=most))
        machine.run(lambda: child.last("read") is not None, seconds=60)
        for what, text in child.last("faults") or ():
            self._fault(what, text)
        ids = [CheckpointId.parse(text) for text in child.last("read") or ()]
        machine.kill("reader")
        for each in machine.children.values():
            self._listen(each.said)
        if said is not None and (not ids or ids[0] < said):
            self._fault("lost", f"{said} was durable, the newest in the store is {ids[:1]}")
        return ids
