"""A daemon that fails each time it is started: bounded, told, and nothing is lost."""

from __future__ import annotations

import signal

import pytest

from agent.scratch_kit import JOB, store_checkpoint
from outlast_agent import command, crashes, giving_up, layout, records
from outlast_agent.crashes import Crashes, count
from outlast_agent.daemon import Daemon
from outlast_agent.spec import JobSpec
from outlast_agent.stores.base import UnavailableError
from outlast_agent.stores.file import FileStore


def row(*failures, before=None):
    """After failures of ``(now, durable)``, each of a daemon that had lived for a second."""
    for now, durable in failures:
        before = count(before, boot_id="b", began=now - 1, now=now, durable=durable)
    return before


def test_a_row_is_hopeless_by_number_and_time():
    many = row(*((float(n), 7) for n in range(crashes.MOST)))
    assert not many.hopeless(crashes.LEAST_SECONDS - 1)
    assert many.hopeless(crashes.LEAST_SECONDS)
    few = row(*((100.0 * n, 7) for n in range(crashes.MOST - 1)))
    assert not few.hopeless(1e6)


def test_progress_a_long_life_or_a_restart_of_the_machine_begin_anew():
    before = Crashes("b", 4, 100.0, 7)
    assert count(before, boot_id="b", began=200, now=201, durable=7) == Crashes("b", 5, 100.0, 7)
    # A daemon that dies before its first look does not know what is durable.
    assert count(before, boot_id="b", began=200, now=201, durable=-1).count == 5
    assert count(before, boot_id="b", began=200, now=201, durable=8) == Crashes("b", 1, 201, 8)
    assert count(before, boot_id="c", began=200, now=201, durable=7).count == 1
    long = 200 + crashes.QUIET_SECONDS
    assert count(before, boot_id="b", began=200, now=long, durable=7).count == 1


def test_what_cannot_be_read_is_no_row(tmp_path):
    path = tmp_path / "crashes.json"
    assert crashes.read(path) is None
    for text in ("{", "[]", '{"boot_id": "b"}'):
        path.write_text(text)
        assert crashes.read(path) is None
    crashes.write(path, Crashes("b", 2, 1.5, -1))
    assert crashes.read(path) == Crashes("b", 2, 1.5, -1)


@pytest.fixture
def failing(monkeypatch):
    """Every daemon fails as soon as it runs."""

    def run(self):
        raise RuntimeError("one\nand two")

    monkeypatch.setattr(Daemon, "run", run)
    monkeypatch.setattr(crashes, "LEAST_SECONDS", 0.0)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def codes(store, root):
    spec = JobSpec(
        job=JOB, launch=1, machine="m", store=store.url, runtime="process", command=("true",)
    )
    root.mkdir()
    return [command._daemon(spec, root) for _ in range(crashes.MOST)]


def put(store, key, record):
    store.create(key, records.dump(record))


def events(store):
    found = [store.read(entry.key) for entry in store.list(layout.events(JOB))]
    return [records.load(records.Event, data, key="") for data in found]


@pytest.mark.parametrize("machine", ["m", "other"])
def test_it_ends_its_attempt_says_why_and_lets_the_machine_go(store, failing, tmp_path, machine):
    launch = records.Launch(
        job=JOB, number=1, provider="local", pool={}, machine="m", nonce="n", reason="first"
    )
    put(store, layout.launch(JOB, 1), launch)
    claim = records.Claim(attempt=3, launch=1, machine=machine, boot_id="b", nonce="n")
    put(store, layout.claim(JOB, 3), claim)
    store_checkpoint(store, 3, 12, [b"weights"])
    assert codes(store, tmp_path / "root") == [command.EX_AGAIN] * (crashes.MOST - 1) + [0]
    (event,) = events(store)
    assert event.kind == "daemon-failed"
    assert "the daemon failed 5 times" in event.text
    assert "RuntimeError: one and two" in event.text
    key = layout.attempt_end(JOB, 3)
    if machine == "other":  # another machine's attempt is none of its business
        assert list(store.list(key)) == []
        return
    end = records.load(records.AttemptEnd, store.read(key), key=key)
    assert (end.outcome, end.cause, end.durable_step) == ("setup-failed", "error", 12)
    assert end.message == event.text
    assert list(store.list(layout.signal(JOB, 3, "end")))


def test_a_store_that_is_away_does_not_keep_the_machine(store, failing, tmp_path, monkeypatch):
    monkeypatch.setattr(giving_up, "SECONDS", 0.2)

    def away(self, prefix, *, after=""):
        raise UnavailableError(f"list of {prefix}: the store is away")

    monkeypatch.setattr(FileStore, "list", away)  # it was there when the daemon opened it
    assert codes(store, tmp_path / "root")[-1] == 0
