"""A machine for tests: a real daemon process, a real metadata server, a real folder store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from outlast.manifest import CheckpointId
from outlast_agent import layout, records
from outlast_agent.runtimes import wrapper
from outlast_agent.stores.file import FileStore

JOB = "digits"

TRAIN = """
    import os, sys, time
    from pathlib import Path
    import numpy as np
    from outlast.run import Run
    from outlast.snapshot import Snapshot

    steps, pause = int(sys.argv[1]), float(sys.argv[2])
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
"""Training as the daemon sees it: every step depends on all before it."""


class Metadata:
    """Azure's scheduled events for one machine, as the real service shapes them."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self.events: Any = []
        self.acknowledged: list[str] = []
        self.polls: list[float] = []
        self.status = 200
        self.date: str | None = None
        """The server's own idea of now, instead of the right one."""
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metadata.polls.append(time.monotonic())
                if self.headers.get("Metadata") != "true" or self.headers.get("X-Forwarded-For"):
                    self._answer(400, {"error": "Bad request"})
                elif metadata.status != 200:
                    self._answer(metadata.status, {})
                else:
                    value = {"DocumentIncarnation": len(metadata.polls), "Events": metadata.events}
                    self._answer(200, value)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                metadata.acknowledged += [each["EventId"] for each in body["StartRequests"]]
                self._answer(200, {})

            def date_time_string(self, timestamp: float | None = None) -> str:
                return metadata.date or super().date_time_string(timestamp)

            def _answer(self, code: int, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def evict(self, seconds: float, kind: str = "Preempt") -> str:
        """Announce the end of the machine."""
        id_ = str(uuid.uuid4()).upper()
        at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        self.events = [
            {
                "EventId": id_,
                "EventStatus": "Scheduled",
                "EventType": kind,
                "ResourceType": "VirtualMachine",
                "Resources": [self.resource],
                "NotBefore": format_datetime(at, usegmt=True),
                "Description": "",
                "EventSource": "Platform",
            }
        ]
        return id_

    def cancel(self) -> None:
        """Take it back: the event disappears."""
        self.events = []

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


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

    def wait(self, seconds: float = 30) -> int:
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


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
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


def train(world: Cluster, steps: int = STEPS, pause: float = 0.02) -> list[str]:
    return [sys.executable, world.script(TRAIN), str(steps), str(pause)]


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
