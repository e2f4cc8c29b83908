"""Retries, with a clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast_agent.stores.base import (
    AlreadyExistsError,
    Entry,
    NotFoundError,
    RefusedError,
    Store,
    UnavailableError,
)
from outlast_agent.stores.file import FileStore
from outlast_agent.stores.retrying import TRIES, WITHIN_SECONDS, Retrying


class Faulty(Store):
    """A real store whose answers get lost as ``faults`` say, one entry a request."""

    def __init__(self, store: Store, faults: list[str]) -> None:
        self.url = store.url
        self.store = store
        self.faults = faults
        self.requests = 0

    def _fault(self, do: Callable[[], object]) -> object:
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise UnavailableError("lost before")
        answer = do()
        if fault == "after":
            raise UnavailableError("lost after")
        return answer

    def create(self, key: str, data: bytes | Path) -> None:
        self._fault(lambda: self.store.create(key, data))

    def put(self, key: str, data: bytes) -> None:
        self._fault(lambda: self.store.put(key, data))

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        return self._fault(lambda: self.store.read(key, limit=limit))  # type: ignore[return-value]

    def fetch(self, key: str, path: Path) -> str:
        return self._fault(lambda: self.store.fetch(key, path))

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        self._fault(lambda: None)
        for number, entry in enumerate(self.store.list(prefix, after=after)):
            if number == 2:  # pages of two
                self._fault(lambda: None)
            yield entry

    def delete(self, key: str) -> None:
        self._fault(lambda: self.store.delete(key))


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def make(tmp_path: Path, *faults: str) -> tuple[Retrying, Faulty, Time]:
    time = Time()
    faulty = Faulty(FileStore(tmp_path / "store"), list(faults))
    return (
        Retrying(faulty, sleep=time.sleep, clock=lambda: time.now, jitter=lambda: 1.0),
        faulty,
        time,
    )


def test_every_request_is_tried_again(tmp_path: Path) -> None:
    store, faulty, _ = make(tmp_path)
    for fault in ("before", "after"):
        key = f"k/{fault}"
        faulty.faults = [fault]
        store.create(key, b"1")
        faulty.faults = [fault]
        store.put(key, b"2")
        faulty.faults = [fault]
        assert store.read(key) == b"2"
        faulty.faults = [fault]
        store.fetch(key, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"2"
        faulty.faults = [fault]
        assert [entry.key for entry in store.list("k/")] == [key]
        faulty.faults = [fault]
        store.delete(key)
        with pytest.raises(NotFoundError):
            store.read(key)


def test_pauses_grow_and_tries_end(tmp_path: Path) -> None:
    store, faulty, time = make(tmp_path, *["before"] * 100)
    with pytest.raises(UnavailableError, match="lost before"):
        store.create("k", b"")
    assert faulty.requests == TRIES
    assert time.pauses == pytest.approx([0.2, 0.8, 2.0, 2.0, 2.0])


def test_time_ends_the_tries_too(tmp_path: Path) -> None:
    store, faulty, time = make(tmp_path)

    def slow(key: str, data: bytes | Path) -> None:
        time.now += WITHIN_SECONDS
        faulty.requests += 1
        raise UnavailableError("timed out")

    faulty.create = slow  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="timed out"):
        store.create("k", b"")
    assert faulty.requests == 1


@pytest.mark.parametrize("error", [RefusedError, NotFoundError, AlreadyExistsError])
def test_what_will_not_change_is_not_tried_again(tmp_path: Path, error: type[Exception]) -> None:
    store, faulty, _ = make(tmp_path)

    def refuse(key: str, *, limit: int = 0) -> bytes:
        faulty.requests += 1
        raise error("no")

    faulty.read = refuse  # type: ignore[method-assign]
    with pytest.raises(error):
        store.read("k")
    assert faulty.requests == 1


@pytest.mark.parametrize("form", ["bytes", "file"])
def test_a_lost_create_is_settled_by_what_is_there(tmp_path: Path, form: str) -> None:
    def data(content: bytes) -> bytes | Path:
        if form == "bytes":
            return content
        (tmp_path / "file").write_bytes(content)
        return tmp_path / "file"

    # It was stored, only the answer was lost: ours, also when the reading back is lost once.
    store, _, _ = make(tmp_path, "after", "", "before")
    store.create("ours", data(b"nonce 1"))
    assert store.read("ours") == b"nonce 1"

    # It was not stored, and somebody else was quicker than the second try.
    for other in (b"nonce 3", b"", b"nonce 2 and more"):
        store, faulty, _ = make(tmp_path, "before")
        key = f"theirs/{len(other)}"
        faulty.store.create(key, other)
        with pytest.raises(AlreadyExistsError):
            store.create(key, data(b"nonce 2"))
        assert store.read(key) == other


def test_the_same_content_by_somebody_else_is_not_ours_without_a_lost_answer(
    tmp_path: Path,
) -> None:
    store, faulty, _ = make(tmp_path)
    faulty.store.create("k", b"same")
    with pytest.raises(AlreadyExistsError):
        store.create("k", b"same")


def test_a_create_that_came_and_went_is_not_known(tmp_path: Path) -> None:
    store, faulty, _ = make(tmp_path, "after")
    original = faulty.store.create

    def create_then_deleted(key: str, data: bytes | Path) -> None:
        try:
            original(key, data)
        except AlreadyExistsError:
            faulty.store.delete(key)
            raise

    faulty.store.create = create_then_deleted  # type: ignore[method-assign]
    # The third try creates it: nobody else has it now.
    store.create("k", b"1")
    assert store.read("k") == b"1"


def test_a_listing_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    store, faulty, _ = make(tmp_path)
    for number in range(9):
        faulty.store.create(f"k/{number}", b"")
    faulty.faults = ["", "before", "before", "", "before"]
    assert [entry.key for entry in store.list("k/")] == [f"k/{number}" for number in range(9)]


def test_a_listing_gives_up_too(tmp_path: Path) -> None:
    store, faulty, _ = make(tmp_path, *["before"] * 100)
    with pytest.raises(UnavailableError):
        list(store.list("k/"))
    assert faulty.requests == TRIES
