"""A folder as a store: on one machine, or a network file system that several share.

What is created is written to ``.tmp`` below the root, fsynced, linked to its name (a link fails
when the name is taken, so of two writers exactly one wins), and its folder is fsynced. A writer
killed at any instant leaves the key whole or absent, and at worst a temporary file, which a
later writer sweeps.

File system calls cannot be given a time limit: on a network file system mounted ``hard`` they
wait for the server.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from outlast.durable import fsync_folder
from outlast_agent.stores.base import (
    AlreadyExistsError,
    Entry,
    NotFoundError,
    RefusedError,
    Store,
    StoreError,
    UnavailableError,
)
from outlast_agent.stores.keys import check_key, check_prefix
from outlast_agent.stores.local import open_regular, opened, whole_file

TEMPORARIES = ".tmp"

STALE_SECONDS = 3600.0
"""A temporary not written to for this long belongs to a dead writer. Were it alive after all, its
link would fail and its create be tried again: nothing torn can come of it."""

_CHUNK = 1 << 20
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR}
_HINTS = {
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EROFS: "the file system is mounted read-only: mount it for writing or name another",
    errno.ENAMETOOLONG: "choose a shorter path for the store",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.EEXIST: "a file is where a folder is needed: name another folder",
    errno.ELOOP: "the store may hold no links",
    errno.ENOSPC: "make room on that file system",
    errno.EDQUOT: "make room within the quota of that file system",
}
_PERMANENT = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
}


class FileStore(Store):
    """A :class:`Store` in the folder ``root``, which is made if it is not there."""

    def __init__(self, root: Path) -> None:
        """Raises RefusedError if ``root`` cannot be made."""
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - a link to a mount stays a link
        self.url = f"file://{self.root}"
        self._durable_folders: set[Path] = set()
        self._lock = threading.Lock()
        self._swept = False
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._fail("opening", "", error)

    def create(self, key: str, data: bytes | Path) -> None:
        """See :meth:`Store.create`."""
        path = self._path(key, "create")
        with opened(data) as source:
            self._create(path, key, source)

    def _create(self, path: Path, key: str, source: BinaryIO) -> None:
        try:
            temporary = self._write_temporary(source)
            try:
                self._make_folder(path.parent)
                self._link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        except FileExistsError as error:
            # The name may be a moment old and its writer not there yet: who is told "it exists"
            # relies on it, so it is durable before this returns.
            self._sync_existing(path, key)
            raise AlreadyExistsError(f"create of {key} in {self.url}: it exists") from error
        except OSError as error:
            self._fail("create", key, error)

    def put(self, key: str, data: bytes) -> None:
        """See :meth:`Store.put`."""
        path = self._path(key, "put")
        try:
            temporary = self._write_temporary(io.BytesIO(data))
            try:
                self._make_folder(path.parent)
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            fsync_folder(path.parent)
        except OSError as error:
            self._fail("put", key, error)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        """See :meth:`Store.read`."""
        try:
            with self._open(key, "read") as file:
                data = file.read(limit + 1)
        except OSError as error:
            self._fail("read", key, error)
        if len(data) > limit:
            raise StoreError(f"read of {key} in {self.url}: it is longer than {limit} bytes")
        return data

    def fetch(self, key: str, path: Path) -> None:
        """See :meth:`Store.fetch`."""
        try:
            source = self._open(key, "fetch")
        except OSError as error:
            self._fail("fetch", key, error)
        with source, whole_file(path) as target:
            while piece := self._next(source, key):
                target.write(piece)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """See :meth:`Store.list`."""
        return self._walk("", check_prefix(prefix, operation="list"), after)

    def delete(self, key: str) -> None:
        """See :meth:`Store.delete`."""
        path = self._path(key, "delete")
        try:
            path.unlink()
            fsync_folder(path.parent)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                self._fail("delete", key, error)
            self._check_root("delete", key)

    def _path(self, key: str, operation: str) -> Path:
        check_key(key, operation=operation)
        if key.split("/", 1)[0] == TEMPORARIES:
            raise RefusedError(
                f"{operation} of key {key} refused: {TEMPORARIES} is the store's own"
            )
        return self.root / key

    def _open(self, key: str, operation: str) -> BinaryIO:
        path = self._path(key, operation)
        try:
            return open_regular(path)
        except OSError as error:
            if error.errno not in _NOT_THERE | {errno.EISDIR}:
                raise
            self._check_root(operation, key)
            raise NotFoundError(f"{operation} of {key} in {self.url}: nothing is there") from error

    def _next(self, source: BinaryIO, key: str) -> bytes:
        try:
            return source.read(_CHUNK)
        except OSError as error:
            self._fail("fetch", key, error)

    def _check_root(self, operation: str, key: str) -> None:
        # Without its root (a share that is not mounted), "nothing is there" would prove nothing.
        if not self.root.is_dir():
            raise UnavailableError(
                f"{operation} of {key}: the folder {self.root} is gone: mount or restore it"
            )

    def _write_temporary(self, source: BinaryIO) -> Path:
        # Not made here with parents: a root that has gone must not be made again elsewhere.
        folder = self.root / TEMPORARIES
        folder.mkdir(exist_ok=True)
        temporary = folder / secrets.token_hex(12)
        try:
            with temporary.open("xb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
                file.flush()
                os.fsync(file.fileno())
            self._sweep_once(temporary)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _sweep_once(self, own: Path) -> None:
        with self._lock:
            if self._swept:
                return
            self._swept = True
        now = own.stat().st_mtime  # the file server's clock, as are the others' stamps
        with os.scandir(own.parent) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if now - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS:
                        Path(entry.path).unlink()

    def _link(self, temporary: Path, path: Path) -> None:
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise RefusedError(
                    f"the file system of {self.root} has no hard links, without which two writers "
                    "cannot be told apart: choose a folder on another file system"
                ) from error
            raise
        fsync_folder(path.parent)

    def _sync_existing(self, path: Path, key: str) -> None:
        try:
            if path.is_dir():
                raise RefusedError(f"create of {key} in {self.url}: a folder has that name")
            fsync_folder(path.parent)
        except OSError as error:
            self._fail("create", key, error)

    def _make_folder(self, folder: Path) -> None:
        # A folder that is there may have been made a moment ago by a writer that was killed
        # before it made the name durable: so each is fsynced once by everyone who uses it.
        with self._lock:
            if folder in self._durable_folders:
                if folder.is_dir():
                    return
                self._durable_folders.clear()
        chain = [folder, *folder.parents]
        below = chain[: chain.index(self.root)]
        for each in reversed(below):
            with contextlib.suppress(FileExistsError):
                each.mkdir()
            fsync_folder(each.parent)
        with self._lock:
            self._durable_folders.add(folder)

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[Entry]:
        """Keys below ``folder`` ("" or ending in a slash), in the order of whole keys."""
        for name, is_folder in self._names(folder):
            key = folder + name
            if is_folder:
                below = not after.startswith(key) and after > key
                if below or not (key.startswith(prefix) or prefix.startswith(key)):
                    continue
                yield from self._walk(key, prefix, after)
            elif key.startswith(prefix) and key > after:
                try:
                    size = (self.root / key).stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # deleted since the folder was read
                yield Entry(key, size)

    def _names(self, folder: str) -> Iterable[tuple[str, bool]]:
        names = []
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if folder or entry.name != TEMPORARIES:
                            names.append((entry.name + "/", True))
                    elif entry.is_file(follow_symlinks=False):
                        names.append((entry.name, False))
        except OSError as error:
            if error.errno not in _NOT_THERE:
                self._fail("list", folder, error)
            self._check_root("list", folder)
        # A folder sorts by its name with the slash, as its keys do: "a-b" before "a/b".
        return sorted(names)

    def _fail(self, operation: str, key: str, error: OSError) -> NoReturn:
        number = error.errno or 0
        if number == errno.ENOENT and not self.root.is_dir():
            self._check_root(operation, key)
        hint = _HINTS.get(number, "look at the file system, then try again")
        kind = RefusedError if number in _PERMANENT else UnavailableError
        what = f"{operation} of {key}" if key else operation
        raise kind(f"{what} in {self.url}: {error.strerror or error}: {hint}") from error
