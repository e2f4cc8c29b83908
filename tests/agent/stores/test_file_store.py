"""The folder store alone: killed at every system call, and on file systems that fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from outlast_agent.stores.base import (
    AlreadyExistsError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from outlast_agent.stores.file import STALE_SECONDS, TEMPORARIES, FileStore
from outlast_agent.stores.open import open_store

WRITER = """
import os, sys
from pathlib import Path
from outlast_agent.stores.base import AlreadyExistsError
from outlast_agent.stores.file import FileStore
operation, root, file = sys.argv[1:]
store = FileStore(Path(root))
os.write(1, b"begin")
if operation == "create":
    store.create("jobs/digits/k", Path(file))
elif operation == "put":
    store.put("beats/digits", b"new" * 1000)
elif operation == "delete":
    store.delete("jobs/old")
os.write(1, b"done")
"""
CALLS = (
    "mkdir,mkdirat,openat,write,fsync,link,linkat,"
    "rename,renameat,renameat2,unlink,unlinkat,sendfile"
)
CONTENT = b"x" * 3_000_000


def strace(tmp_path: Path, operation: str, *injection: str) -> tuple[int, str, str]:
    """Exit code, output and trace of ``operation`` on a store in ``tmp_path/store``."""
    (tmp_path / "file").write_bytes(CONTENT)
    trace = tmp_path / "trace"
    root = tmp_path / "store"
    writer = [sys.executable, "-c", WRITER, operation, str(root), str(tmp_path / "file")]
    options = ["-f", "-o", str(trace), "-e", f"trace={CALLS}", *injection]
    done = subprocess.run(
        ["strace", *options, *writer], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr[-500:], trace.read_text()


def fill(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "store")
    store.create("jobs/old", b"old")
    store.put("beats/digits", b"old")
    return store


def points(trace: str) -> list[tuple[str, int]]:
    """Each system call of the operation itself, as its name and its number among its like."""
    seen: Counter[str] = Counter()
    found = []
    begun = False
    for line in trace.splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match is None:
            continue
        seen[match[1]] += 1
        if begun:
            found.append((match[1], seen[match[1]]))
        begun = begun or 'write(1, "begin"' in line
    return found


@pytest.mark.needs("strace")
@pytest.mark.parametrize("operation", ["create", "put", "delete"])
def test_killed_at_every_system_call(tmp_path: Path, operation: str) -> None:
    for name in ("compiled", "whole"):  # a first run also writes what Python compiles
        whole = tmp_path / name
        whole.mkdir()
        fill(whole)
        code, output, trace = strace(whole, operation)
        assert (code, output) == (0, "begindone")
    everywhere = points(trace)
    assert len({name for name, _ in everywhere}) >= 3, everywhere
    states = set()
    for name, number in everywhere:
        folder = tmp_path / f"{name}-{number}"
        folder.mkdir()
        fill(folder)
        injection = f"inject={name}:signal=SIGKILL:when={number}"
        code, output, trace = strace(folder, operation, "-e", injection)
        assert code in {137, -9}, (name, number, code, output)
        states.add(check(folder, operation))
    if operation != "delete":  # its one change comes with its first call
        assert states == {"before", "after"}


def check(folder: Path, operation: str) -> str:
    """What a new process finds after a kill; it can do all that the killed one could."""
    store = FileStore(folder / "store")
    listed = {entry.key: entry.size for entry in store.list("")}
    assert set(listed) <= {"jobs/old", "beats/digits", "jobs/digits/k"}
    state = "before"
    if operation == "create":
        if "jobs/digits/k" in listed:
            state = "after"
            assert store.read("jobs/digits/k") == CONTENT
            with pytest.raises(AlreadyExistsError):
                store.create("jobs/digits/k", b"other")
        else:
            with pytest.raises(NotFoundError):
                store.read("jobs/digits/k")
            store.create("jobs/digits/k", b"other")
            assert store.read("jobs/digits/k") == b"other"
    elif operation == "put":
        assert store.read("beats/digits") in {b"old", b"new" * 1000}
        state = "before" if store.read("beats/digits") == b"old" else "after"
        store.put("beats/digits", b"newer")
        assert store.read("beats/digits") == b"newer"
    else:
        state = "before" if "jobs/old" in listed else "after"
        store.delete("jobs/old")
        assert "jobs/old" not in {entry.key for entry in store.list("")}
    return state


def test_temporaries_of_dead_writers_are_swept_and_those_of_live_ones_left(tmp_path: Path) -> None:
    store = fill(tmp_path)
    folder = tmp_path / "store" / TEMPORARIES
    for name, age in (("dead", STALE_SECONDS + 60), ("alive", STALE_SECONDS - 60)):
        (folder / name).write_bytes(b"half of")
        now = (folder / name).stat().st_mtime
        os.utime(folder / name, (now - age, now - age))
    FileStore(tmp_path / "store").create("k", b"")
    assert [path.name for path in folder.iterdir()] == ["alive"]
    assert TEMPORARIES not in " ".join(entry.key for entry in store.list(""))
    with pytest.raises(RefusedError, match="the store's own"):
        store.read(f"{TEMPORARIES}/alive")


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("injection", "operation", "kind", "message"),
    [
        ("link,linkat:error=EPERM", "create", RefusedError, "no hard links.*another"),
        (
            "link,linkat:error=EOPNOTSUPP",
            "create",
            RefusedError,
            "no hard links.*another",
        ),
        ("fsync:error=ENOSPC:when=1", "create", UnavailableError, "make room"),
        ("fsync:error=EDQUOT:when=1", "put", UnavailableError, "quota"),
        ("fsync:error=EIO:when=1", "put", UnavailableError, "look at the file system"),
        ("mkdirat:error=EROFS:when=1", "create", RefusedError, "mounted read-only"),
        ("mkdirat:error=EACCES:when=1", "create", RefusedError, "give this user the right"),
    ],
)
def test_a_file_system_that_fails(
    tmp_path: Path, injection: str, operation: str, kind: type[Exception], message: str
) -> None:
    (tmp_path / "store").mkdir()
    code, output, trace = strace(tmp_path, operation, "-e", f"inject={injection}")
    assert "(INJECTED)" in trace
    assert code == 1
    last = output.strip().splitlines()[-1]
    assert last.startswith(f"outlast_agent.stores.base.{kind.__name__}: ")
    assert re.search(message, last)
    left = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert left == []


def test_a_root_that_goes_away_is_no_proof(tmp_path: Path) -> None:
    store = fill(tmp_path)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    for use in (
        lambda: store.read("jobs/old"),
        lambda: store.fetch("jobs/old", tmp_path / "out"),
        lambda: list(store.list("")),
        lambda: store.create("k", b""),
        lambda: store.put("k", b""),
        lambda: store.delete("jobs/old"),
    ):
        with pytest.raises(UnavailableError, match="gone: mount or restore it"):
            use()
    assert not (tmp_path / "store").exists()


def test_a_folder_removed_behind_its_back_is_made_again(tmp_path: Path) -> None:
    store = fill(tmp_path)
    store.create("a/b/c", b"")
    store.delete("a/b/c")
    (tmp_path / "store" / "a" / "b").rmdir()
    store.create("a/b/c", b"again")
    assert store.read("a/b/c") == b"again"


def test_links_in_the_store_lead_nowhere(tmp_path: Path) -> None:
    store = fill(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (tmp_path / "store" / "jobs" / "link").symlink_to(outside / "secret")
    (tmp_path / "store" / "folder").symlink_to(outside)
    (tmp_path / "store" / "jobs" / "deep").mkdir()
    (tmp_path / "store" / "jobs" / "deep" / "folder").symlink_to(outside)
    assert [entry.key for entry in store.list("")] == ["beats/digits", "jobs/old"]
    for key in ("jobs/link", "folder/secret", "jobs/deep/folder/secret"):
        with pytest.raises(RefusedError, match="may hold no links"):
            store.read(key)
    for key in ("folder/new", "jobs/deep/folder/new", "folder/secret"):
        for use in (
            lambda key=key: store.create(key, b"new"),
            lambda key=key: store.put(key, b"new"),
            lambda key=key: store.delete(key),
            lambda key=key: list(store.list(f"{key.rsplit('/', 1)[0]}/")),
        ):
            with pytest.raises(RefusedError, match="may hold no links"):
                use()
    with pytest.raises(AlreadyExistsError):
        store.create("jobs/link", b"")
    store.put("jobs/link", b"own")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_a_pipe_in_the_store_blocks_nobody(tmp_path: Path) -> None:
    store = fill(tmp_path)
    os.mkfifo(tmp_path / "store" / "pipe")
    assert "pipe" not in {entry.key for entry in store.list("")}
    with pytest.raises(UnavailableError, match="not a regular file"):
        store.read("pipe")


def test_a_listing_survives_files_that_vanish(tmp_path: Path) -> None:
    store = fill(tmp_path)
    for name in "abc":
        store.create(f"signals/{name}", b"")
    listing = store.list("signals/")
    assert next(listing).key == "signals/a"
    store.delete("signals/b")
    assert [entry.key for entry in listing] in (["signals/c"], ["signals/b", "signals/c"])


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    store = fill(tmp_path)
    with pytest.raises(RefusedError, match="name a folder"):
        store.create("jobs/old/k", b"")
    with pytest.raises(RefusedError, match="a folder has that name"):
        store.create("jobs", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RefusedError, match=r"file is where a folder is needed|is a file"):
        open_store(f"file://{tmp_path}/file")
    with pytest.raises(RefusedError, match="a part of the path is a file"):
        open_store(f"file://{tmp_path}/file/below")


def test_the_url_may_hold_spaces_and_signs(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/my%20store")
    store.create("k", b"1")
    assert (tmp_path / "my store" / "k").read_bytes() == b"1"
