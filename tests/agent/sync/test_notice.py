"""Under a notice nothing waits for what could come after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.daemon_kit import until
from agent.scratch_kit import Slow, Uploading, ref, write
from outlast_agent.stores.base import Store
from outlast_agent.stores.file import FileStore
from outlast_agent.sync import upload


class Gate(Slow):
    """Requests that are told to wait until it is opened."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.opened = threading.Event()
        self.waiting: set[str] = set()
        self.lists_wait = False

    def create(self, key: str, data: bytes | Path) -> None:
        if any(key.endswith(each) for each in self.waiting):
            self.opened.wait(20)
        super().create(key, data)

    def list(self, prefix: str, *, after: str = "") -> Any:
        if self.lists_wait:
            self.opened.wait(20)
        return super().list(prefix, after=after)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(FileStore(tmp_path / "store"))
    yield gate
    gate.opened.set()


def put(scratch: Path, data: bytes) -> str:
    """An object of a save that is being written; its key."""
    each = ref(data, 1)
    (scratch / each.key).write_bytes(data)
    return each.key


def test_a_manifest_does_not_wait_behind_objects_of_the_next_save(
    store: Gate, scratch: Path
) -> None:
    write(scratch, 1, 1, [b"a", b"b"])
    store.waiting = {put(scratch, b"next %d" % number) for number in range(40)}
    with Uploading(store, scratch, expected_rate=1e9) as up:
        up.uploader.rush(time.monotonic() + 60)
        until(lambda: up.steps() == [1], 10)
        store.opened.set()


def test_what_only_waits_for_its_turn_can_be_recalled(store: Gate, scratch: Path) -> None:
    contents = [b"content %03d" % number for number in range(40)]
    store.waiting = {each.key for each in write(scratch, 1, 1, contents).objects}
    with Uploading(store, scratch, expected_rate=1e6) as up:
        up.uploader.rush(time.monotonic() + 60)
        until(lambda: len(store.begun) == 0 and up.uploader.under_way > 0, 10)
        time.sleep(0.2)  # it is reckoned anew at every glance
        assert 0 < up.uploader.under_way <= 8 * len(contents[0])
        store.opened.set()


def test_a_sweep_that_hangs_does_not_hold_up_the_last_save(
    store: Gate, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "SWEEP_SECONDS", 0.0)
    with Uploading(store, scratch) as up:
        until(lambda: up.uploader.every is not None)
        time.sleep(0.1)  # what an earlier daemon did is known by now
        store.lists_wait = True
        write(scratch, 1, 1, [b"a"])
        up.uploader.look()
        until(lambda: up.steps() == [1])
        up.uploader.rush(time.monotonic() + 60)
        write(scratch, 1, 2, [b"b"])
        up.flush()
        assert up.steps() == [1, 2]
        store.opened.set()


def test_a_flush_ends_in_time_while_objects_keep_arriving(store: Gate, scratch: Path) -> None:
    store.seconds = 0.01
    write(scratch, 1, 1, [b"content %03d" % number for number in range(400)])
    with Uploading(store, scratch) as up:
        up.flush(time.monotonic() + 0.2)
        assert len(store.created) < 300
