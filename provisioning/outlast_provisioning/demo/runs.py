"""The demo's two kinds of run: a plain process, and a job whose machine is taken away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from outlast_agent import layout
from outlast_agent.records import Claim, Event, RecordError, Result, load
from outlast_agent.stores.base import NotFoundError
from outlast_agent.stores.file import FileStore
from outlast_provisioning.demo.measure import Loss, StoreTimes
from outlast_provisioning.demo.plan import Point
from outlast_provisioning.demo.steplog import Step, parse_steps
from outlast_provisioning.providers.base import Provider

JOB = "digits"
PATIENCE = 180.0
"""Seconds without a new step after which a run is given up."""

Watch = Callable[[int, str, list[str]], None]
"""Called often with the newest step, a line about the job, and its latest events."""


class DemoError(Exception):
    """The demo cannot go on; the message says why and where to look."""


@dataclass
class StepLog:
    """Reads the step log as it grows."""

    path: Path
    steps: list[Step] = field(default_factory=list)
    _offset: int = 0

    def read(self) -> list[Step]:
        """All steps so far."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offset += len(whole)
            self.steps += parse_steps(whole.decode().splitlines(keepends=True))
        return self.steps


@dataclass(frozen=True)
class PlainRun:
    """An uninterrupted run, as a plain process."""

    outputs: Path
    steps: list[Step]
    start_seconds: float
    """From the start of the process to the end of its first step."""
    seconds: float


def run_plain(
    folder: Path, command: list[str], code: Path, env: Mapping[str, str], watch: Watch
) -> PlainRun:
    """Run the script once, without a daemon. Raises DemoError if it fails."""
    outputs = folder / "outputs"
    outputs.mkdir(parents=True)
    log = StepLog(folder / "steps.log")
    began = time.monotonic()
    with (folder / "script.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=code,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **_clean_environment(),
                **env,
                "STEP_LOG": str(log.path),
                "OUTLAST_OUTPUTS": str(outputs),
                "OUTLAST_SCRATCH": str(folder / "scratch"),
            },
        )
        try:
            while process.poll() is None:
                watch(len(log.read()), "", [])
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0 or not log.read():
        tail = (folder / "script.log").read_text(errors="replace").splitlines()[-15:]
        raise DemoError("the plain run failed:\n" + "\n".join(tail))
    return PlainRun(outputs, log.steps, log.steps[0].at - began, time.monotonic() - began)


@dataclass(frozen=True)
class JobRun:
    """A job that lost its machines, and was finished."""

    outputs: Path
    steps: list[Step]
    losses: list[Loss]
    times: StoreTimes
    seconds: float


@dataclass
class JobStory:
    """Submits the job, starts a controller, takes machines away, waits for the result."""

    folder: Path
    code: Path
    command: list[str]
    env: Mapping[str, str]
    grace: float
    home: Path
    """Outlast's own folder (``OUTLAST_HOME``): the local machines lie in it."""
    provider: Provider
    watch: Watch

    def run(self, points: list[Point]) -> JobRun:
        """Tell the whole story. Raises DemoError if the job does not finish."""
        self.folder.mkdir(parents=True)
        store = FileStore(self.folder / "store")
        log = StepLog(self.folder / "steps.log")
        job_file = self._write_job_file(log.path)
        began = time.monotonic()
        self._command("submit", str(job_file))
        with (self.folder / "controller.log").open("wb") as output:
            controller = subprocess.Popen(
                self._outlast("controller", "--store", self._store_url),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
            )
            try:
                losses, result = self._lose_machines(store, log, points, controller)
            finally:
                controller.terminate()
                controller.wait()
        if result.outcome != "finished" or result.attempt is None:
            tail = "\n".join(result.log_tail[-15:])
            raise DemoError(f"the job ended as {result.outcome}: {result.message}\n{tail}")
        return JobRun(
            outputs=self.folder / "store" / layout.output(JOB, result.attempt, ""),
            steps=log.read(),
            losses=losses,
            times=self._times(store),
            seconds=time.monotonic() - began,
        )

    def _lose_machines(
        self,
        store: FileStore,
        log: StepLog,
        points: list[Point],
        controller: subprocess.Popen[bytes],
    ) -> tuple[list[Loss], Result]:
        losses: list[Loss] = []
        news, seen = time.monotonic(), 0
        while True:
            steps = log.read()
            if len(steps) > seen:
                news, seen = time.monotonic(), len(steps)
            events = latest_events(store)
            self.watch(steps[-1].number if steps else 0, self._where(store), events)
            if len(losses) < len(points) and steps:
                point, last = points[len(losses)], steps[-1]
                due = last.number >= point.step
                if due and all(loss.attempt != last.attempt for loss in losses):
                    losses.append(self._take_away(store, point, last.attempt))
            try:
                return losses, load(Result, store.read(layout.result(JOB)), key="result.json")
            except NotFoundError:
                pass
            if controller.poll() is not None:
                raise DemoError(f"the controller ended: see {self.folder / 'controller.log'}")
            if time.monotonic() - news > PATIENCE:
                raise DemoError(f"no step for {PATIENCE:.0f} s: see {self.folder}")
            time.sleep(0.01 if len(losses) < len(points) else 0.05)

    def _take_away(self, store: FileStore, point: Point, attempt: int) -> Loss:
        claim = load(Claim, store.read(layout.claim(JOB, attempt)), key="claim")
        asked_at = time.monotonic()
        self.provider.evict(claim.machine, notice=point.kind == "notice")
        return Loss(point.kind, attempt, asked_at)

    def _times(self, store: FileStore) -> StoreTimes:
        """From the stamps in the names of the daemons' events, brought to CLOCK_MONOTONIC."""
        offset = time.monotonic() - time.time()
        noticed: dict[int, float] = {}
        durable: dict[int, float] = {}
        for entry in store.list(layout.events(JOB)):
            event = load(Event, store.read(entry.key), key=entry.key)
            at = int(entry.key.rsplit("/", 1)[1].split("-")[0]) / 1e6 + offset
            if event.attempt is not None and event.kind == "notice":
                noticed.setdefault(event.attempt, at)
            if event.attempt is not None and event.kind == "durable":
                durable[event.attempt] = at
        return StoreTimes(noticed, durable)

    def _where(self, store: FileStore) -> str:
        try:
            beat = json.loads(store.read(layout.beat(JOB)))
        except (NotFoundError, ValueError):
            return "submitted"
        durable = beat.get("durable_step")
        return (
            f"attempt {beat.get('attempt') or '-'} on {beat.get('machine') or '-'}: "
            f"{beat.get('phase')}, durable step {'-' if durable is None else durable}"
        )

    def _write_job_file(self, steps: Path) -> Path:
        job = {
            "version": 1,
            "name": JOB,
            "code": str(self.code),
            "command": self.command,
            "env": {**self.env, "STEP_LOG": str(steps)},
            "store": self._store_url,
            "pools": [{"provider": self.provider.name, "grace": f"{self.grace:g}s"}],
            # Auto reckons with a loss each hour or so; here it is each minute or so.
            "checkpoint": {"every": "5s", "durable_every": "5s"},
        }
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(job, sort_keys=False))
        return path

    @property
    def _store_url(self) -> str:
        return f"file://{self.folder / 'store'}"

    def _environment(self) -> dict[str, str]:
        return {**_clean_environment(), "OUTLAST_HOME": str(self.home)}

    def _outlast(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "outlast_provisioning", *arguments]

    def _command(self, *arguments: str) -> None:
        done = subprocess.run(
            self._outlast(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        if done.returncode:
            raise DemoError(f"`outlast {arguments[0]}` failed: {done.stderr or done.stdout}")


def latest_events(store: FileStore, count: int = 6) -> list[str]:
    """The newest events, oldest first, as lines."""
    lines = []
    for entry in list(store.list(layout.events(JOB)))[-count:]:
        try:
            event = load(Event, store.read(entry.key), key=entry.key)
        except (NotFoundError, RecordError):
            continue
        lines.append(f"{event.at[11:19]} {event.text}")
    return lines


def copy_code(source: Path, target: Path) -> Path:
    """The example's script in a folder of its own, without what else lies beside it."""
    target.mkdir(parents=True)
    shutil.copy(source / "train.py", target)
    return target


def _clean_environment() -> dict[str, str]:
    """This process's environment without what an outer job may have set."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST_")}
