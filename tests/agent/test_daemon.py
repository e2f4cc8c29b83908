"""The daemon end to end: real processes, a real folder store, a real metadata server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agent.daemon_kit import JOB, TRAIN, Cluster, cluster, until
from outlast_agent import layout, records

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


@pytest.fixture
def world(tmp_path):
    with cluster(tmp_path) as made:
        yield made


def assert_finished(world: Cluster, attempt: int, *, signalled: bool = True) -> None:
    model, log = expected()
    assert world.outputs(attempt) == {"model.npy": model, "log.csv": log}
    result = world.read(records.Result, layout.result(JOB))
    assert (result.outcome, result.attempt, result.step) == ("finished", attempt, STEPS)
    assert result.checkpoint == f"{attempt:06d}-{STEPS:012d}"
    assert world.end(attempt).outcome == "finished"
    if signalled:
        assert world.has(layout.signal(JOB, attempt, "finished"))


def test_finishes_and_lets_the_machine_go(world):
    vm = world.launch(1, train(world))
    assert vm.wait() == 0
    assert_finished(world, 1)
    assert vm.processes() == []
    assert world.beat().phase == "leaving"


def test_notice_saves_says_so_and_then_acknowledges(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    began = time.monotonic()
    event = vm.metadata.evict(10)
    end = until(lambda: world.has(layout.attempt_end(JOB, 1)) and world.end(1))
    seconds = time.monotonic() - began
    until(lambda: vm.metadata.acknowledged == [event])
    assert end.outcome == "yielded"
    assert end.step == end.durable_step
    assert seconds < 3.5
    notice = world.read(records.AttemptNotice, layout.attempt_notice(JOB, 1))
    assert notice.event_id == event
    assert 5 < notice.seconds_left <= 10
    assert world.has(layout.signal(JOB, 1, "notice"))
    assert world.has(layout.signal(JOB, 1, "end"))
    # The next machine goes on at the very next step.
    vm.power_cut()
    assert world.launch(2, train(world)).wait() == 0
    assert_finished(world, 2)
    assert world.end(2).started_from == f"000001-{end.step:012d}"


def test_a_machine_that_vanishes_costs_no_more_than_since_the_last_save(world):
    vm = world.launch(1, train(world))
    until(lambda: world.durable(1) > 0)
    vm.power_cut()
    durable = world.durable(1)
    spare = world.launch(2, train(world))
    time.sleep(1.0)
    assert not world.has(layout.claim(JOB, 2))  # nobody has said that attempt 1 is over
    end = records.AttemptEnd(attempt=1, by="controller", outcome="lost", durable_step=durable)
    world.store.create(layout.attempt_end(JOB, 1), records.dump(end))
    assert spare.wait() == 0
    assert_finished(world, 2)


def test_a_daemon_killed_and_restarted_adopts_what_trains(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    trainer = vm.processes()
    vm.kill_daemon()
    time.sleep(0.5)
    assert vm.processes() == trainer
    vm.start_daemon()
    assert vm.wait() == 0
    assert_finished(world, 1)
    assert "adopted" in world.kinds()
    assert not world.has(layout.claim(JOB, 2))


def test_a_command_that_ends_while_the_daemon_is_dead(world):
    vm = world.launch(1, train(world))
    until(lambda: vm.step() > 5)
    vm.kill_daemon()
    until(lambda: not vm.processes())
    vm.start_daemon()
    assert vm.wait() == 0
    assert_finished(world, 1)


def test_a_machine_that_restarts_ends_its_old_attempt(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: world.durable(1) > 0)
    vm.reboot()
    assert vm.wait() == 0
    end = world.end(1)
    assert (end.outcome, end.by) == ("lost", "daemon")
    assert_finished(world, 2)


def test_a_cancelled_notice_makes_the_next_attempt_on_the_same_machine(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    vm.metadata.evict(30)
    until(lambda: world.has(layout.attempt_end(JOB, 1)))
    time.sleep(1.0)
    assert not world.has(layout.claim(JOB, 2))  # the machine is still to be taken away
    vm.metadata.cancel()
    assert vm.wait() == 0
    assert_finished(world, 2)


def test_a_spare_stands_by_and_takes_over(world):
    first = world.launch(1, train(world, pause=0.15))
    until(lambda: first.step() > 5)
    spare = world.launch(2, train(world, pause=0.05))
    until(lambda: "standing-by" in status(spare.root)["phase"])
    assert world.beat().attempt == 1  # the heartbeat stays the trainer's
    first.metadata.evict(10)
    until(lambda: world.has(layout.claim(JOB, 2)))
    assert world.read(records.Claim, layout.claim(JOB, 2)).machine == spare.name
    assert spare.wait() == 0
    assert_finished(world, 2)
    assert first.wait() == 0  # the job is over: it goes too


def test_a_closed_launch_saves_and_goes(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    closed = records.LaunchClosed(reason="test")
    world.store.create(layout.launch_closed(JOB, 1), records.dump(closed))
    assert vm.wait() == 0
    end = world.end(1)
    assert end.outcome == "yielded"
    assert end.step == end.durable_step
    assert vm.processes() == []


def test_a_superseded_attempt_goes_at_once(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    claim = records.Claim(attempt=2, launch=9, machine="other", boot_id="b", nonce="n")
    world.store.create(layout.claim(JOB, 2), records.dump(claim))
    assert vm.wait(10) == 0
    assert vm.processes() == []
    assert world.end(1).message == "attempt 2 has taken over from attempt 1"


def test_cancel_stops_with_a_save(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    world.store.create(layout.cancel(JOB), records.dump(records.Cancel(by="ada")))
    assert vm.wait() == 0
    end = world.end(1)
    assert end.outcome == "cancelled"
    assert end.step == end.durable_step
    assert not world.has(layout.result(JOB))  # a controller's to write


def test_failure_tells_the_log_and_does_not_claim_again(world):
    script = world.script("""
        for number in range(80):
            print("line", number)
        raise ValueError("no such thing")
    """)
    vm = world.launch(1, [sys.executable, script])
    assert vm.wait() == 0
    end = world.end(1)
    assert (end.outcome, end.cause, end.exit_code) == ("failed", "error", 1)
    assert len(end.log_tail) == 50
    assert end.log_tail[-1] == "ValueError: no such thing"
    assert world.log(1).startswith("line 0\nline 1\n")
    assert not world.has(layout.claim(JOB, 2))


def test_a_command_that_does_not_exist(world):
    vm = world.launch(1, ["no-such-program", "--epochs", "3"])
    assert vm.wait() == 0
    end = world.end(1)
    assert (end.outcome, end.cause, end.exit_code) == ("failed", "command", 127)
    assert "no-such-program" in " ".join(end.log_tail)


def test_less_than_was_durable_is_held(world):
    end = records.AttemptEnd(attempt=1, by="daemon", outcome="yielded", step=40, durable_step=40)
    world.store.create(layout.attempt_end(JOB, 1), records.dump(end))
    claim = records.Claim(attempt=1, launch=7, machine="gone", boot_id="b", nonce="n")
    world.store.create(layout.claim(JOB, 1), records.dump(claim))
    vm = world.launch(8, train(world))
    assert vm.wait() == 0
    held = world.read(records.Held, layout.held(JOB))
    assert (held.attempt, held.expected, held.found) == (2, "000001-000000000040", None)
    assert world.end(2).cause == "held"
    assert "outlast resume digits --from" in held.message
    # While it is held, nobody claims; a decision sets the missing one aside.
    assert world.launch(9, train(world)).wait() == 0
    assert not world.has(layout.claim(JOB, 3))
    world.store.delete(layout.held(JOB))
    decided = world.launch(10, train(world), set_aside=["000001-000000000040"])
    assert decided.wait() == 0
    assert_finished(world, 3)


def test_an_unknown_launch_does_not_train(world):
    vm = world.launch(1, train(world))
    vm.kill_daemon()
    world.store.delete(layout.launch(JOB, 1))
    vm.power_cut()
    vm.start_daemon()
    assert vm.wait() == 0


def test_the_lifetime_ends_the_machine_with_a_save(world):
    vm = world.launch(1, train(world, steps=2000, pause=0.05), max_lifetime_seconds=3.0)
    assert vm.wait() == 0
    end = world.end(1)
    assert end.outcome == "yielded"
    assert end.step == end.durable_step


def test_a_store_that_is_away_is_waited_for(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    away = world.store.root.with_name("away")
    world.store.root.rename(away)
    until(lambda: "gone: mount or restore it" in status(vm.root)["detail"])
    away.rename(world.store.root)
    assert vm.wait() == 0
    assert_finished(world, 1)


def test_a_disk_that_takes_nothing_stops_neither_training_nor_the_daemon(world):
    vm = world.launch(1, train(world, pause=0.2))
    until(lambda: vm.step() > 5)
    # As with a full disk, replacing these files fails.
    notice = vm.root / f"jobs/{JOB}/attempts/000001/control/notice.json/x"
    lived = vm.root / "lived.json"
    lived.unlink()
    (lived / "x").mkdir(parents=True)
    notice.mkdir(parents=True)
    until(lambda: "lived.json" in world.beat().detail)
    vm.metadata.evict(15)
    end = until(lambda: world.has(layout.attempt_end(JOB, 1)) and world.end(1))
    assert end.outcome == "yielded"
    assert end.step == end.durable_step  # SIGTERM told it what the file could not
    assert "notice-untold" in world.kinds()
    assert vm.daemon.poll() is None


def test_a_record_from_the_future_is_told_and_not_guessed_at(world):
    claim = (
        b'{"version": 9, "attempt": 1, "launch": 7, "machine": "m", "boot_id": "b", "nonce": ""}'
    )
    world.store.create(layout.claim(JOB, 1), claim)
    vm = world.launch(8, train(world))
    until(lambda: "update outlast here" in status(vm.root)["detail"])
    assert not world.has(layout.claim(JOB, 2))


def test_status_without_the_store_or_the_daemon(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: (status(vm.root).get("step") or 0) > 3)
    text = agent("status", "--root", str(vm.root)).stdout
    assert "training, attempt 1" in text
    assert len(text.encode()) < 4096
    vm.kill_daemon()
    assert status(vm.root)["job"] == JOB
    nothing = agent("status", "--root", str(world.folder / "nowhere"))
    assert nothing.returncode == 1


def test_one_daemon_for_one_root(world):
    vm = world.launch(1, train(world, pause=0.1))
    until((vm.root / "status.json").exists)
    second = agent("run", "--spec", str(vm.spec), "--root", str(vm.root))
    assert second.returncode == 2
    assert "another daemon works in" in second.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not a job spec"),
        ('{"version": 1}', "Field required"),
        ('{"version": 99, "job": "a", "launch": 1, "machine": "m", "store": "file:///x", '
         '"runtime": "process", "command": ["a"]}', "has version 99"),
    ],
)  # fmt: skip
def test_a_spec_that_is_none(tmp_path, text, said):
    spec = tmp_path / "spec.json"
    spec.write_text(text)
    done = agent("run", "--spec", str(spec), "--root", str(tmp_path / "root"))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def agent(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outlast_agent", *args],
        capture_output=True, text=True, timeout=30, check=False, env=dict(os.environ),
    )  # fmt: skip


def status(root: Path) -> dict:
    path = root / "status.json"
    return json.loads(path.read_bytes()) if path.exists() else {"phase": "", "detail": ""}


def test_a_missing_package_is_told_in_one_line():
    code = (
        "import sys; sys.modules['pydantic'] = None; sys.argv[1:] = ['status']; "
        "from outlast_agent.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "outlast-agent: it needs pydantic: pip install 'outlast[agent]'\n"


def test_told_to_end_it_leaves_the_command_to_the_next_daemon(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    vm.daemon.terminate()
    assert vm.wait() == 143
    assert vm.processes()
    vm.start_daemon()
    assert vm.wait() == 0
    assert_finished(world, 1)


def test_a_shutdown_is_a_notice(world, monkeypatch):
    systemctl = world.folder / "systemctl"
    systemctl.write_text("#!/bin/sh\necho stopping\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{world.folder}:{os.environ['PATH']}")
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    vm.daemon.terminate()
    assert vm.wait() == 143
    assert vm.processes() == []
    assert world.end(1).outcome == "yielded"
    assert world.end(1).step == world.end(1).durable_step
