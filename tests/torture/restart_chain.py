"""A real daemon, killed before exact system calls and started again, while its program runs on.

The program is one process from its begin to a notice, under the runtime for plain processes; the
next attempt finishes what it had done. The gate that the daemon is behind is also that of what
it starts, so it is answered for as long as any of them lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.daemon_kit import JOB, Cluster, Vm, cluster
from outlast.checkpoint import DamagedError, checkpoints_in
from outlast.manifest import CheckpointId, ManifestError
from outlast_agent import layout, records
from outlast_agent.folders import remove_place
from torture import program
from torture.children import Child, fork
from torture.machine import Point
from torture.tally import Tally

CALLS = {
    "": 150, "write": 15, "fsync": 15, "linkat": 10, "unlinkat": 15, "rename": 5, "openat": 15,
    "mkdirat": 30,
}  # fmt: skip
POINT_SECONDS = 3.0
"""A point that is not reached in this time is where the daemon is then."""
SECONDS = 60.0
SCRIPT = """
    import json, os, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from outlast.run import Run
    from torture import program

    def say(**what):
        with open({said!r}, "a") as file:
            file.write(json.dumps({{"attempt": os.environ["OUTLAST_ATTEMPT"], **what}}) + "\\n")

    resumed = Run.current().resumed
    total = program.FOREVER if resumed is None else resumed.step + 6
    program.train(None, {seed}, total, say, pause=0.02)
"""


class RestartChain:
    """One job, and so many restarts of its daemon."""

    def __init__(self, root: Path, seed: int, points: int) -> None:
        self.tally = Tally()
        self._root, self._seed, self._points = root, seed, points
        self._chance = random.Random(seed)
        self._where = "the start"
        self._gates: list[Child] = []
        self._daemon: Child | None = None
        self._groups: dict[int, int] = {}

    def run(self) -> Tally:
        """All of its points, its end, and what is in the store then."""
        try:
            with cluster(self._root) as world:
                self._job(world)
        except AssertionError as error:
            self._fault("lost", str(error))
        finally:
            if self._daemon is not None:
                os.kill(self._daemon.pid, signal.SIGKILL)
                os.waitpid(self._daemon.pid, 0)
            for link in self._root.glob("**/jobs/*/memory"):
                remove_place(link.parent)
        return self.tally

    def _job(self, world: Cluster) -> None:
        said = self._root / "said"
        tests = str(Path(__file__).parents[1])
        text = SCRIPT.format(tests=tests, said=str(said), seed=self._seed)
        command = [sys.executable, world.script(text)]
        vm = world.launch(1, command, checkpoint={"every_seconds": 0.05})
        self._until(lambda: world.durable(1) > 0)
        vm.kill_daemon()
        vm.daemon = None
        least = world.durable(1)
        while self.tally.points < self._points:
            self._start(vm)
            call = self._chance.choice(tuple(CALLS))
            point = Point("daemon", call, self._chance.randint(1, CALLS[call]), ("daemon",), False)
            self._where = str(point)
            self.tally.count(f"restart at {self._kill_at(point)}")
            least = self._check(world, 1, least)
        self._start(vm)
        self._until(lambda: world.durable(1) > least)
        vm.metadata.evict(60)
        self._until(lambda: world.has(layout.attempt_end(JOB, 1)))
        end = world.end(1)
        if end.outcome != "yielded" or end.step != end.durable_step:
            self._fault("lost", f"a notice after {self._points} restarts: {end}")
        vm.power_cut()
        self._reap()
        self._check(world, 1, end.durable_step or 0)
        total = (end.durable_step or 0) + 6
        last = world.launch(2, command, checkpoint={"every_seconds": 0.05})
        last.wait()
        result = world.read(records.Result, layout.result(JOB))
        if (result.outcome, result.attempt, result.step) != ("finished", 2, total):
            self._fault("lost", f"it ends so: {result}")
        if world.outputs(2) != program.outputs(total):
            self._fault("wrong", f"its outputs are not those of step {total}")
        self._check(world, 2, total)
        lines = [json.loads(line) for line in said.read_text().splitlines()]
        begun = [(each["attempt"], each["begun"]) for each in lines if "begun" in each]
        if begun != [("1", 0), ("2", end.durable_step)]:
            self._fault("wrong", f"the program began so: {begun}")
        if wrong := [each for each in lines if each.get("wrong")]:
            self._fault("wrong", str(wrong))

    def _check(self, world: Cluster, attempt: int, least: int) -> int:
        """All of the store; its newest step, which is at least ``least``."""
        root = world.store.root / layout.job_root(JOB)
        newest = 0
        for id_ in checkpoints_in(root):
            if self._daemon is not None and id_ < CheckpointId(attempt, least):
                continue  # it may just be swept
            try:
                wrong = program.check(root, id_)
            except (DamagedError, ManifestError) as error:
                self._fault("torn", f"{id_}: {error}")
                continue
            newest = max(newest, id_.step)
            if wrong is not None:
                self._fault("wrong", f"{id_}: {wrong}")
        if newest < least:
            self._fault("lost", f"step {least} was durable, {newest} is the newest")
        return newest

    # The daemon behind its gate -----------------------------------------------------------------

    def _start(self, vm: Vm) -> None:
        environ = {**os.environ, "OUTLAST_BOOT_ID": vm.boot_id, "OUTLAST_MACHINE": vm.name}
        command = [
            sys.executable, "-m", "outlast_agent", "run",
            "--spec", str(vm.spec), "--root", str(vm.root),
        ]  # fmt: skip

        def main(_channel: object) -> None:
            os.setsid()
            os.execve(command[0], command, environ)

        self._daemon = fork("daemon", vm.root / "journal", main)
        self._gates.append(self._daemon)

    def _kill_at(self, point: Point) -> str:
        """Kill it there; the name of the call."""
        found: list[str] = []

        def reached(name: str, count: dict[str, int]) -> bool:
            if point.call in ("", name) and count[point.call] >= point.count:
                found.append(name)
            return bool(found)

        with contextlib.suppress(AssertionError):
            self._until(lambda: bool(found), POINT_SECONDS, reached)
        assert self._daemon is not None
        os.kill(self._daemon.pid, signal.SIGKILL)
        self._reap()
        return found[0] if found else "any time"

    def _reap(self) -> None:
        if self._daemon is not None:
            os.waitpid(self._daemon.pid, 0)
            self._daemon = None

    def _until(
        self,
        condition: Callable[[], Any],
        seconds: float = SECONDS,
        reached: Callable[[str, dict[str, int]], bool] = lambda _name, _count: False,
    ) -> None:
        """Answer the gates until it is so. ``reached``: asked of each call of the daemon, and
        where it is true the call is not answered."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise AssertionError(f"still not so after {seconds:.0f} s")
            poll = select.poll()
            by_number = {child.gate.listener: child for child in self._gates}
            for number in by_number:
                poll.register(number, select.POLLIN)
            for number, event in poll.poll(20):
                child = by_number[number]
                if event & select.POLLHUP:  # none of them lives
                    child.gate.close()
                    self._gates.remove(child)
                    continue
                call = child.gate.next()
                if call is None:
                    continue
                if self._daemon is child and self._group(call.thread) == child.pid:
                    child.calls[call.name] += 1
                    child.calls[""] += 1
                    if reached(call.name, child.calls):
                        return
                child.gate.allow(call)

    def _group(self, thread: int) -> int:
        """The process that a thread is of."""
        if thread not in self._groups:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{thread}/status").read_text()
                self._groups[thread] = int(status.partition("Tgid:")[2].split()[0])
        return self._groups.get(thread, 0)

    def _fault(self, what: str, text: str) -> None:
        self.tally.fault(what, f"{text} ({self._where}; chain {self._seed})")
