"""The loop: what it reads when nothing happens, what it does when something cannot be reached."""

from __future__ import annotations

import pytest

from outlast.cadence import BETWEEN_LOSSES
from outlast_agent import layout
from outlast_agent.records import Beat, Signal, dump
from outlast_provisioning.providers.base import Machine, TryAgainError
from provisioning.controller_kit import Bench, train
from provisioning.simulated import NAME, Cloud, closed, launches


def test_when_nothing_happens_little_is_asked(bench: Bench) -> None:
    train(bench)
    bench.store.requests.clear()
    bench.seconds(60)
    # Two listings a second tell of new jobs and signals; the job itself is looked at every 5 s.
    assert bench.store.requests["create"] == 0
    assert bench.store.requests["list"] <= 60 * 2 + 12 * 4 + 12
    assert bench.store.requests["read"] <= 12 * 4 + 12


def test_a_signal_is_acted_on_at_once_and_removed(bench: Bench) -> None:
    attempt = train(bench)
    bench.daemons.notice(attempt)
    signal = Signal(job=NAME, attempt=attempt, kind="notice")
    bench.store.create(layout.signal(NAME, attempt, "notice"), dump(signal))
    bench.seconds(1)
    assert len(launches(bench.store)) == 2
    assert not list(bench.store.list(layout.SIGNALS))


def test_a_machine_that_goes_is_noticed_without_a_signal(bench: Bench) -> None:
    train(bench)
    bench.cloud.evict(launches(bench.store)[0].machine, notice=False)
    bench.seconds(2)
    assert closed(bench.store, 1) == "lost"
    assert len(launches(bench.store)) == 2


def test_a_store_that_does_not_answer_is_told_once_and_waited_for(bench: Bench) -> None:
    train(bench)
    bench.said.clear()
    bench.store.down = True
    bench.seconds(20)
    assert len([line for line in bench.said if "the store" in line]) == 1
    assert "no route to the store" in bench.said[0]
    assert len(bench.cloud.machines) == 1
    bench.store.down = False
    bench.seconds(2)
    assert "the store can be dealt with again" in bench.said
    assert len(bench.cloud.machines) == 1


class Mute(Cloud):
    """A cloud whose listing fails when told so."""

    mute = False

    def list(self) -> list[Machine]:
        if self.mute:
            raise TryAgainError("503")
        return super().list()


def test_a_cloud_that_does_not_answer_has_lost_nothing() -> None:
    bench = Bench(Mute)
    train(bench)
    assert isinstance(bench.cloud, Mute)
    bench.cloud.mute = True
    bench.seconds(30)
    assert closed(bench.store, 1) is None
    assert len(launches(bench.store)) == 1
    bench.controller.close()


def test_a_damaged_record_does_not_keep_closed_machines(bench: Bench) -> None:
    attempt = train(bench)
    bench.daemons.end(attempt, "failed", step=3, cause="error", message="boom")
    bench.seconds(8)
    assert closed(bench.store, 1) == "failed"
    first, second = bench.cloud.list()
    bench.store.put(layout.claim(NAME, 2), b"{damaged")
    bench.seconds(30)
    assert any("attempts/000002.json is damaged" in line for line in bench.said)
    assert bench.cloud.list() == [second]
    assert first.launch == 1


def test_stray_keys_beside_the_decisions_are_passed_over(bench: Bench) -> None:
    bench.store.put(f"{layout.job_root(NAME)}resumed/notes.txt", b"not a record")
    bench.seconds(3)
    assert len(bench.cloud.machines) == 1


def test_one_damaged_job_does_not_stop_the_others(bench: Bench) -> None:
    bench.store.put(layout.job_file("bad"), b'{"version": 1, "name": 7}')
    bench.store.put(layout.job_file("newer"), b'{"version": 99, "name": "newer"}')
    bench.store.put(layout.beat("without-a-job"), b"{}")
    for name in ("bad", "newer"):
        first = Beat(
            job=name, attempt=None, launch=0, machine="", boot_id="", sequence=0, phase="submitted"
        )
        bench.store.put(layout.beat(name), dump(first))
    bench.seconds(20)
    assert len(bench.cloud.machines) == 1
    told = [line for line in bench.said if "job bad" in line or "job newer" in line]
    assert len(told) == 2  # once each, not each time


class Clinging(Cloud):
    """A cloud that does not let go of a machine, until it does."""

    held = True

    def delete(self, name: str) -> None:
        if self.held:
            raise TryAgainError("its disk is in use")
        super().delete(name)


def test_a_machine_that_cannot_be_deleted_is_told_once_and_tried_on() -> None:
    bench = Bench(Clinging)
    bench.daemons.finish(train(bench))
    bench.seconds(60)
    assert len([line for line in bench.said if "its disk is in use" in line]) == 1
    assert isinstance(bench.cloud, Clinging)
    bench.cloud.held = False
    bench.seconds(10)
    assert bench.cloud.machines == {}
    bench.controller.close()


def test_a_job_that_is_over_is_left_alone(bench: Bench) -> None:
    attempt = train(bench)
    bench.daemons.finish(attempt)
    bench.seconds(30)
    assert bench.cloud.machines == {}
    assert bench.controller.done_with(NAME)
    bench.store.requests.clear()
    bench.seconds(20)
    assert bench.store.requests["read"] == 0


def test_a_machine_that_turns_up_after_the_end_is_deleted(bench: Bench) -> None:
    attempt = train(bench)
    (machine,) = bench.cloud.list()
    bench.daemons.finish(attempt)
    bench.seconds(30)
    bench.cloud.machines[machine.name] = machine  # an ask that was answered very late
    bench.seconds(30)
    assert bench.cloud.machines == {}


def test_what_was_lost_before_is_told_to_the_next_machine(bench: Bench) -> None:
    train(bench)
    told = []
    for number in (1, 2):
        machine = launches(bench.store)[-1].machine
        told.append(bench.cloud.specs[machine].checkpoint.between_losses_seconds)
        bench.cloud.evict(machine, notice=False)
        bench.seconds(3)
        assert len(launches(bench.store)) == number + 1
        bench.daemons.claim(launches(bench.store)[-1].machine)
        bench.seconds(8)
    machine = launches(bench.store)[-1].machine
    told.append(bench.cloud.specs[machine].checkpoint.between_losses_seconds)
    # When the second was asked for, the first attempt had not been ended yet.
    expected = [BETWEEN_LOSSES, BETWEEN_LOSSES, BETWEEN_LOSSES / 2]
    assert told == pytest.approx(expected, abs=60)
