"""The log of a container on a real engine: whole, or with its first and its last lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.docker.docker_kit import python, start_elsewhere, wait_for
from outlast_agent.runtimes.base import Exit, Work
from outlast_agent.runtimes.docker import DockerRuntime
from outlast_agent.runtimes.docker_log import LogFollower

pytestmark = [pytest.mark.needs("docker", "sklearn-image"), pytest.mark.usefixtures("patience")]


def test_a_container_outlives_its_daemon_and_its_log_is_whole(
    runtime: DockerRuntime, work: Work
) -> None:
    script = """
import sys, time
for n in range(3000):
    print("line", n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)
    time.sleep(0.0005)
time.sleep(1)
print("last")
"""
    work.log.write_bytes(b"what an earlier attempt said\n")
    daemon = start_elsewhere(replace(work, command=python(script)))
    wait_for(lambda: len(work.log.read_bytes()) > 5000)
    daemon.kill()
    daemon.wait()
    running = runtime.adopt(work)
    assert running is not None
    assert runtime.adopt(work) == running
    assert runtime.wait(running, 30) == Exit(0)
    first, *lines, last = work.log.read_text().splitlines()
    assert (first, last) == ("what an earlier attempt said", "last")
    # What went to the two outputs at the same moment may change places; nothing is lost.
    assert sorted(lines) == sorted(f"line {n}" for n in range(3000))


def test_what_the_engine_has_dropped_of_a_long_log_is_not_asked_for_again(
    runtime: DockerRuntime, work: Work
) -> None:
    script = """
import os, time
def say(begin, end):
    for n in range(begin, end):
        print("line", n, flush=n % 100 == 99)
        if n % 100 == 99:
            time.sleep(0.02)
say(0, 20000)
while not os.path.exists("/outlast/outputs/go"):
    time.sleep(0.01)
say(20000, 23000)
"""
    command = ("python3", "-c", script)
    # One second's lines are some 430 KB there: enough stays, and much has gone.
    bounds = {"max-size": "600k", "max-file": "2"}
    daemon = start_elsewhere(replace(work, command=command), mark=2000, **bounds)
    wait_for(lambda: work.log.read_bytes().endswith(b"line 19999\n"))
    daemon.kill()
    daemon.wait()
    running = runtime.adopt(work)
    assert running is not None
    (work.outputs / "go").touch()
    assert runtime.wait(running, 30) == Exit(0)
    assert work.log.read_text().splitlines() == [f"line {n}" for n in range(23000)]


def test_of_a_flood_the_last_lines_are_there(
    runtime: DockerRuntime, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast_agent.runtimes.docker.LOG_SECONDS", 0.1)
    given = LogFollower._lines

    def slowly(self: LogFollower, since: int) -> Iterator[bytes]:
        for number, line in enumerate(given(self, since)):
            if number % 100 == 99:
                time.sleep(0.1)
            yield line

    monkeypatch.setattr(LogFollower, "_lines", slowly)
    script = "print('line\\n' * 20000 + 'last words'); raise SystemExit(3)"
    running = runtime.start(replace(work, command=python(script)))
    wait_for(lambda: runtime.wait(running, 1) == Exit(3))
    said = work.log.read_text()
    assert said.endswith("line\nlast words\n")
    before, _, after = said.partition("\noutlast: a part of the log is left out here")
    assert before.startswith("line\nline\n")
    assert after.count("line\n") == 999
    time.sleep(0.5)
    again = DockerRuntime()
    assert again.adopt(work) is not None  # a daemon that starts again adds nothing
    assert again.wait(running, 20) == Exit(3)
    assert work.log.read_text() == said
