"""The loop: what it reads when nothing happens, what it does when something cannot be reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast_agent import layout
from outlast_agent.records import Beat, Event, LaunchClosed, Result, Signal, dump, load
from outlast_agent.stores.base import Entry, UnavailableError
from outlast_provisioning.controller import LOOK_SECONDS, Controller
from outlast_provisioning.providers.base import GiveUpError, Machine, Request, TryAgainError
from outlast_provisioning.reading import read_status
from provisioning.simulated import NAME, Cloud, Daemons, MemoryStore, closed, launches, submitted


class CountingStore(MemoryStore):
    """Counts what is asked of it, and may not answer."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__()
        self.content = inner.content
        self.requests: Counter[str] = Counter()
        self.down = False

    def _count(self, what: str) -> None:
        if self.down:
            raise UnavailableError("no route to the store")
        self.requests[what] += 1

    def create(self, key: str, data: bytes | Path) -> None:
        self._count("create")
        super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._count("put")
        super().put(key, data)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        self._count("read")
        return super().read(key, limit=limit)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        self._count("list")
        return super().list(prefix, after=after)


class Bench:
    """A controller with a clock that a test turns."""

    def __init__(self, cloud_type: type[Cloud] = Cloud) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.store = CountingStore(submitted())
        self.cloud = cloud_type(self.store)
        self.daemons = Daemons(self.store, self.cloud)
        self.controller = Controller(
            self.store, {"local": self.cloud}, say=self.say, clock=lambda: self.now
        )

    def say(self, text: str, **facts: object) -> None:
        self.said.append(" ".join([text, *[f"{k}={v}" for k, v in facts.items()]]))

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.now += 1.0
            self.controller.once()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.controller.close()


def train(bench: Bench) -> int:
    bench.seconds(3)
    (launch,) = launches(bench.store)
    attempt = bench.daemons.claim(launch.machine)
    assert attempt is not None
    bench.seconds(LOOK_SECONDS.__ceil__() + 1)
    return attempt


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


class Stubborn(Cloud):
    """A cloud that will never run this."""

    def ask(self, request: Request) -> Machine:
        raise GiveUpError("there is no size called huge")


def test_a_cloud_that_will_never_run_it_ends_the_job() -> None:
    bench = Bench(Stubborn)
    bench.seconds(4)
    bench.controller.close()
    text = bench.store.read(layout.result(NAME)).decode()
    assert "there is no size called huge" in text
    assert "failed" in text
    assert closed(bench.store, 1) == "refused"


class Faulty(Cloud):
    """A cloud whose fault never passes."""

    def ask(self, request: Request) -> Machine:
        self.asked += 1
        raise TryAgainError("503 from the control plane")


TWO = {"pools": ({"provider": "local"}, {"provider": "other"})}


class Two:
    """Two clouds; asked in this order."""

    def __init__(self, first: type[Cloud]) -> None:
        self.now = 1000.0
        self.store = submitted(**TWO)
        self.clouds = {"local": first(self.store), "other": Cloud(self.store)}
        self.daemons = Daemons(self.store, self.clouds["other"])
        self.controller = Controller(
            self.store, self.clouds, say=lambda *a, **k: None, clock=lambda: self.now
        )

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.now += 1.0
            self.controller.once()

    def told(self) -> list[str]:
        keys = [entry.key for entry in self.store.list(layout.events(NAME))]
        return [load(Event, self.store.read(key), key=key).text for key in keys]


def test_a_pool_that_will_never_run_it_is_left_for_another() -> None:
    two = Two(Stubborn)
    two.seconds(10)
    assert closed(two.store, 1) == "refused"
    (machine,) = two.clouds["other"].list()
    assert two.daemons.claim(machine.name) == 1
    two.seconds(30)
    assert layout.result(NAME) not in two.store.content
    two.controller.close()


def test_what_trains_goes_on_when_the_other_pools_refuse_for_ever() -> None:
    two = Two(Cloud)
    two.seconds(3)
    (machine,) = two.clouds["local"].list()
    Daemons(two.store, two.clouds["local"]).claim(machine.name)
    Daemons(two.store, two.clouds["local"]).notice(1)
    for cloud in two.clouds.values():
        cloud.ask = Stubborn.ask.__get__(cloud)  # type: ignore[method-assign]
    two.seconds(30)  # at the notice both are asked for a spare
    assert layout.result(NAME) not in two.store.content
    assert machine.name in two.clouds["local"].machines
    two.clouds["local"].evict(machine.name)
    two.seconds(10)
    result = load(Result, two.store.read(layout.result(NAME)), key="")
    assert result.outcome == "failed"
    assert "local/here/process: there is no size called huge; other/" in result.message
    two.controller.close()


def test_a_fault_that_never_passes_is_told_and_another_pool_is_asked() -> None:
    two = Two(Faulty)
    two.seconds(200)
    assert closed(two.store, 1) is None
    (told,) = [text for text in two.told() if "503" in text]
    assert "cannot be asked for machine" in told
    two.seconds(120)
    assert closed(two.store, 1) == "no-capacity"
    assert len(two.clouds["other"].machines) == 1
    assert two.clouds["local"].asked <= 32  # every ten seconds
    two.controller.close()


def test_with_one_pool_a_person_sees_when_it_is_asked_again(bench: Bench) -> None:
    bench.cloud.full = True
    bench.seconds(3)
    record = load(LaunchClosed, bench.store.read(layout.launch_closed(NAME, 1)), key="")
    status = read_status(bench.store, NAME)
    assert (status.state, status.detail) == (
        "waiting",
        f"no pool has a machine for it; asked again at about {record.again[11:19]} UTC",
    )
    assert any("the next machine is asked for in 1 min" in line for line in bench.said)


def test_after_a_set_up_that_failed_the_only_pool_cools_down_as_told(bench: Bench) -> None:
    bench.daemons.end(train(bench), "setup-failed", cause="input", message="no such bucket")
    bench.seconds(2 * LOOK_SECONDS.__ceil__())  # the look after a closing comes at once, too
    assert closed(bench.store, 1) == "setup-failed"
    assert any("no such bucket; the next machine is asked for in 1 min" in x for x in bench.said)
    assert "asked again at about" in read_status(bench.store, NAME).detail
    bench.seconds(45)
    assert len(launches(bench.store)) == 1
    bench.seconds(15)
    assert len(launches(bench.store)) == 2


def test_a_second_controller_lets_the_pool_cool_down_too(bench: Bench) -> None:
    said: list[str] = []
    second = Controller(
        bench.store,
        {"local": bench.cloud},
        say=lambda text, **_: said.append(text),
        clock=lambda: bench.now,
    )
    attempt = train(bench)
    second.once()
    bench.daemons.end(attempt, "setup-failed", cause="input", message="no such bucket")
    bench.seconds(6)
    assert closed(bench.store, 1) == "setup-failed"
    for _ in range(45):
        bench.now += 1.0
        second.once()
    assert len(launches(bench.store)) == 1
    bench.seconds(20)
    assert len(launches(bench.store)) == 2  # in one minute: it is not counted twice
    second.close()


def test_after_a_set_up_that_failed_another_pool_is_asked_at_once() -> None:
    two = Two(Cloud)
    two.seconds(3)
    (machine,) = two.clouds["local"].list()
    daemons = Daemons(two.store, two.clouds["local"])
    daemons.claim(machine.name)
    daemons.end(1, "setup-failed", cause="image", message="no route")
    two.seconds(10)
    assert [one.provider for one in launches(two.store)] == ["local", "other"]
    two.controller.close()


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


def test_no_capacity_waits_and_asks_again(bench: Bench) -> None:
    bench.cloud.full = True
    bench.seconds(50)
    assert bench.cloud.asked == 1
    assert closed(bench.store, 1) == "no-capacity"
    bench.cloud.full = False
    bench.seconds(20)
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
