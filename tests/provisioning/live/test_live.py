"""The whole story with real processes: submit, train, lose machines, finish, leave nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast_agent import layout
from outlast_agent.records import AttemptEnd, load
from outlast_provisioning import reading
from outlast_provisioning.persons import cancel_job, resume_job
from outlast_provisioning.providers.local_vm import MACHINE_VARIABLE
from outlast_provisioning.providers.processes import with_variable
from provisioning.live.jobs import NAME, TRAIN, Place, expected_walk

pytestmark = pytest.mark.live


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for machine in place.provider.list():
        place.provider.delete(machine.name)


def machines_used(place: Place) -> list[str]:
    keys = place.store.list(f"jobs/{NAME}/launches/")
    return [
        json.loads(place.store.read(entry.key))["machine"]
        for entry in keys
        if entry.key.count(".") == 1
    ]


def nothing_is_left(place: Place) -> bool:
    return not place.provider.list()


def test_evicted_then_killed_ends_with_the_same_bits(place: Place) -> None:
    place.submit(place.write(TRAIN, 160, 0.03))
    with place.controller():
        place.wait(lambda: place.last_step() >= 20, "step 20")
        place.provider.evict(place.training_machine())
        place.wait(lambda: len(place.attempts()) == 2 and place.last_step() >= 60, "step 60")
        place.provider.evict(place.training_machine(), notice=False)
        place.wait(place.result, "the result")
        place.wait(lambda: nothing_is_left(place), "the machines to be deleted")
    assert place.walk() == expected_walk(160)
    steps = place.steps()
    before = {step for attempt, step in steps if attempt == 1}
    assert not before & {step for attempt, step in steps if attempt == 2}  # none repeated
    assert {step for _, step in steps} == set(range(1, 161))
    assert len(place.attempts()) == 3
    status = reading.read_status(place.store, NAME)
    assert (status.state, status.evictions, status.losses, status.failures) == (
        "finished",
        1,
        1,
        0,
    )
    kinds = [event.kind for _, event in reading.events(place.store, NAME)]
    assert kinds.count("launched") == 3
    assert "evicted" in kinds
    assert "lost" in kinds
    for machine in machines_used(place):
        folder = place.home / "local" / machine
        assert list(with_variable(MACHINE_VARIABLE, str(folder))) == []


FAILS = TRAIN.replace(
    "    time.sleep", "    if step == 12: raise RuntimeError('no such file')\n    time.sleep"
)


def test_a_script_that_fails_twice_at_one_step_ends_the_job(place: Place) -> None:
    file = place.write(FAILS, 100, 0.01)
    done = subprocess.run(
        [sys.executable, "-m", "outlast_provisioning", "submit", "--wait", str(file)],
        env={**os.environ, "OUTLAST_HOME": str(place.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    result = place.result()
    assert result is not None
    assert result.outcome == "failed"
    assert "twice at step 12" in result.message
    assert any("RuntimeError: no such file" in line for line in result.log_tail)
    assert "RuntimeError: no such file" in done.stderr
    assert len(place.attempts()) == 2
    assert nothing_is_left(place)


def test_cancelled_it_saves_and_leaves(place: Place) -> None:
    place.submit(place.write(TRAIN, 100000, 0.01))
    with place.controller():
        place.wait(lambda: place.last_step() >= 20, "step 20")
        cancel_job(place.store, NAME)
        place.wait(place.result, "the result")
        place.wait(lambda: nothing_is_left(place), "the machine to be deleted")
    result = place.result()
    assert result is not None
    assert result.outcome == "cancelled"
    assert result.checkpoint is not None
    assert result.step == max(step for _, step in place.steps())
    key = layout.attempt_end(NAME, 1)
    assert load(AttemptEnd, place.store.read(key), key=key).outcome == "cancelled"


def test_controllers_killed_at_random_instants(place: Place) -> None:
    random_ = random.Random(7)
    place.submit(place.write(TRAIN, 120, 0.03))

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "outlast_provisioning", "controller", "--store", place.url],
            env={**os.environ, "OUTLAST_HOME": str(place.home)},
            stderr=subprocess.PIPE,
            text=True,
        )

    running = [start(), start()]
    taken: set[int] = set()
    try:
        kills = 0

        def over() -> bool:
            nonlocal kills
            attempts = place.attempts()
            if attempts and len(taken) < 2 and place.last_step() >= 30 * (len(taken) + 1):
                if attempts[-1] not in taken:
                    taken.add(attempts[-1])
                    place.provider.evict(place.training_machine(), notice=len(taken) == 1)
            elif kills < 12:  # then they are left alone: on a busy machine none would ever begin
                time.sleep(random_.uniform(0.2, 1.6))
                kills += 1
                victim = random_.randrange(2)
                running[victim].kill()
                running[victim].wait()
                running[victim] = start()
            return place.result() is not None and nothing_is_left(place)

        place.wait(over, "the end", 90)
    finally:
        for controller in running:
            controller.kill()
            controller.communicate()
    assert place.walk() == expected_walk(120)
    assert len(place.attempts()) == 3


def test_a_second_controller_sees_the_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # The words come every 5 s; the test does not wait so long.
    monkeypatch.setattr("outlast_provisioning.controller.WATCH_SECONDS", 0.2)
    with place.controller(), place.controller() as second:
        place.wait(lambda: any("another controller" in line for line in second), "its word", 10)
    assert not list(place.store.list("controllers/"))


def test_a_cancelled_notice_keeps_one_machine(place: Place) -> None:
    # Steps of 1.5 seconds: the save, and so the acknowledgement, takes so long to come.
    place.submit(place.write(TRAIN, 4, 1.5, grace="60s"))
    with place.controller():
        place.wait(lambda: place.last_step() >= 1, "step 1")
        machine = place.training_machine()
        place.provider.evict(machine)
        place.wait(lambda: len(machines_used(place)) == 2, "a spare")
        place.provider.cancel_notice(machine)
        place.wait(place.result, "the result")
        place.wait(lambda: nothing_is_left(place), "the machines to be deleted")
    assert place.walk() == expected_walk(4)
    assert len(machines_used(place)) == 2


def test_less_than_was_durable_is_held_until_a_person_decides(place: Place) -> None:
    place.submit(place.write(TRAIN, 120, 0.03))
    checkpoints = place.store.root / "jobs" / NAME / "checkpoints"
    with place.controller():
        place.wait(lambda: place.last_step() >= 20, "step 20")
        place.provider.evict(place.training_machine())
        place.wait(lambda: len(place.attempts()) == 2 and place.last_step() >= 50, "step 50")
        place.provider.evict(place.training_machine())
        place.wait(lambda: reading.read_status(place.store, NAME).evictions == 2, "the notice")
        place.wait(lambda: any(checkpoints.glob("000002-*")), "its save")
    for manifest in checkpoints.glob("000002-*"):
        manifest.unlink()
    (kept,) = checkpoints.glob("000001-*")
    with place.controller():
        place.wait(lambda: reading.read_status(place.store, NAME).state == "held", "the hold")
        place.wait(lambda: nothing_is_left(place), "the machines to be deleted")
        assert place.result() is None
        resume_job(place.store, NAME, kept.name)
        place.wait(place.result, "the result")
    assert place.walk() == expected_walk(120)


def test_ctrl_c_leaves_the_job_safe(place: Place) -> None:
    file = place.write(TRAIN, 100, 0.03)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "outlast_provisioning", "submit", "--wait", str(file)],
        env={**os.environ, "OUTLAST_HOME": str(place.home)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        place.wait(lambda: place.last_step() >= 5, "step 5")
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=20)
    finally:
        waiting.kill()
        waiting.wait()
    assert waiting.returncode == 130
    assert "Job walk goes on: its machine walk-" in said
    assert f"outlast controller --store {place.url}" in said
    before = place.last_step()
    place.wait(lambda: place.last_step() > before, "another step")
    with place.controller():
        place.wait(place.result, "the result")
        place.wait(lambda: nothing_is_left(place), "the machine to be deleted")
    assert place.walk() == expected_walk(100)
    assert place.attempts() == [1]


def test_an_input_that_went_after_the_submit_is_told_and_waited_for(place: Place) -> None:
    gone = place.folder / "cats.zip"
    gone.touch()
    source = f"{{from: file://{gone}, to: {place.folder}/data}}"
    more = f"inputs: [{source}]\nretries: {{failures: 0}}\n"
    place.submit(place.write(TRAIN, 10, 0.0, more=more))
    gone.unlink()
    with place.controller() as said:
        place.wait(lambda: any("cats.zip: fetch" in line for line in said), "word of the input")
        place.wait(lambda: nothing_is_left(place), "the machine to be deleted")
    assert (
        "set-up of its last machine failed; asked again"
        in reading.read_status(place.store, NAME).detail
    )
    assert len(machines_used(place)) == 1
    assert place.result() is None
    assert place.steps() == []
