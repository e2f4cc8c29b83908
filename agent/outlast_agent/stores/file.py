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
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from outlast_agent.stores.base import (
    AlreadyExistsError,
    Entry,
    NotFoundError,
    RefusedError,
    Store,
    StoreError,
    UnavailableError,
)
from outlast_agent.stores.beneath import Beneath, new_file
from outlast_agent.stores.keys import check_key, check_prefix
from outlast_agent.stores.local import copy, opened, receive

TEMPORARIES = ".tmp"

STALE_SECONDS = 3600.0
"""A temporary not written to for this long belongs to a dead writer. Were it alive after all, its
link would fail and its create be tried again: nothing torn can come of it."""

_CHUNK = 1 << 20
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_LOOKING = {"read", "fetch", "list", "delete"}
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_HINTS = {
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EROFS: "the file system is mounted read-only: mount it for writing or name another",
    errno.ENAMETOOLONG: "choose a shorter path for the store",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.EEXIST: "a file is where a folder is needed: name another folder",
    errno.EISDIR: "a folder has that name: name another folder",
    errno.EXDEV: "the store must be on one file system: mount nothing below its folder",
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
    errno.EISDIR,
    errno.EXDEV,
    errno.ELOOP,
}


class FileStore(Store):
    """A :class:`Store` in the folder ``root``, which is made if it is not there."""

    def __init__(self, root: Path) -> None:
        """Raises RefusedError if ``root`` cannot be made."""
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - a link to a mount stays a link
        self.url = f"file://{self.root}"
        self._beneath = Beneath(self.root)
        self._lock = threading.Lock()
        self._swept = False
        with self._faults("opening"):
            self.root.mkdir(parents=True, exist_ok=True)

    def create(self, key: str, data: bytes | memoryview | Path) -> None:
        """See :meth:`Store.create`."""
        *folders, name = self._parts(key, "create")
        with (
            opened(data) as source,
            self._faults("create", key),
            self._temporary(source) as (temporaries, temporary),
            self._beneath.folder(folders, make=True) as folder,
        ):
            try:
                self._link(temporary, temporaries, name, folder)
            except FileExistsError as error:
                self._check_file(folder, name, key)
                raise AlreadyExistsError(f"create of {key} in {self.url}: it exists") from error
            finally:
                # Also when the name was taken: its writer may not have come this far, and who
                # is told "it exists" relies on it.
                os.fsync(folder)

    def put(self, key: str, data: bytes) -> None:
        """See :meth:`Store.put`."""
        *folders, name = self._parts(key, "put")
        with (
            self._faults("put", key),
            self._temporary(io.BytesIO(data)) as (temporaries, temporary),
            self._beneath.folder(folders, make=True) as folder,
        ):
            os.replace(temporary, name, src_dir_fd=temporaries, dst_dir_fd=folder)
            os.fsync(folder)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        """See :meth:`Store.read`."""
        with self._faults("read", key), self._open(key, "read") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise StoreError(f"read of {key} in {self.url}: it is longer than {limit} bytes")
        return data

    def fetch(self, key: str, path: Path) -> str:
        """See :meth:`Store.fetch`."""
        with self._faults("fetch", key):
            source = self._open(key, "fetch")
        with source:
            return receive(iter(lambda: self._next(source, key), b""), path)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """See :meth:`Store.list`."""
        check_prefix(prefix, operation="list")
        return self._walk(prefix[: prefix.rfind("/") + 1], prefix, after)

    def delete(self, key: str) -> None:
        """See :meth:`Store.delete`."""
        *folders, name = self._parts(key, "delete")
        try:
            with self._faults("delete", key), self._beneath.folder(folders) as folder:
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)
        except NotFoundError:
            return

    def _parts(self, key: str, operation: str) -> tuple[str, ...]:
        parts = tuple(check_key(key, operation=operation).split("/"))
        if parts[0] == TEMPORARIES:
            raise RefusedError(
                f"{operation} of key {key} refused: {TEMPORARIES} is the store's own"
            )
        return parts

    def _open(self, key: str, operation: str) -> BinaryIO:
        return self._beneath.file(self._parts(key, operation))

    def _next(self, source: BinaryIO, key: str) -> bytes:
        with self._faults("fetch", key):
            return source.read(_CHUNK)

    @contextmanager
    def _temporary(self, source: BinaryIO) -> Iterator[tuple[int, str]]:
        """A new file with what ``source`` holds, on disk: its folder and its name."""
        with self._beneath.folder([TEMPORARIES], make=True) as folder:
            name = secrets.token_hex(12)
            try:
                with new_file(folder, name) as file:
                    copy(source, file)
                    file.flush()
                    os.fsync(file.fileno())
                self._sweep_once(folder, name)
                yield folder, name
            finally:
                with contextlib.suppress(FileNotFoundError):  # it was renamed
                    os.unlink(name, dir_fd=folder)

    def _sweep_once(self, folder: int, own: str) -> None:
        with self._lock:
            if self._swept:
                return
            self._swept = True
        now = os.stat(own, dir_fd=folder).st_mtime  # the file server's clock, as of the others
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if now - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS:
                        os.unlink(entry.name, dir_fd=folder)

    def _link(self, temporary: str, temporaries: int, name: str, folder: int) -> None:
        try:
            os.link(temporary, name, src_dir_fd=temporaries, dst_dir_fd=folder)
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise RefusedError(
                    f"the file system of {self.root} has no hard links, without which two writers "
                    "cannot be told apart: choose a folder on another file system"
                ) from error
            raise

    def _check_file(self, folder: int, name: str, key: str) -> None:
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise RefusedError(f"create of {key} in {self.url}: a folder has that name")

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[Entry]:
        """Keys below ``folder`` ("" or ending in a slash), in the order of whole keys."""
        for name, size in self._names(folder, prefix, after):
            key = folder + name
            if size is not None:
                yield Entry(key, size)
            elif after.startswith(key) or after < key:
                yield from self._walk(key, prefix, after)

    def _names(self, folder: str, prefix: str, after: str) -> Iterable[tuple[str, int | None]]:
        """Files with their sizes, and folders, their names ending in a slash."""
        found: dict[str, int | None] = {}
        try:
            with (
                self._faults("list", folder),
                self._beneath.folder(folder.split("/")[:-1]) as descriptor,
                os.scandir(descriptor) as entries,
            ):
                for entry in entries:
                    key = folder + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if f"{key}/".startswith(prefix) and key != TEMPORARIES:
                            found[f"{entry.name}/"] = None
                    elif key.startswith(prefix) and key > after:
                        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                            status = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(status.st_mode):
                                found[entry.name] = status.st_size
        except NotFoundError:
            pass
        # A folder sorts by its name with the slash, as its keys do: "a-b" before "a/b".
        return sorted(found.items())

    @contextmanager
    def _faults(self, operation: str, key: str = "") -> Iterator[None]:
        """Make of an OSError what it means here."""
        try:
            yield
        except OSError as error:
            raise self._meaning(operation, key, error) from error

    def _meaning(self, operation: str, key: str, error: OSError) -> StoreError:
        number = error.errno or 0
        where = f"{operation} of {key} in {self.url}" if key else f"{operation} of {self.url}"
        if number in _NOT_THERE and not self.root.is_dir() and operation != "opening":
            # Without its root (a share that is not mounted), "nothing is there" proves nothing.
            return UnavailableError(f"{where}: the folder is gone: mount or restore it")
        if number in _NOT_THERE and operation in _LOOKING:
            return NotFoundError(f"{where}: nothing is there")
        hint = _HINTS.get(number, "look at the file system, then try again")
        kind = RefusedError if number in _PERMANENT else UnavailableError
        return kind(f"{where}: {error.strerror or error}: {hint}")
