"""Which pool is asked, and when: pools that refuse, fail, or have nothing for now."""

from __future__ import annotations

from outlast_agent import layout
from outlast_agent.records import Event, LaunchClosed, Result, load
from outlast_provisioning.controller import LOOK_SECONDS, Controller
from outlast_provisioning.providers.base import GiveUpError, Machine, Request, TryAgainError
from outlast_provisioning.reading import read_status
from provisioning.controller_kit import Bench, train
from provisioning.simulated import NAME, Cloud, Daemons, closed, launches, submitted


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


def test_no_capacity_waits_and_asks_again(bench: Bench) -> None:
    bench.cloud.full = True
    bench.seconds(50)
    assert bench.cloud.asked == 1
    assert closed(bench.store, 1) == "no-capacity"
    bench.cloud.full = False
    bench.seconds(20)
    assert len(bench.cloud.machines) == 1


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
