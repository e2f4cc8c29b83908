"""One job under torture: killed, checked, resumed and killed again, until it may finish."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from outlast.checkpoint import DamagedError, checkpoints_in
from outlast.manifest import CheckpointId, ManifestError
from outlast_agent import layout
from torture import program
from torture.daemon import JOB, durable_in
from torture.machine import ChildEndedError, Machine, Point
from torture.tally import Tally

WRITER_CALLS = (
    "", "write", "pwrite64", "pwrite64", "flock", "fsync", "ftruncate", "rename", "openat",
    "unlink", "mkdir",
)  # fmt: skip
DAEMON_CALLS = (
    "", "", "write", "flock", "fsync", "linkat", "unlinkat", "openat", "mkdirat", "delete"
)  # fmt: skip
POINT_SECONDS = 4.0
"""A point not reached in this time, some hundred saves, is given up."""
LAST_STEPS = 6
"""Steps of the last attempt, which nobody kills."""


class Chain:
    """A seeded job of so many points, in a folder of its own."""

    def __init__(self, root: Path, seed: int, points: int) -> None:
        self.tally = Tally()
        self._root, self._seed, self._points = root, seed, points
        self._chance = random.Random(seed)
        self._said_durable: list[CheckpointId] = []
        self._restored = 0
        self._parent: CheckpointId | None = None
        self._where = "the start"

    def run(self) -> Tally:
        """All of its points, and its end."""
        try:
            if self._is_alone():
                self._alone()
            else:
                self._managed()
        except ChildEndedError as error:
            self._fault("wrong", str(error))
        return self.tally

    def _is_alone(self) -> bool:
        """Whether there is no daemon."""
        return self._chance.random() < 0.2

    # Without a daemon ---------------------------------------------------------------------------

    def _alone(self) -> None:
        machine = Machine(self._root, 0, self._chance.randrange(1 << 30))
        whole = 0
        try:
            while self.tally.points + self.tally.missed < self._points:
                point = self._point("writer", ("writer",), beside=False)
                writer = machine.start_alone()
                call = machine.run(lambda: False, point=point, seconds=POINT_SECONDS)
                machine.kill("writer")
                self._count(point, call)
                self._judge_begun(writer.said, whole)
                whole = max([whole, *(each["whole"] for each in writer.said if "whole" in each)])
                ids = self._check_all(machine.scratch)
                newest = ids[0].step if ids else 0
                if newest < whole:
                    self._fault("lost", f"step {whole} was whole, step {newest} is the newest")
                whole = newest
            writer = machine.start_alone(whole + LAST_STEPS)
            self._where = f"the end after {self._where}"
            machine.run(lambda: writer.last("finished") is not None)
            if writer.last("finished") != whole + LAST_STEPS:
                self._fault("lost", f"it did not finish: {writer.said[-3:]}")
            self._judge_begun(writer.said, whole)
        finally:
            machine.kill("writer")

    def _judge_begun(self, said: list[dict[str, object]], least: int) -> None:
        begun = next((each for each in said if "begun" in each), None)
        if begun is None:
            return
        if begun["wrong"]:
            self._fault("wrong", str(begun["wrong"]))
        if begun["begun"] != least:
            self._fault("lost", f"went on from step {begun['begun']}, step {least} was whole")

    # With one -----------------------------------------------------------------------------------

    def _managed(self) -> None:
        attempt = 1
        while True:
            machine = self._machine(attempt)
            try:
                if self.tally.points + self.tally.missed >= self._points:
                    self._finish(machine)
                    return
                self._attempt(machine)
            finally:
                machine.kill("writer", "daemon")
            self._check_store()
            attempt += 1

    def _machine(self, attempt: int) -> Machine:
        """The next one."""
        machine = Machine(self._root, attempt, self._chance.randrange(1 << 30))
        if self._chance.random() < 0.3:
            machine.memory.rmdir()
        if self._chance.random() < 0.3:
            machine.failing = self._chance.randrange(1 << 30)
        return machine

    def _check_store(self) -> list[CheckpointId]:
        """All that is there, newest first."""
        return self._check_all(self._root / "store" / layout.job_root(JOB))

    def _attempt(self, machine: Machine) -> None:
        """Until the program is dead: a daemon that is killed comes again beside it."""
        self._begin(machine)
        noticed = False
        while self.tally.points + self.tally.missed < self._points:
            point = self._managed_point()
            child = machine.children[point.role]
            child.calls.clear()
            children = dict(machine.children)
            if not noticed and self._chance.random() < 0.15:
                noticed = True
                machine.notice()
            if noticed:  # not much more is done
                point = replace(point, count=min(point.count, self._chance.randint(1, 40)), hold=0)
            seconds = 1.0 if noticed else POINT_SECONDS
            call = machine.run(lambda: False, point=point, seconds=seconds)
            stopped = children["writer"].last("stopped")
            for each in children.values():
                self._listen(each.said)
            if call is False and noticed and stopped is not None:
                self._where = "a notice"
                self._flush(machine)
                if CheckpointId(machine.attempt, stopped) not in self._said_durable:
                    self._fault("lost", f"step {stopped}, the last under a notice, is not durable")
                self.tally.count("notice, and nobody killed")
                return
            self._count(point, call, kind=f"notice: {'+'.join(point.victims)}" if noticed else "")
            if call is False:
                return
            if point.victims == ("daemon",):
                machine.start_daemon(adopts=True)
                if noticed:
                    machine.children["daemon"].send("rush")
                if self._chance.random() < 0.3:
                    return  # and the machine goes as well
                continue
            if point.victims == ("writer",):
                self._flush(machine)
            return

    def _begin(self, machine: Machine) -> None:
        """Restore, killed now and then, and start the program."""
        tries = 0
        while True:
            daemon = machine.start_daemon(adopts=False)
            point = None
            if tries < 2 and machine.attempt > 1 and self._chance.random() < 0.25:
                call = self._chance.choice(("", "write", "rename", "openat", "fsync", "mkdir"))
                point = Point("daemon", call, self._chance.randint(1, 12), ("daemon",), tries == 0)
            said = daemon.said
            call = machine.run(
                lambda said=said: any("uploading" in each for each in said), point=point
            )
            self._listen(said)
            tries += 1
            if call is True:
                break
            assert point is not None, f"a restore takes more than 20 s: {said}"
            self._count(point, call, kind="restore")
        self._judge_restored(machine, said)
        machine.start_writer()

    def _judge_restored(self, machine: Machine, said: list[dict[str, object]]) -> None:
        told = next(each for each in said if "restored" in each)
        id_ = None if told["restored"] is None else CheckpointId.parse(str(told["restored"]))
        self._parent, self._restored = id_, 0 if id_ is None else id_.step
        if told["damaged"]:
            self._fault("torn", f"passed over in the store: {told['damaged']}")
        newest = max(self._said_durable, default=None)
        if newest is not None and (id_ is None or id_ < newest):
            self._fault("lost", f"{newest} was durable, {id_} was restored")
        if id_ is not None:
            self._check(machine.scratch, id_)
            wrong = program.check_outputs(id_, machine.outputs)
            if wrong is not None:
                self._fault("wrong", wrong)

    def _flush(self, machine: Machine) -> None:
        """The program is dead and the machine is not: all that was whole becomes durable."""
        ids = [id_ for id_ in self._check_all(machine.scratch) if id_.attempt == machine.attempt]
        if machine.memory.is_dir():
            in_memory = checkpoints_in(machine.memory)
            if in_memory:
                self.tally.kinds["beside: a checkpoint in memory to be flushed"] += 1
            ids = sorted({*ids, *in_memory}, reverse=True)
        daemon = machine.children["daemon"]
        if self._chance.random() < 0.5:  # it goes on with what it held before it hears of the end
            machine.run(lambda: False, seconds=0.1)
        daemon.send("flush")
        machine.run(lambda: daemon.last("flushed") is not None)
        self._listen(daemon.said)
        if daemon.last("flushed") is None:
            self._fault("lost", "a flush was not answered in 20 s")
        if ids and ids[0] not in self._said_durable:
            self._fault("lost", f"{ids[0]} was whole in scratch and not flushed")

    def _finish(self, machine: Machine) -> None:
        self._where = f"the end after {self._where}"
        daemon = machine.start_daemon(adopts=False)
        machine.run(lambda: daemon.last("uploading") is not None)
        self._judge_restored(machine, daemon.said)
        restored = daemon.last("restored")
        begun = CheckpointId.parse(restored).step if restored else 0
        writer = machine.start_writer(begun + LAST_STEPS)
        machine.run(lambda: writer.last("finished") is not None)
        if writer.last("finished") != begun + LAST_STEPS:
            self._fault("lost", f"it did not finish: {writer.said[-3:]}")
        machine.kill("writer")
        self._flush(machine)
        ids = self._check_store()
        if ids[:1] != [CheckpointId(machine.attempt, begun + LAST_STEPS)]:
            self._fault("lost", f"the newest in the store is {ids[:1]}")

    def _listen(self, said: list[dict[str, object]]) -> None:
        self._said_durable += durable_in(said)
        for each in said:
            if each.get("begun", self._restored) != self._restored:
                self._fault("lost", f"{each} after step {self._restored} was restored")
            for name in ("refused", "crashed", "wrong"):
                if each.get(name):
                    self._fault("wrong", f"{name}: {each[name]}")
        said[:] = [each for each in said if "durable" not in each and "refused" not in each]

    # Points and faults --------------------------------------------------------------------------

    def _managed_point(self) -> Point:
        role = self._chance.choice(("writer", "writer", "daemon"))
        victims = self._chance.choice((("writer", "daemon"), (role,)))
        return self._point(role, victims, beside=True)

    def _point(self, role: str, victims: tuple[str, ...], *, beside: bool) -> Point:
        call = self._chance.choice(WRITER_CALLS if role == "writer" else DAEMON_CALLS)
        most = MOST[role].get(call, 20)
        count = round(most ** self._chance.random()) if self._chance.random() < 0.4 else (
            self._chance.randint(1, most)
        )  # fmt: skip
        torn = self._chance.random() < 0.5
        if len(victims) == 1 and beside and self._chance.random() < 0.4:
            # Long enough for a few saves: what the other one was about to read has gone by then.
            hold = self._chance.choice((self._chance.randint(1, count), LONG))
            at = self._chance.choice(("", *HOLD_AT[role]))
            return Point(role, "" if hold == LONG else call, count + hold, victims, torn, hold, at)
        return Point(role, call, count, victims, torn)

    def _count(self, point: Point, call: object, kind: str = "") -> None:
        self._where = str(point)
        if call is False or call is True:
            self.tally.missed += 1
            return
        name = getattr(call, "name", "")
        self.tally.count(f"{kind or '+'.join(point.victims)} at {name}")

    def _check_all(self, root: Path) -> list[CheckpointId]:
        ids = checkpoints_in(root)
        for id_ in ids:
            self._check(root, id_)
        return ids

    def _check(self, root: Path, id_: CheckpointId) -> None:
        try:
            wrong = program.check(root, id_)
        except (DamagedError, ManifestError) as error:
            self._fault("torn", f"{id_} below {root.name}: {error}")
            return
        if wrong is not None:
            self._fault("wrong", f"{id_} below {root.name}: {wrong}")

    def _fault(self, what: str, text: str) -> None:
        self.tally.fault(what, f"{text} ({self._where}; chain {self._seed})")


LONG = 900
"""Calls of the writer in some nine saves: by then files that were to be read are written over."""
HOLD_AT = {
    "writer": ("flock", "flock", "linkat", "unlinkat", "fsync"),
    "daemon": ("rename", "pwrite64"),
}
"""Where the other one is stopped."""

MOST = {
    "writer": {
        "": 600, "write": 40, "pwrite64": 200, "flock": 60, "fsync": 60, "ftruncate": 40,
        "rename": 60, "openat": 60, "unlink": 20, "mkdir": 5,
    },
    "daemon": {
        "": 400, "write": 40, "flock": 30, "fsync": 120, "linkat": 40, "unlinkat": 80, "delete": 20,
        "openat": 40, "mkdirat": 150,
    },
}  # fmt: skip
"""Up to which occurrence of a call, which is a few saves."""
