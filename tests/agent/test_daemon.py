"""The daemon end to end: real processes, a real folder store, a real metadata server."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

import pytest

from agent.daemon_kit import JOB, agent, assert_finished, cluster, status, train, until
from outlast_agent import layout, records


@pytest.fixture
def world(tmp_path):
    with cluster(tmp_path) as made:
        yield made


def test_finishes_and_lets_the_machine_go(world):
    vm = world.launch(1, train(world))
    assert vm.wait() == 0
    assert_finished(world, 1)
    assert vm.processes() == []
    assert world.beat().phase == "leaving"


def test_notice_saves_says_so_and_then_acknowledges(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    began = time.monotonic()
    event = vm.metadata.evict(30)
    end = until(lambda: world.has(layout.attempt_end(JOB, 1)) and world.end(1))
    seconds = time.monotonic() - began
    until(lambda: vm.metadata.acknowledged == [event])
    assert end.outcome == "yielded"
    assert end.step == end.durable_step
    assert seconds < 20  # how fast it is, the demo measures
    notice = world.read(records.AttemptNotice, layout.attempt_notice(JOB, 1))
    assert notice.event_id == event
    assert 10 < notice.seconds_left <= 30
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
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    trainer = vm.processes()
    vm.kill_daemon()
    time.sleep(0.5)
    assert vm.processes() == trainer
    vm.start_daemon()
    until(lambda: "adopted" in world.kinds())
    vm.go()
    assert vm.wait() == 0
    assert_finished(world, 1)
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
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: world.durable(1) > 0)
    vm.reboot()
    assert vm.wait() == 0
    end = world.end(1)
    assert (end.outcome, end.by) == ("lost", "daemon")
    assert_finished(world, 2)


def test_a_cancelled_notice_makes_the_next_attempt_on_the_same_machine(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    vm.metadata.evict(30)
    until(lambda: world.has(layout.attempt_end(JOB, 1)))
    time.sleep(1.0)
    assert not world.has(layout.claim(JOB, 2))  # the machine is still to be taken away
    vm.metadata.cancel()
    assert vm.wait() == 0
    assert_finished(world, 2)


def test_a_spare_stands_by_and_takes_over(world):
    first = world.launch(1, train(world, hold=10))
    until(lambda: first.step() > 5)
    spare = world.launch(2, train(world, pause=0.02))
    until(lambda: "standing-by" in status(spare.root)["phase"])
    assert world.beat().attempt == 1  # the heartbeat stays the trainer's
    first.metadata.evict(60)
    until(lambda: world.has(layout.claim(JOB, 2)))
    assert world.read(records.Claim, layout.claim(JOB, 2)).machine == spare.name
    assert spare.wait() == 0
    assert_finished(world, 2)
    assert first.wait() == 0  # the job is over: it goes too


def test_a_spare_that_is_to_be_taken_away_lets_the_cloud_have_it_at_once(world):
    trainer = world.launch(1, train(world, steps=3000, pause=0.05))
    until(lambda: trainer.step() > 5)
    spare = world.launch(2, train(world))
    until(lambda: "standing-by" in status(spare.root)["phase"])
    event = spare.metadata.evict(60)
    until(lambda: spare.metadata.acknowledged == [event], 50)
    # The cloud's answer and the event go out side by side.
    until(lambda: [one.launch for one in world.events() if one.kind == "notice"] == [2])
    assert trainer.metadata.acknowledged == []


def test_nothing_is_claimed_before_it_was_asked_for_notices(world):
    vm = world.launch(1, train(world))
    vm.kill_daemon()
    vm.metadata.delay = 0.5
    event = vm.metadata.evict(60)
    vm.start_daemon()
    until(lambda: vm.metadata.acknowledged == [event])
    assert not world.has(layout.claim(JOB, 1))


def test_a_store_that_is_away_is_waited_for(world):
    vm = world.launch(1, train(world, pause=0.05))
    until(lambda: vm.step() > 5)
    away = world.store.root.with_name("away")
    world.store.root.rename(away)
    until(lambda: "gone: mount or restore it" in status(vm.root)["detail"])
    away.rename(world.store.root)
    assert vm.wait() == 0
    assert_finished(world, 1)


def test_status_without_the_store_or_the_daemon(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: (status(vm.root).get("step") or 0) > 3)
    text = agent("status", "--root", str(vm.root)).stdout
    assert "training, attempt 1" in text
    assert len(text.encode()) < 4096
    vm.kill_daemon()
    assert status(vm.root)["job"] == JOB
    nothing = agent("status", "--root", str(world.folder / "nowhere"))
    assert nothing.returncode == 1


def test_one_daemon_for_one_root(world):
    vm = world.launch(1, train(world, hold=10))
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


def test_a_start_imports_nothing_that_it_does_not_need_yet():
    """What a restart and a recovery take counts, and these take a second together."""
    code = (
        "import sys, outlast_agent.command, outlast_agent.daemon, outlast_agent.runtimes.open, "
        "outlast_agent.runtimes.process, outlast_agent.stores.open, outlast_agent.watchers.open; "
        "print({'docker', 'numpy', 'obstore'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_an_output_whose_name_is_no_text_is_kept_too(world):
    script = """
        import os
        folder = os.fsencode(os.environ["OUTLAST_OUTPUTS"])
        for name in (b"caf\\xc3\\xa9", b"odd\\xff"):
            open(folder + b"/" + name, "w").close()
    """
    assert world.launch(1, [sys.executable, world.script(script)]).wait() == 0
    assert world.outputs(1) == {"caf%C3%A9": b"", "odd%FF": b""}


def test_a_download_that_nobody_needs_does_not_keep_the_machine():
    code = """if True:
        import threading, time
        from concurrent.futures import ThreadPoolExecutor
        from outlast_agent import __main__, command

        def bring():
            with ThreadPoolExecutor(1) as pool:
                pool.submit(time.sleep, 60).result()

        def run():  # a daemon that ends while its set-up hangs
            threading.Thread(target=bring, daemon=True).start()
            time.sleep(0.3)
            print("the machine may go")
            return 7

        command.run = run
        __main__.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (7, "the machine may go\n")


def test_told_to_end_it_leaves_the_command_to_the_next_daemon(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    vm.daemon.terminate()
    assert vm.wait() == 143
    assert vm.processes()
    vm.start_daemon()
    vm.go()
    assert vm.wait() == 0
    assert_finished(world, 1)


def test_a_shutdown_is_a_notice(world, monkeypatch):
    systemctl = world.folder / "systemctl"
    systemctl.write_text("#!/bin/sh\necho stopping\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{world.folder}:{os.environ['PATH']}")
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    vm.daemon.terminate()
    assert vm.wait() == 143
    assert vm.processes() == []
    assert world.end(1).outcome == "yielded"
    assert world.end(1).step == world.end(1).durable_step


def test_a_lock_that_outlives_its_daemon_for_a_moment_is_waited_for(world):
    vm = world.launch(1, train(world, hold=10))
    until(lambda: vm.step() > 5)
    vm.kill_daemon()
    with (vm.root / "lock").open("a") as lock:  # as a fork of it that has yet to start its program
        fcntl.flock(lock, fcntl.LOCK_EX)
        vm.start_daemon()
        time.sleep(0.5)
        assert vm.daemon.poll() is None
    vm.go()
    assert vm.wait() == 0
    assert_finished(world, 1)
