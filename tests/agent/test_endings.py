"""How attempts and machines end, with real processes, and what is told of it."""

from __future__ import annotations

import sys

import pytest

from agent.daemon_kit import JOB, assert_finished, cluster, status, train, until
from outlast_agent import layout, records


@pytest.fixture
def world(tmp_path):
    with cluster(tmp_path) as made:
        yield made


def test_a_closed_launch_saves_and_goes(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    closed = records.LaunchClosed(reason="test")
    world.store.create(layout.launch_closed(JOB, 1), records.dump(closed))
    assert vm.wait() == 0
    end = world.end(1)
    assert end.outcome == "yielded"
    assert end.step == end.durable_step
    assert vm.processes() == []


def test_a_superseded_attempt_goes_at_once(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    claim = records.Claim(attempt=2, launch=9, machine="other", boot_id="b", nonce="n")
    world.store.create(layout.claim(JOB, 2), records.dump(claim))
    assert vm.wait() == 0
    assert vm.processes() == []
    assert world.end(1).message == "attempt 2 has taken over from attempt 1"


def test_cancel_stops_with_a_save(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
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


def test_a_record_from_the_future_is_told_and_not_guessed_at(world):
    claim = (
        b'{"version": 9, "attempt": 1, "launch": 7, "machine": "m", "boot_id": "b", "nonce": ""}'
    )
    world.store.create(layout.claim(JOB, 1), claim)
    vm = world.launch(8, train(world))
    until(lambda: "update outlast here" in status(vm.root)["detail"])
    assert not world.has(layout.claim(JOB, 2))


def test_a_disk_that_takes_nothing_stops_neither_training_nor_the_daemon(world):
    vm = world.launch(1, train(world, steps=300, pause=0.05))
    until(lambda: vm.step() > 5)
    # As with a full disk, replacing these files fails.
    notice = vm.root / f"jobs/{JOB}/attempts/000001/control/notice.json/x"
    lived = vm.root / "lived.json"
    lived.unlink()
    (lived / "x").mkdir(parents=True)
    notice.mkdir(parents=True)
    until(lambda: "lived.json" in world.beat().detail)
    vm.metadata.evict(60)
    end = until(lambda: world.has(layout.attempt_end(JOB, 1)) and world.end(1))
    assert end.outcome == "yielded"
    assert end.step == end.durable_step  # SIGTERM told it what the file could not
    assert "notice-untold" in world.kinds()
    assert vm.daemon.poll() is None


def test_a_store_that_takes_no_writes_at_an_eviction_loses_nothing_if_it_takes_them_in_time(world):
    vm = world.launch(1, train(world, pause=0.05, hold=30, said="step"))
    until(lambda: vm.step() > 5)
    writes = world.store.root / ".tmp"
    away = writes.rename(world.store.root / "away")
    writes.touch()  # not the folder that every write needs
    at = vm.step()
    until(lambda: vm.step() > at + 10)
    event = vm.metadata.evict(40)
    until((vm.root / f"jobs/{JOB}/attempts/000001/control/end.json").exists)
    assert not world.has(layout.attempt_notice(JOB, 1))
    assert vm.metadata.acknowledged == []
    writes.unlink()
    away.rename(writes)
    until(lambda: vm.metadata.acknowledged == [event])
    vm.power_cut()
    assert world.has(layout.attempt_notice(JOB, 1))
    end = world.end(1)
    assert (end.outcome, end.step) == ("yielded", end.durable_step)
    assert f"step {end.step}\n" in world.log(1)
    assert {"notice", "durable", "yielded"} <= set(world.kinds())


def test_a_journal_that_cannot_be_written_ends_nothing(world):
    vm = world.launch(1, train(world, hold=10))
    until(lambda: vm.step() > 5)
    vm.kill_daemon()
    journal = vm.root / "journal"
    journal.unlink()
    journal.symlink_to("/dev/full")
    vm.start_daemon()
    journal.unlink()
    journal.touch()
    vm.go()
    assert vm.wait() == 0
    assert_finished(world, 1)


def test_outputs_that_a_store_cannot_hold_as_they_are_are_told(world):
    script = world.script("""
        import os
        from pathlib import Path

        outputs = Path(os.environ["OUTLAST_OUTPUTS"])
        (outputs / ("n" * 255)).write_text("long")
        (outputs / ("m" * 255)).write_text("too")
        (outputs / "kept").write_text("yes")
        (outputs / "latest").symlink_to("kept")
        os.mkfifo(outputs / "pipe")
    """)
    vm = world.launch(1, [sys.executable, script])
    assert vm.wait() == 0
    assert world.end(1).outcome == "finished"
    found = world.outputs(1)
    assert sorted(found.values()) == [b"long", b"too", b"yes"]
    assert found["kept"] == b"yes"
    assert any(name.endswith("-" + "n" * 100) for name in found)
    told = [event.text for event in world.events()]
    assert sum("its name is too long for a store" in text for text in told) == 2
    assert any("no regular files are not kept ('latest', 'pipe')" in text for text in told)
