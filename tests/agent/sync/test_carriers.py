"""A store that hangs: what is superseded is left behind, and nothing that counts waits for it."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from agent.daemon_kit import until
from agent.scratch_kit import JOB, Slow, Uploading, ids, store_checkpoint, write
from outlast.manifest import CheckpointId
from outlast_agent import layout
from outlast_agent.stores.base import UnavailableError
from outlast_agent.stores.file import FileStore
from outlast_agent.sync import apart, carriers, upload
from outlast_agent.sync.carriers import Carriers

OLD = [b"old %d" % n for n in range(10)]


class Hanging(Slow):
    """Lets the creates of ``stuck`` keys hang until it is released, then does them."""

    stuck: frozenset[str] = frozenset()

    def __init__(self, inner):
        super().__init__(inner)
        self.hang: list[str] = []

    def create(self, key, data):
        if key in self.stuck:
            self.hang.append(key)
            self.pause.wait(60)
        super().create(key, data)


@pytest.fixture
def store(tmp_path):
    made = Hanging(FileStore(tmp_path / "store"))
    yield made
    made.pause.set()


def keys(manifest):
    return frozenset(layout.job_root(JOB) + each.key for each in manifest.objects)


def test_a_hanging_upload_does_not_hold_up_the_newest_under_a_notice(store, scratch):
    store.stuck = keys(write(scratch, 1, 1, OLD))
    with Uploading(store, scratch) as up:
        until(lambda: len(store.hang) == carriers.COUNT)
        begun = time.monotonic()
        up.uploader.rush(begun + 30)
        write(scratch, 1, 2, [b"new %d" % n for n in range(10)], kind="notice")
        up.flush(until=begun + 30, timeout=30)
        assert up.steps() == [2]
        assert time.monotonic() - begun < 25
        # What was left arrives after all, and makes no checkpoint.
        store.pause.set()
        until(lambda: store.stuck & set(store.created))
    assert ids(store) == ["000001-000000000002"]
    assert len(store.stuck & set(store.created)) == carriers.COUNT


def test_a_hanging_manifest_does_not_hold_up_the_newest_either(store, scratch, monkeypatch):
    monkeypatch.setattr(apart, "MANIFEST_SECONDS", 0.1)
    older = write(scratch, 1, 1, OLD)
    store.stuck = frozenset([layout.job_root(JOB) + older.id.key])
    with Uploading(store, scratch) as up:
        until(lambda: store.hang)
        up.uploader.rush(time.monotonic() + 30)
        write(scratch, 1, 2, [b"new"], kind="notice")
        up.flush(timeout=25)
        assert up.steps() == [2]


@pytest.mark.parametrize("what", ["objects", "manifest"])
def test_a_flush_gives_up_at_its_time_though_the_store_hangs(store, scratch, what):
    manifest = write(scratch, 1, 1, OLD)
    whole = frozenset([layout.job_root(JOB) + manifest.id.key])
    store.stuck = keys(manifest) if what == "objects" else whole
    with Uploading(store, scratch) as up:
        begun = time.monotonic()
        up.flush(until=begun + 0.3, timeout=25)
        assert time.monotonic() - begun >= 0.3
        assert up.steps() == []


def test_an_end_does_not_wait_for_what_hangs(store, scratch, monkeypatch):
    monkeypatch.setattr(carriers, "CLOSE_SECONDS", 0.1)
    store.stuck = keys(write(scratch, 1, 1, OLD))
    up = Uploading(store, scratch)
    up.uploader.start()
    until(lambda: store.hang)
    begun = time.monotonic()
    up.uploader.close()
    assert time.monotonic() - begun < 25
    assert up.crashed == []


def test_only_so_much_is_left_behind(monkeypatch):
    monkeypatch.setattr(carriers, "CLOSE_SECONDS", 0.1)
    release, begun = threading.Event(), []
    made, held = Carriers(), ExitStack()
    closed = []
    held.callback(closed.append, True)

    def hang():
        begun.append(1)
        release.wait(60)

    for rounds in (1, 2):
        assert made.may_leave()
        futures = [made.submit(hang) for _ in range(10)]
        until(lambda rounds=rounds: len(begun) == rounds * carriers.COUNT)
        made.leave(futures, held)
    assert not made.may_leave()
    assert made.submit(int, "7").result(5) == 7
    assert closed == []
    release.set()
    until(made.may_leave)
    until(lambda: closed)
    made.close()
    assert len(begun) == 2 * carriers.COUNT


class Counting(Slow):
    """Says what is deleted; after the first object it does as it is told."""

    def __init__(self, inner, then):
        super().__init__(inner)
        self.then, self.deleted = then, []

    def delete(self, key):
        super().delete(key)
        self.deleted.append(key)
        if "/objects/" in key:
            self.then()


def swept(store, scratch, monkeypatch, then):
    """An uploader that sweeps after its third checkpoint, and what it then did."""
    monkeypatch.setattr(upload, "SWEEP_SECONDS", 0.0)
    for step in (1, 2):
        store_checkpoint(store, 1, step, [b"%d %d" % (step, n) for n in range(5)])
    counting = Counting(store, lambda: then(up.uploader))
    up = Uploading(counting, scratch, keep=2)
    with up:
        until(lambda: up.uploader.durable is not None)
        for step in (3, 4):
            write(scratch, 1, step, [b"%d" % step])
            up.uploader.look()
            until(lambda step=step: step in up.steps())
        until(lambda: any("/objects/" in key for key in counting.deleted))
        # The very content that was deleted comes back: it must be sent again.
        write(scratch, 1, 5, [b"%d %d" % (step, n) for step in (1, 2) for n in range(5)])
        up.flush()
        assert up.steps()[-1] == 5
    objects = {entry.key for entry in store.list(layout.objects(JOB))}
    newest = up.durable[-1]
    assert newest.id == CheckpointId(1, 5)
    return counting.deleted, objects


def test_a_notice_breaks_a_sweep_off(store, scratch, monkeypatch):
    deleted, objects = swept(store, scratch, monkeypatch, lambda up: up.rush(time.monotonic() + 30))
    assert sum("/objects/" in key for key in deleted) == 1
    assert len(objects) == 12


def test_a_sweep_that_failed_halfway_forgets_what_it_deleted(store, scratch, monkeypatch):
    def fail(up):
        raise UnavailableError("the answer was lost")

    _, objects = swept(store, scratch, monkeypatch, fail)
    assert len({key for key in objects if key.rsplit("-", 1)[1] == "3"}) == 10
