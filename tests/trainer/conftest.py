"""Runs scripts that use the library, as a person or the daemon would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outlast.notice import Notice, write_notice
from outlast.progress import End, read_end


@dataclass
class Place:
    """The folders of one job on one machine."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    def control(self, attempt: int = 1) -> Path:
        return self.root / f"control-{attempt}"

    def script(self, text: str) -> Path:
        path = self.root / "train.py"
        path.write_text(textwrap.dedent(text))
        return path

    def environ(self, attempt: int, **more: str) -> dict[str, str]:
        for folder in (self.scratch, self.outputs, self.control(attempt)):
            folder.mkdir(parents=True, exist_ok=True)
        return {
            **os.environ,
            "OUTLAST_SCRATCH": str(self.scratch),
            "OUTLAST_OUTPUTS": str(self.outputs),
            "OUTLAST_CONTROL": str(self.control(attempt)),
            "OUTLAST_JOB": "test",
            "OUTLAST_ATTEMPT": str(attempt),
            **self.env,
            **more,
        }

    def start(self, *command: str | Path, attempt: int = 1, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(part) for part in command],
            env=self.environ(attempt, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kill(self, process: subprocess.Popen[str]) -> None:
        """The machine is gone, with all that ran on it."""
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def run(
        self, *command: str | Path, attempt: int = 1, **more: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, attempt=attempt, **more)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def python(self, script: Path, attempt: int = 1, **more: str):
        return self.run(sys.executable, script, attempt=attempt, **more)

    def notice(self, attempt: int = 1, seconds: float = 30.0, id: str = "event-1") -> None:  # noqa: A002
        deadline = time.monotonic() + seconds
        write_notice(self.control(attempt), Notice(id, "preempt", seconds, deadline, ""))

    def end(self, attempt: int = 1) -> End | None:
        return read_end(self.control(attempt))

    def notes(self, attempt: int = 1) -> list[dict[str, str]]:
        path = self.control(attempt) / "notes.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def wait_for(condition, timeout: float = 20.0):
    """Until ``condition()`` is true (its value), or the test fails."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


@pytest.fixture(name="wait_for")
def _wait_for():
    return wait_for
