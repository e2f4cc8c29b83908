from __future__ import annotations

import pytest

from outlast_agent import layout
from outlast_agent.records import Cancel, Held, Result, Resumed, dump, load
from outlast_agent.stores.base import NotFoundError
from outlast_provisioning import reading
from outlast_provisioning.persons import PersonError, cancel_job, resume_job
from provisioning.simulated import NAME, MemoryStore, submitted

OLD, NEW, MISSING = "000001-000000000010", "000001-000000000020", "000001-000000000030"


@pytest.fixture
def store() -> MemoryStore:
    store = submitted()
    for one in (OLD, NEW):
        store.create(f"{layout.checkpoints(NAME)}{one}.json", b"{}")
    return store


def hold(store: MemoryStore) -> None:
    held = Held(attempt=2, expected=MISSING, found=NEW, message="step 30 was durable and is gone")
    store.create(layout.held(NAME), dump(held))


def test_cancelled_once_told_twice(store: MemoryStore) -> None:
    assert "save, if it saves, and stop" in cancel_job(store, NAME)
    load(Cancel, store.read(layout.cancel(NAME)), key="")
    assert store.read(layout.signal(NAME, 0, "cancel"))
    assert "already" in cancel_job(store, NAME)
    store.create(layout.result(NAME), dump(Result(outcome="finished")))
    assert "over already" in cancel_job(store, NAME)


def test_a_held_job_says_what_to_do(store: MemoryStore) -> None:
    hold(store)
    status = reading.read_status(store, NAME)
    assert status.state == "held"
    assert status.detail == "step 30 was durable and is gone"
    assert f"outlast resume {NAME} --from {NEW}" in status.todo


def test_resumed_from_an_older_checkpoint(store: MemoryStore) -> None:
    hold(store)
    assert resume_job(store, NAME, OLD) == f"Job {NAME} goes on from {OLD}."
    decision = load(Resumed, store.read(layout.resumed(NAME, 2)), key="")
    assert decision.set_aside == (NEW, MISSING)
    with pytest.raises(NotFoundError):
        store.read(layout.held(NAME))
    assert reading.read_status(store, NAME).state == "waiting"
    with pytest.raises(PersonError, match="not held"):
        resume_job(store, NAME, OLD)


def test_cut_off_after_the_decision_it_can_be_repeated(store: MemoryStore) -> None:
    hold(store)
    resume_job(store, NAME, NEW)
    hold(store)  # as if it had not been removed
    with pytest.raises(PersonError, match=f"decided to go on from {NEW}"):
        resume_job(store, NAME, OLD)
    assert resume_job(store, NAME, f"{NEW}.json") == f"Job {NAME} goes on from {NEW}."


@pytest.mark.parametrize("wrong", ["000001-000000000011", "latest", MISSING])
def test_a_checkpoint_that_is_not_there(store: MemoryStore, wrong: str) -> None:
    hold(store)
    with pytest.raises(PersonError, match=f"no checkpoint '{wrong}'; the newest: {NEW}, {OLD}"):
        resume_job(store, NAME, wrong)
