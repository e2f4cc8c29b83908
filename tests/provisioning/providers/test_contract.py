"""What every provider must do. ``PROVIDERS`` grows with the table of providers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast_agent.spec import JobSpec
from outlast_provisioning.providers.base import (
    GiveUpError,
    Machine,
    Pool,
    Provider,
    ProviderError,
    Request,
)
from outlast_provisioning.providers.local import LocalProvider
from outlast_provisioning.providers.table import PROVIDERS
from provisioning.providers.local_kit import intend


@pytest.fixture(params=sorted(PROVIDERS))
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    made = PROVIDERS[request.param](tmp_path / "home")
    yield made
    for machine in made.list():
        made.delete(machine.name)


def asked_for(tmp_path: Path, name: str = "digits-1", *, grace: float = 1.0) -> Request:
    spec = JobSpec(
        job="digits",
        launch=1,
        machine=name,
        store=f"file://{tmp_path / 'store'}",
        runtime="process",
        command=("sleep", "1000"),
    )
    pool = Pool(provider="local", grace_seconds=grace)
    intend(tmp_path)
    return Request(name, pool, spec, max_lifetime_seconds=600)


def find(provider: Provider, name: str) -> Machine | None:
    return next((machine for machine in provider.list() if machine.name == name), None)


def wait_for(provider: Provider, name: str, states: set[str], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        machine = find(provider, name)
        if (machine.state if machine else "gone") in states:
            return
        assert time.monotonic() < deadline, machine
        time.sleep(0.02)


def test_asking_twice_makes_one_machine(provider: Provider, tmp_path: Path) -> None:
    assert provider.list() == []
    first = provider.ask(asked_for(tmp_path))
    second = provider.ask(asked_for(tmp_path))
    assert (first.name, first.job, first.launch) == ("digits-1", "digits", 1)
    assert second.name == first.name
    assert [machine.name for machine in provider.list()] == ["digits-1"]


def test_a_machine_outlives_who_asked_for_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    pid = os.fork()
    if pid == 0:
        try:
            LocalProvider(home).ask(asked_for(tmp_path))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    again = LocalProvider(home)
    try:
        assert [machine.state for machine in again.list()] == ["running"]
    finally:
        again.delete("digits-1")


def test_deleting_leaves_nothing_and_may_be_repeated(provider: Provider, tmp_path: Path) -> None:
    provider.ask(asked_for(tmp_path))
    provider.delete("digits-1")
    assert find(provider, "digits-1") is None
    provider.delete("digits-1")
    provider.delete("never-was-there")


def test_an_eviction_with_notice_takes_the_machine(provider: Provider, tmp_path: Path) -> None:
    provider.ask(asked_for(tmp_path, grace=0.5))
    provider.evict("digits-1")
    wait_for(provider, "digits-1", {"gone"})
    provider.delete("digits-1")
    assert provider.list() == []


def test_an_eviction_without_notice_takes_it_at_once(provider: Provider, tmp_path: Path) -> None:
    provider.ask(asked_for(tmp_path, grace=600))
    began = time.monotonic()
    provider.evict("digits-1", notice=False)
    wait_for(provider, "digits-1", {"gone"})
    assert time.monotonic() - began < 5


def test_what_is_not_there_cannot_be_evicted_or_started(provider: Provider) -> None:
    with pytest.raises(GiveUpError, match="no machine"):
        provider.evict("nobody")
    with pytest.raises(GiveUpError, match="no machine"):
        provider.start("nobody")


def test_an_evicted_machine_is_not_made_again_by_asking(provider: Provider, tmp_path: Path) -> None:
    provider.ask(asked_for(tmp_path))
    provider.evict("digits-1", notice=False)
    wait_for(provider, "digits-1", {"gone"})
    machine = provider.ask(asked_for(tmp_path))
    assert machine.state == "gone"


def test_a_name_that_would_leave_the_folder_is_refused(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(ProviderError):
        provider.ask(asked_for(tmp_path, "../evil"))
    provider.delete("../evil")
    assert not (tmp_path / "evil").exists()
