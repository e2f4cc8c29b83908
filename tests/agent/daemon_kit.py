"""A machine for tests: a real daemon process, a real metadata server, a real folder store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agent.metadata_kit import Metadata
from outlast.manifest import CheckpointId
from outlast_agent import layout, records
from outlast_agent.runtimes import wrapper
from outlast_agent.stores.file import FileStore

JOB = "digits"

PATIENCE = 90.0
"""Seconds for what must happen. A test that passes never waits so long; on a machine with much
else to do, a daemon alone takes ten seconds to begin."""

TRAIN = """
    import os, sys, time
    from pathlib import Path
    import numpy as np
    from outlast.run import Run
    from outlast.snapshot import Snapshot

    steps, pause = int(sys.argv[1]), float(sys.argv[2])
    hold = int(sys.argv[3]) if os.environ["OUTLAST_ATTEMPT"] == "1" else 0
    run = Run.current()
    state = np.random.default_rng(1).random(2000)
    begin = 0
    if run.resumed is not None:
        state, begin = run.resumed.arrays["state"], run.resumed.step
    outputs = Path(os.environ["OUTLAST_OUTPUTS"])
    log = outputs / "log.csv"
    for step in range(begin + 1, steps + 1):
        run.step_begin()
        state = np.sin(state * 1.7 + step)
        time.sleep(pause)
        with log.open("a") as file:
            file.write(f"{step},{state.sum()!r}\\n")
        run.step_end(step)
        if sys.argv[4:]:
            print(sys.argv[4], step, flush=True)
        while step == hold and not run.stop_requested and not (outputs.parent / "go").exists():
            time.sleep(0.01)
        snapshot = Snapshot(step, {"step": step}, {"state": state.copy()})
        if run.stop_requested:
            run.stop(snapshot)
        if run.due():
            run.save(snapshot)
    run.save(Snapshot(steps, {"step": steps}, {"state": state}), kind="end")
    run.flush(None)
    (outputs / "model.npy").write_bytes(state.tobytes())
    run.finish()
"""
"""Training as the daemon sees it: every step depends on all before it.

In the first attempt it waits after step ``hold`` until it is to stop, or may go on: however busy
the machine is, it has not finished by then.
"""


@dataclass
class Vm:
    """One machine: whatever runs on it, and its metadata server."""

    name: str
    root: Path
    spec: Path
    boot_id: str
    metadata: Metadata
    daemon: subprocess.Popen[bytes] | None = None
    codes: list[int] = field(default_factory=list)

    def start_daemon(self, *prefix: str) -> None:
        environ = {**os.environ, "OUTLAST_BOOT_ID": self.boot_id, "OUTLAST_MACHINE": self.name}
        with (self.root / "journal").open("ab") as journal:
            self.daemon = subprocess.Popen(
                [
                    *prefix, sys.executable, "-m", "outlast_agent", "run",
                    "--spec", str(self.spec), "--root", str(self.root),
                ],
                env=environ, stdout=journal, stderr=journal, start_new_session=True,
            )  # fmt: skip

    def kill_daemon(self) -> None:
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def power_cut(self) -> None:
        """SIGKILL to everything at once."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until(lambda: not self.processes(), 5)

    def reboot(self) -> None:
        self.power_cut()
        self.boot_id = str(uuid.uuid4())
        self.metadata.cancel()
        self.start_daemon()

    def processes(self) -> list[int]:
        """What commands left running on this machine."""
        found = []
        for pid in wrapper.pids():
            try:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if (
                f"OUTLAST_MACHINE={self.name}\0".encode() in environ + b"\0"
                and (self.daemon is None or pid != self.daemon.pid)
                and wrapper.start_time(pid) is not None
            ):
                found.append(pid)
        return found

    def wait(self, seconds: float = PATIENCE) -> int:
        """The daemon's exit code."""
        assert self.daemon is not None
        try:
            return self.daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the daemon of {self.name} still runs\n{self.journal()}"
            ) from None

    def step(self) -> int:
        """What the newest attempt here has done, from its own progress file."""
        paths = sorted(self.root.glob(f"jobs/{JOB}/attempts/*/control/progress.json"))
        return json.loads(paths[-1].read_bytes())["step"] if paths else 0

    def go(self) -> None:
        """The first attempt may go on after the step at which it was to be held."""
        (self.root / f"jobs/{JOB}/attempts/000001/go").touch()

    def journal(self) -> str:
        return (self.root / "journal").read_text()


@dataclass
class Cluster:
    """A store and the machines that meet in it."""

    folder: Path
    store: FileStore
    vms: list[Vm] = field(default_factory=list)

    def launch(self, number: int, command: list[str], **spec: Any) -> Vm:
        name = f"{JOB}-{number}-{uuid.uuid4().hex[:6]}"
        set_aside = spec.pop("set_aside", ())
        launch = records.Launch(
            job=JOB, number=number, provider="local", pool={}, machine=name,
            nonce=uuid.uuid4().hex, reason="first", set_aside=tuple(set_aside),
        )  # fmt: skip
        self.store.create(layout.launch(JOB, number), records.dump(launch))
        root = self.folder / name
        root.mkdir()
        metadata = Metadata(name)
        value = {
            "version": 1, "job": JOB, "launch": number, "machine": name, "store": self.store.url,
            "runtime": "process", "command": command,
            "watcher": {"kind": "azure", "endpoint": metadata.endpoint, "resource": name},
            "checkpoint": {"every_seconds": 0.3},
            **spec,
        }  # fmt: skip
        path = root / "spec.json"
        path.write_text(json.dumps(value))
        vm = Vm(name, root, path, str(uuid.uuid4()), metadata)
        vm.start_daemon()
        self.vms.append(vm)
        return vm

    def script(self, text: str, name: str = "train.py") -> str:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    def read(self, kind: type[records.R], key: str) -> records.R:
        return records.load(kind, self.store.read(key), key=key)

    def end(self, attempt: int) -> records.AttemptEnd:
        return self.read(records.AttemptEnd, layout.attempt_end(JOB, attempt))

    def beat(self) -> records.Beat:
        return self.read(records.Beat, layout.beat(JOB))

    def durable(self, attempt: int) -> int:
        """The newest step of this attempt that is in the store; 0: none."""
        keys = self.store.list(f"{layout.checkpoints(JOB)}{attempt:06d}-")
        return max((CheckpointId.parse(entry.key).step for entry in keys), default=0)

    def has(self, key: str) -> bool:
        return (self.store.root / key).exists()

    def events(self) -> list[records.Event]:
        return [
            self.read(records.Event, entry.key) for entry in self.store.list(layout.events(JOB))
        ]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events()]

    def log(self, attempt: int) -> str:
        return b"".join(
            self.store.read(entry.key) for entry in self.store.list(layout.logs(JOB, attempt))
        ).decode()

    def outputs(self, attempt: int) -> dict[str, bytes]:
        prefix = f"{layout.job_root(JOB)}outputs/{attempt:06d}/"
        return {
            entry.key.removeprefix(prefix): self.store.read(entry.key)
            for entry in self.store.list(prefix)
        }

    def close(self) -> None:
        for vm in self.vms:
            vm.power_cut()
            vm.metadata.close()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    made = Cluster(folder, FileStore(folder / "store"))
    try:
        yield made
    except BaseException:
        for vm in made.vms:
            print(f"--- {vm.name}\n{vm.journal()}")
        raise
    finally:
        made.close()


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What ``condition`` gives once it is true; an error after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"still not so after {seconds} s")
        time.sleep(0.02)


STEPS = 60


def expected(steps: int = STEPS) -> tuple[bytes, bytes]:
    """The model and the log of an uninterrupted run, computed here."""
    state = np.random.default_rng(1).random(2000)
    lines = []
    for step in range(1, steps + 1):
        state = np.sin(state * 1.7 + step)
        lines.append(f"{step},{state.sum()!r}\n")
    return state.tobytes(), "".join(lines).encode()


def train(
    world: Cluster, steps: int = STEPS, pause: float = 0.02, hold: int = 0, said: str = ""
) -> list[str]:
    return [
        sys.executable,
        world.script(TRAIN),
        str(steps),
        str(pause),
        str(hold),
        *([said] if said else []),
    ]


def assert_finished(world: Cluster, attempt: int, *, signalled: bool = True) -> None:
    model, log = expected()
    assert world.outputs(attempt) == {"model.npy": model, "log.csv": log}
    result = world.read(records.Result, layout.result(JOB))
    assert (result.outcome, result.attempt, result.step) == ("finished", attempt, STEPS)
    assert result.checkpoint == f"{attempt:06d}-{STEPS:012d}"
    assert world.end(attempt).outcome == "finished"
    if signalled:
        assert world.has(layout.signal(JOB, attempt, "finished"))


def agent(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outlast_agent", *args],
        capture_output=True, text=True, timeout=30, check=False, env=dict(os.environ),
    )  # fmt: skip


def status(root: Path) -> dict:
    path = root / "status.json"
    return json.loads(path.read_bytes()) if path.exists() else {"phase": "", "detail": ""}
