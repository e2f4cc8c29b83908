"""What every store promises (``outlast_agent.stores.base``), asked of all of them."""

from __future__ import annotations

import string
import threading
from pathlib import Path

import pytest
import xxhash

from outlast_agent.stores.base import (
    AlreadyExistsError,
    Entry,
    NotFoundError,
    RefusedError,
    Store,
    StoreError,
)
from outlast_agent.stores.probe import probe

MIB = 1 << 20


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix, after=after)]


def test_what_is_created_is_read(store: Store) -> None:
    store.create("jobs/a/job.json", b"{}")
    assert store.read("jobs/a/job.json") == b"{}"


@pytest.mark.parametrize("size", [0, 1, 16 * MIB, 16 * MIB + 1, 40 * MIB])
def test_files_of_any_size_go_in_and_out_whole(store: Store, tmp_path: Path, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (tmp_path / "in").write_bytes(content)
    store.create("k", tmp_path / "in")
    assert store.fetch("k", tmp_path / "out") == xxhash.xxh3_128_hexdigest(content)
    assert (tmp_path / "out").read_bytes() == content
    assert store.read("k") == content
    assert list(store.list("k")) == [Entry("k", size)]
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names - {"account.json"} == {"in", "out"}


def test_a_second_create_fails_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"third")
    store.create("attempts/1", b"first")
    for data in (b"second", b"first", b"", tmp_path / "file"):
        with pytest.raises(AlreadyExistsError, match="attempts/1"):
            store.create("attempts/1", data)
    assert store.read("attempts/1") == b"first"


def test_of_many_creators_one_wins(store: Store) -> None:
    won: list[bytes] = []
    barrier = threading.Barrier(8)

    def claim(me: bytes) -> None:
        barrier.wait()
        try:
            store.create("attempts/000001.json", me)
        except AlreadyExistsError:
            return
        won.append(me)

    threads = [threading.Thread(target=claim, args=(b"daemon %d" % n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("attempts/000001.json") == won[0]


def test_put_overwrites(store: Store) -> None:
    store.put("beats/digits", b"1")
    store.put("beats/digits", b"22")
    assert store.read("beats/digits") == b"22"
    assert list(store.list("beats/")) == [Entry("beats/digits", 2)]


def test_what_is_not_there_is_proof(store: Store, tmp_path: Path) -> None:
    store.create("jobs/a/b", b"")
    for key in ("nothing", "jobs", "jobs/a", "jobs/a/c", "jobs/a/b/c", "jobs/ab"):
        with pytest.raises(NotFoundError, match=key):
            store.read(key)
        with pytest.raises(NotFoundError, match=key):
            store.fetch(key, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reading_is_bounded(store: Store) -> None:
    store.create("k", b"x" * 11)
    assert store.read("k", limit=11) == b"x" * 11
    with pytest.raises(StoreError, match="longer than 10 bytes"):
        store.read("k", limit=10)


def test_delete(store: Store) -> None:
    store.create("signals/a-000001-end", b"")
    store.delete("signals/a-000001-end")
    store.delete("signals/a-000001-end")
    store.delete("never/was")
    assert keys(store) == []
    store.create("signals/a-000001-end", b"again")


def test_a_listing_is_in_the_order_of_keys(store: Store) -> None:
    names = ["a", "a-b", "a.b", "b/1", "b/10", "b/2", "b-/1", "b/c/d", "bb", "A", "b/c!"]
    names = [f"jobs/{name}" for name in names]
    for name in names:
        store.create(name, b"")
    assert keys(store) == sorted(names)
    assert keys(store, "jobs/") == sorted(names)
    for prefix in (
        "j",
        "jobs/b",
        "jobs/b/",
        "jobs/b/1",
        "jobs/a",
        "jobs/a-",
        "jobs",
        "x",
        "jobs/.",
    ):
        expected = [name for name in sorted(names) if name.startswith(prefix)]
        assert keys(store, prefix) == expected, prefix
        for after in ("a", "jobs/", "jobs/a-b", "jobs/b/", "jobs/b/0", "jobs/b/z", "z"):
            assert keys(store, prefix, after) == [n for n in expected if n > after], (prefix, after)


def test_a_listing_longer_than_one_page(store: Store) -> None:
    names = [f"events/{number:04d}" for number in range(1100)]
    threads = [
        threading.Thread(
            target=lambda part: [store.create(n, b"") for n in part], args=(names[i::8],)
        )
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys(store, "events/") == names
    assert keys(store, "events/", after="events/1050") == names[1051:]


def test_all_printable_characters(store: Store) -> None:
    odd = "".join(c for c in string.printable if c.isprintable() and c not in "/\\")
    names = [f"outputs/x{character}y" for character in odd]
    for name in names:
        store.create(name, name.encode())
    assert keys(store) == sorted(names)
    assert all(store.read(name) == name.encode() for name in names)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a\0b",
        "a\nb",
        "ä",
        "a\\b",
        "x" * 1000,
        "a/" + "x" * 250,
    ],
)
def test_hostile_keys_are_refused(store: Store, tmp_path: Path, key: str) -> None:
    for use in (
        lambda: store.create(key, b""),
        lambda: store.put(key, b""),
        lambda: store.read(key),
        lambda: store.fetch(key, tmp_path / "out"),
        lambda: store.delete(key),
    ):
        with pytest.raises(RefusedError, match="refused"):
            use()


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", "ä", "a\\"])
def test_hostile_prefixes_are_refused(store: Store, prefix: str) -> None:
    with pytest.raises(RefusedError, match="refused"):
        keys(store, prefix)


def test_a_local_file_that_cannot_be_read_is_told_as_that(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.create("k", tmp_path / "gone")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        store.create("k", tmp_path / "link")
    with pytest.raises(OSError, match="not a regular file"):
        store.create("k", tmp_path)
    assert keys(store) == []


def test_a_local_file_that_cannot_be_written_is_told_as_that(store: Store, tmp_path: Path) -> None:
    store.create("k", b"1")
    with pytest.raises(FileNotFoundError):
        store.fetch("k", tmp_path / "no folder" / "out")


def test_the_probe_passes_and_leaves_nothing(store: Store) -> None:
    probe(store)
    assert keys(store) == []
