"""What the tests of the Docker runtime start and wait for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from outlast_agent.runtimes.base import Exit, Work
from outlast_agent.runtimes.docker import DockerRuntime


def run(runtime: DockerRuntime, work: Work, *command: str) -> Exit:
    """Start, wait for the end, remove."""
    running = runtime.start(replace(work, command=command))
    end = runtime.wait(running, 60)
    assert end is not None
    runtime.remove(running)
    return end


def python(text: str) -> tuple[str, ...]:
    return ("python3", "-u", "-c", text)


def wait_for(what: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.02)


STARTER = """
import json, sys, time
from pathlib import Path
from outlast_agent.runtimes.base import Work
from outlast_agent.runtimes import docker_log
from outlast_agent.runtimes.docker import DockerRuntime
paths, others, bounds = json.loads(sys.argv[1])
docker_log.MARK_BYTES = bounds.pop("mark", docker_log.MARK_BYTES)
docker_log.ENGINE_LOG.update(bounds)
work = Work(**others, **{name: Path(path) for name, path in paths.items()}, env={})
DockerRuntime().start(work)
print("started", flush=True)
time.sleep(60)
"""


def start_elsewhere(work: Work, **bounds: int | str) -> subprocess.Popen[bytes]:
    """Start ``work`` by another process, as a daemon that may be killed."""
    paths = ("scratch", "outputs", "control", "code", "log", "state")
    others = ("job", "machine", "launch", "attempt", "image", "command")
    told = json.dumps(
        [
            {name: str(getattr(work, name)) for name in paths},
            {name: getattr(work, name) for name in others},
            bounds,
        ]
    )
    process = subprocess.Popen([sys.executable, "-c", STARTER, told], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    return process
