"""What every runtime promises (``outlast_agent.runtimes.base``), asked of all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.daemon_kit import until
from outlast_agent.runtimes.base import Runtime, Work


class Place:
    """A runtime, and folders for what it runs."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.runtime = self.new_runtime()

    def new_runtime(self) -> Runtime:
        """As a daemon that was restarted has it."""
        if self.kind == "docker":
            from outlast_agent.runtimes.docker import DockerRuntime

            return DockerRuntime()
        from outlast_agent.runtimes.process import ProcessRuntime

        return ProcessRuntime()

    def work(self, text: str, attempt: int = 1) -> Work:
        root = self.folder / str(attempt)
        folders = {name: root / name for name in ("scratch", "outputs", "control", "state")}
        for path in folders.values():
            path.mkdir(parents=True, exist_ok=True)
        image = "outlast-ci/sklearn" if self.kind == "docker" else None
        return Work(
            job="digits",
            machine=f"{self.folder.name}-{os.getpid()}",
            launch=1,
            attempt=attempt,
            image=image,
            command=("sh", "-c", text),
            env={"COLOUR": "blue"},
            code=None,
            log=root / "work.log",
            **folders,
        )


@pytest.fixture(
    params=[
        "process",
        pytest.param("docker", marks=pytest.mark.needs("docker", "sklearn-image")),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path)
    yield made
    # An attempt that never was: whatever is left of the others is killed and removed.
    assert made.new_runtime().adopt(made.work("", attempt=99)) is None


def says(work: Work, text: str) -> Callable[[], bool]:
    return lambda: work.log.exists() and text in work.log.read_text()


def test_how_it_ends_and_what_it_prints(place: Place) -> None:
    work = place.work("echo out; sleep 0.2; echo err >&2; exit 3")
    running = place.runtime.start(work)
    end = place.runtime.wait(running, 30)
    assert end is not None
    assert (end.code, end.out_of_memory) == (3, False)
    assert work.log.read_text() == "out\nerr\n"
    assert place.runtime.wait(running, 0.1) == end
    place.runtime.terminate(running)
    place.runtime.kill(running)
    place.runtime.remove(running)
    place.runtime.remove(running)
    assert place.runtime.adopt(work) is None


def test_what_it_is_told_and_where_it_writes(place: Place) -> None:
    work = place.work(
        "echo $COLOUR $OUTLAST_JOB $OUTLAST_ATTEMPT;"
        "for f in $OUTLAST_SCRATCH $OUTLAST_OUTPUTS $OUTLAST_CONTROL; do echo in > $f/file; done"
    )
    end = place.runtime.wait(place.runtime.start(work), 30)
    assert end is not None
    assert end.code == 0
    assert work.log.read_text() == "blue digits 1\n"
    for folder in (work.scratch, work.outputs, work.control):
        assert (folder / "file").read_text() == "in\n"


def test_waiting_ends_with_its_time(place: Place) -> None:
    running = place.runtime.start(place.work("sleep 30"))
    begun = time.monotonic()
    assert place.runtime.wait(running, 0.2) is None
    assert time.monotonic() - begun < 5
    place.runtime.kill(running)
    end = place.runtime.wait(running, 20)
    assert end is not None
    assert end.code == 137


def test_sigterm_is_for_the_main_process(place: Place) -> None:
    work = place.work(
        "sh -c 'trap \"echo child\" TERM; sleep 20; sleep 20' &"
        "trap 'echo main; exit 75' TERM; echo ready; while :; do sleep 0.1; done"
    )
    running = place.runtime.start(work)
    until(says(work, "ready"))
    place.runtime.terminate(running)
    end = place.runtime.wait(running, 20)
    assert end is not None
    assert end.code == 75
    assert work.log.read_text() == "ready\nmain\n"


def test_what_the_main_process_leaves_running_ends_with_it(place: Place) -> None:
    work = place.work("(sleep 3; echo late > $OUTLAST_OUTPUTS/late) & echo gone")
    end = place.runtime.wait(place.runtime.start(work), 20)
    assert end is not None
    assert end.code == 0
    time.sleep(3.5)  # longer than it would have taken
    assert not (work.outputs / "late").exists()


def test_adopted_while_it_runs_and_after_it_ended(place: Place) -> None:
    work = place.work("echo one; while [ ! -e $OUTLAST_CONTROL/go ]; do sleep 0.05; done; exit 4")
    running = place.runtime.start(work)
    until(says(work, "one"))
    assert place.runtime.adopt(work) == running
    (work.control / "go").touch()
    assert place.runtime.wait(running, 20) is not None
    after = place.new_runtime()
    ended = after.adopt(work)
    assert ended == running
    end = after.wait(ended, 20)
    assert end is not None
    assert end.code == 4
    assert work.log.read_text() == "one\n"


def test_an_older_attempt_never_trains_beside_a_newer_one(place: Place) -> None:
    old = place.work("echo ready; while :; do sleep 0.05; date +%N > $OUTLAST_OUTPUTS/tick; done")
    place.runtime.start(old)
    until(says(old, "ready"))
    assert place.new_runtime().adopt(place.work("", attempt=2)) is None
    before = (old.outputs / "tick").read_text() if (old.outputs / "tick").exists() else ""
    time.sleep(0.5)
    after = (old.outputs / "tick").read_text() if (old.outputs / "tick").exists() else ""
    assert before == after


def test_a_command_that_is_not_there(place: Place) -> None:
    end = place.runtime.wait(place.runtime.start(place.work("no-such-program")), 20)
    assert end is not None
    assert end.code == 127
