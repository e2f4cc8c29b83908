"""A store and a cloud in memory, and daemons that do what they must."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import xxhash

from outlast_agent import layout
from outlast_agent.records import AttemptEnd, AttemptNotice, Beat, Claim, Launch, Result, dump, load
from outlast_agent.spec import JobSpec
from outlast_agent.stores.base import AlreadyExistsError, Entry, NotFoundError, Store
from outlast_provisioning.job import Job
from outlast_provisioning.jobfile import JobFile
from outlast_provisioning.providers.base import Machine, NoCapacityError, Provider, Request

NAME = "digits"


class MemoryStore(Store):
    """See Store."""

    def __init__(self) -> None:
        self.url = "file:///memory"
        self.content: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def create(self, key: str, data: bytes | Path) -> None:
        with self._lock:
            if key in self.content:
                raise AlreadyExistsError(key)
            self.content[key] = data.read_bytes() if isinstance(data, Path) else data

    def put(self, key: str, data: bytes) -> None:
        self.content[key] = data

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        if key not in self.content:
            raise NotFoundError(key)
        return self.content[key]

    def fetch(self, key: str, path: Path) -> str:
        path.write_bytes(self.read(key))
        return xxhash.xxh3_128_hexdigest(self.read(key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        for key in sorted(self.content):
            if key.startswith(prefix) and key > after:
                yield Entry(key, len(self.content[key]))

    def delete(self, key: str) -> None:
        self.content.pop(key, None)


class Cloud(Provider):
    """Machines that come up at once. It checks that only what may be deleted is."""

    name = "local"

    def __init__(self, store: Store) -> None:
        self._store = store
        self.machines: dict[str, Machine] = {}
        self.specs: dict[str, JobSpec] = {}
        self.full = False
        self.asked = 0

    def ask(self, request: Request) -> Machine:
        self.asked += 1
        if self.full:
            raise NoCapacityError("nothing is free")
        launch = request.spec.launch
        made = Machine(request.machine, request.spec.job, launch, "running")
        self.specs[request.machine] = request.spec
        return self.machines.setdefault(request.machine, made)

    def list(self) -> list[Machine]:
        return sorted(self.machines.values(), key=lambda machine: machine.launch)

    def start(self, name: str) -> None:
        raise AssertionError("nobody starts machines again here")

    def delete(self, name: str) -> None:
        machine = self.machines.get(name)
        if machine is not None:
            self._store.read(layout.launch_closed(machine.job, machine.launch))  # it is closed
            del self.machines[name]

    def evict(self, name: str, *, notice: bool = True) -> None:
        del self.machines[name]

    def stop(self, name: str) -> None:
        old = self.machines[name]
        self.machines[name] = Machine(old.name, old.job, old.launch, "stopped")


class Daemons:
    """What the daemons of all machines write to the store."""

    def __init__(self, store: Store, cloud: Cloud) -> None:
        self._store = store
        self._cloud = cloud
        self.beats = 0

    def attempts(self) -> list[int]:
        prefix = f"{layout.job_root(NAME)}attempts/"
        names = [entry.key.removeprefix(prefix) for entry in self._store.list(prefix)]
        return [int(name[:6]) for name in names if name.count(".") == 1]

    def has(self, key: str) -> bool:
        try:
            self._store.read(key)
        except NotFoundError:
            return False
        return True

    def claim(self, machine: str) -> int | None:
        """Claim the next attempt if that is allowed."""
        found = self._cloud.machines.get(machine)
        if found is None or found.state != "running":
            return None
        if self.has(layout.launch_closed(NAME, found.launch)):
            return None
        if self.has(layout.result(NAME)) or self.has(layout.cancel(NAME)):
            return None
        last = max(self.attempts(), default=0)
        if last:
            over = self.has(layout.attempt_end(NAME, last))
            if not over and not self.has(layout.attempt_notice(NAME, last)):
                return None
            claim = load(Claim, self._store.read(layout.claim(NAME, last)), key="")
            end = layout.attempt_end(NAME, last)
            if claim.machine == machine and self.has(end):
                outcome = load(AttemptEnd, self._store.read(end), key="").outcome
                if outcome != "yielded":
                    return None
        claim = Claim(
            attempt=last + 1, launch=found.launch, machine=machine, boot_id="b", nonce="n"
        )
        self._store.create(layout.claim(NAME, last + 1), dump(claim))
        self.beat(last + 1, found)
        return last + 1

    def beat(self, attempt: int, machine: Machine, **more: object) -> None:
        self.beats += 1
        beat = Beat(
            job=NAME,
            attempt=attempt,
            launch=machine.launch,
            machine=machine.name,
            boot_id="b",
            sequence=self.beats,
            phase="training",
        )
        self._store.put(layout.beat(NAME), dump(beat.model_copy(update=more)))

    def notice(self, attempt: int) -> None:
        key = layout.attempt_notice(NAME, attempt)
        if not self.has(key):
            record = AttemptNotice(attempt=attempt, event_id="e", reason="preempt", seconds_left=30)
            self._store.create(key, dump(record))

    def end(self, attempt: int, outcome: str, **more: object) -> None:
        key = layout.attempt_end(NAME, attempt)
        if not self.has(key):
            record = AttemptEnd(attempt=attempt, by="daemon", outcome=outcome, **more)  # type: ignore[arg-type]
            self._store.create(key, dump(record))

    def finish(self, attempt: int) -> None:
        self.end(attempt, "finished", step=100)
        key = layout.result(NAME)
        if not self.has(key):
            self._store.create(key, dump(Result(outcome="finished", attempt=attempt)))


def job_file(**more: object) -> JobFile:
    return JobFile.model_validate(
        {
            "version": 1,
            "name": NAME,
            "code": ".",
            "command": ("python", "train.py"),
            "store": "file:///memory",
            "pools": ({"provider": "local"},),
            **more,
        }
    )


def job(**more: object) -> Job:
    return Job(name=NAME, store="file:///memory", file=job_file(**more))


def submitted(**more: object) -> MemoryStore:
    """A store with one job."""
    store = MemoryStore()
    store.create(layout.job_file(NAME), dump(job(**more)))
    first = Beat(
        job=NAME, attempt=None, launch=0, machine="", boot_id="", sequence=0, phase="submitted"
    )
    store.put(layout.beat(NAME), dump(first))
    return store


def launches(store: Store) -> list[Launch]:
    prefix = f"{layout.job_root(NAME)}launches/"
    keys = [entry.key for entry in store.list(prefix) if entry.key.count(".") == 1]
    return [load(Launch, store.read(key), key=key) for key in keys]


def closed(store: Store, number: int) -> str | None:
    try:
        from outlast_agent.records import LaunchClosed

        key = layout.launch_closed(NAME, number)
        return load(LaunchClosed, store.read(key), key=key).reason
    except NotFoundError:
        return None
