"""Small real jobs, real machines of the local provider, and what to expect of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from outlast_agent import layout
from outlast_agent.records import Result, load
from outlast_agent.stores.base import NotFoundError
from outlast_agent.stores.file import FileStore
from outlast_provisioning.checks import check_job_file
from outlast_provisioning.controller import Controller
from outlast_provisioning.providers.local import LocalProvider
from outlast_provisioning.submit import submit

NAME = "walk"

TRAIN = """
import os, sys, time
import numpy as np
import outlast

rng = np.random.default_rng(1)
session = outlast.Session()
session.track(rng=rng)
walk = session.arrays.get("walk", np.zeros(8))
for step in session.steps(int(sys.argv[1])):
    walk = walk + rng.normal(size=8)
    session.arrays["walk"] = walk
    with open(os.environ["STEPS"], "a") as log:
        log.write(f"{os.environ['OUTLAST_ATTEMPT']} {step + 1}\\n")
    time.sleep(float(sys.argv[2]))
with open(os.path.join(os.environ["OUTLAST_OUTPUTS"], "walk.txt"), "w") as file:
    file.write(walk.tobytes().hex())
"""


def expected_walk(steps: int) -> str:
    """What an uninterrupted run ends with."""
    rng = np.random.default_rng(1)
    walk = np.zeros(8)
    for _ in range(steps):
        walk = walk + rng.normal(size=8)
    return walk.tobytes().hex()


@dataclass
class Place:
    """One store, one home, one job."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "code").mkdir(parents=True)
        self.store = FileStore(self.folder / "store")
        self.home = self.folder / "home"
        self.provider = LocalProvider(self.home)

    @property
    def url(self) -> str:
        return self.store.url

    def write(self, script: str, *arguments: object, grace: str = "10s", more: str = "") -> Path:
        """The job file of ``script``."""
        (self.folder / "code" / "train.py").write_text(script)
        words = ", ".join(f'"{argument}"' for argument in arguments)
        file = self.folder / "job.yaml"
        file.write_text(
            f"version: 1\nname: {NAME}\ncode: code\nstore: {self.url}\n"
            f"command: [{sys.executable}, train.py, {words}]\n"
            f"env: {{STEPS: {self.folder / 'steps.log'}}}\n"
            f"pools: [{{provider: local, grace: {grace}}}]\n{more}"
        )
        return file

    def submit(self, file: Path) -> None:
        submit(check_job_file(file, store=None, environ={"PATH": "/usr/bin:/bin"}), self.store)

    @contextmanager
    def controller(self) -> Iterator[list[str]]:
        """A controller in a thread; what it says."""
        said: list[str] = []
        stop = threading.Event()
        controller = Controller(
            self.store,
            {"local": self.provider},
            say=lambda text, **facts: said.append(f"{text} {facts}"),
        )
        thread = threading.Thread(target=controller.run, args=(stop,))
        thread.start()
        try:
            yield said
        finally:
            stop.set()
            thread.join()

    def result(self) -> Result | None:
        key = layout.result(NAME)
        try:
            return load(Result, self.store.read(key), key=key)
        except NotFoundError:
            return None

    def steps(self) -> list[tuple[int, int]]:
        """(attempt, step) of each step really done."""
        path = self.folder / "steps.log"
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        return [(int(attempt), int(step)) for attempt, step in map(str.split, lines)]

    def last_step(self) -> int:
        return max((step for _, step in self.steps()), default=0)

    def training_machine(self) -> str:
        """The machine of the newest attempt."""
        from outlast_agent.records import Claim

        attempt = max(self.attempts())
        key = layout.claim(NAME, attempt)
        return load(Claim, self.store.read(key), key=key).machine

    def attempts(self) -> list[int]:
        names = [path.name for path in (self.store.root / "jobs" / NAME / "attempts").glob("*")]
        return sorted(int(name[:6]) for name in names if name.count(".") == 1)

    def walk(self) -> str:
        result = self.result()
        assert result is not None
        assert result.attempt is not None
        return self.store.read(layout.output(NAME, result.attempt, "walk.txt")).decode()

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [log.read_text()[-2000:] for log in self.home.glob("local/*/agent.log")]
                raise AssertionError(f"waited {seconds} s for {what}\n" + "\n".join(logs))
            time.sleep(0.02)
