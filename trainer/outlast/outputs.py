"""The outputs folder belongs to the checkpoint: taken with it, and brought back exactly.

Files are found and opened one name at a time beneath the folder, without following links, since
the daemon restores a folder that a hostile container may have filled.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from outlast.checkpoint import Objects
from outlast.file_source import (
    FILE_CHUNK,
    Content,
    FileSource,
    OutputChangedError,
    OutputUnreadableError,
)
from outlast.manifest import Manifest, OutputFile, Piece, checked_path
from outlast.objects import Written

_SMALL = 1 << 20
_IN_MEMORY = 64 << 20
_SETTLED = 10.0
_RACY = 0.1

Stamp = tuple[int, int, int, int]
"""Inode, size, mtime and ctime in nanoseconds: equal means unchanged."""


@dataclass(frozen=True)
class Capture:
    """The folder as it was at one step."""

    files: tuple[FileSource, ...] = ()
    release: Callable[[Written | None], None] = lambda _written: None
    """To be called once they are written (with where everything lies), or given up (None)."""


class Outputs:
    """Takes the files of ``folder`` into checkpoints. Used by one training thread."""

    def __init__(self, folder: Path, *, spool: Path) -> None:
        self.folder = folder
        self._spool = spool
        self._known: dict[str, tuple[Stamp, tuple[Content, ...]]] = {}
        self.left_out: set[str] = set()
        """What was found there that is no regular file, such as links: it is not saved."""

    def capture(self, *, still: bool = False) -> Capture:
        """The files as they are now. ``still``: nothing writes to them until it is released.

        Unchanged files are not read again. Of the others, small ones are read at once; those
        written in the last seconds, which may be being written to again in a moment, are copied
        beside; the rest is read later and checked not to have changed. Raises
        OutputUnreadableError, OSError.
        """
        now, room = time.time(), _IN_MEMORY
        stamps, spooled = dict[str, Stamp](), list[Path]()
        sources: list[FileSource] = []
        try:
            for path, found, open_file in walk(self.folder, self.left_out.add):
                stamp, size = _stamp(found), found.st_size
                known, contents = self._known.get(path), None
                try:
                    if known is not None and known[0] == stamp:
                        contents, read = known[1], _later(self.folder, path, stamp)
                    elif size <= min(_SMALL, room):
                        room -= size
                        read = _from_memory(path, open_file(), size)
                    elif still or now - found.st_mtime > _SETTLED:
                        read = _later(self.folder, path, stamp)
                    else:
                        spooled.append(self._spool / f".outputs.{secrets.token_hex(6)}.tmp")
                        read = _from_copy(path, open_file(), spooled[-1])
                except FileNotFoundError:
                    continue  # a temporary file, gone since it was listed
                if now - max(found.st_mtime, found.st_ctime) > _RACY:
                    stamps[path] = stamp
                sources.append(FileSource(path, size, read, contents))
        except BaseException:
            _remove(spooled)
            raise

        def release(written: Written | None) -> None:
            _remove(spooled)
            if written is not None:
                self._remember(stamps, written)

        return Capture(tuple(sources), release)

    def _remember(self, stamps: dict[str, Stamp], written: Written) -> None:
        at = {(placed.ref, placed.offset): content for content, placed in written.index.items()}
        self._known = {
            file.path: (
                stamps[file.path],
                tuple(at[written.objects[piece.object], piece.offset] for piece in file.pieces),
            )
            for file in written.outputs
            if file.path in stamps
        }


def restore_outputs(scratch: Path, manifest: Manifest, folder: Path) -> None:
    """Make ``folder`` hold exactly the output files of ``manifest``, byte for byte.

    Objects are read below ``scratch`` and verified first. Files that were not there at that step
    are removed, as are folders without one and links, which are never followed. Raises
    DamagedError, before anything is changed, if an object is not whole; OutputUnreadableError,
    OSError.
    """
    needed = sorted({piece.object for file in manifest.outputs for piece in file.pieces})
    place = {number: index for index, number in enumerate(needed)}
    objects = Objects(scratch, [manifest.objects[number] for number in needed])
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder, {file.path for file in manifest.outputs})
    for file in manifest.outputs:
        pieces = [Piece(place[p.object], p.offset, p.length) for p in file.pieces]
        _restore(folder, file, objects.runs(pieces))


def walk(
    folder: Path, left_out: Callable[[str], object] = lambda _path: None
) -> Iterator[tuple[str, os.stat_result, Callable[[], int]]]:
    """(path, stat, open) of the regular files beneath ``folder``, in order; no link is followed.

    ``left_out`` is called with the path of everything else that is no folder. ``open`` gives a
    descriptor for reading, valid to ask for until the next file. It and the walk raise
    OutputUnreadableError.
    """
    for here, folders, names, descriptor in _folders(folder):
        folders.sort()
        prefix = os.path.relpath(here, folder).replace(os.sep, "/")
        # A link to a folder is listed with the folders.
        for name in sorted([*names, *folders]):
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = name if prefix == "." else f"{prefix}/{name}"
            if stat.S_ISREG(found.st_mode):

                def open_file(path: str = path, name: str = name, at: int = descriptor) -> int:
                    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                    with _readable(path):
                        return os.open(name, flags, dir_fd=at)

                yield path, found, open_file
            elif not stat.S_ISDIR(found.st_mode):
                left_out(path)


def told_left_out(paths: Iterable[str]) -> str:
    """What a person is told of ``paths`` that are no regular files."""
    shown = sorted(paths)
    names = ", ".join(map(repr, shown[:5])) + (" and more" if len(shown) > 5 else "")
    return f"outputs that are no regular files are not kept ({names}): copy instead of linking."


def _folders(
    folder: Path, *, topdown: bool = True
) -> Iterator[tuple[str, list[str], list[str], int]]:
    """``os.fwalk``, but a folder that cannot be read is not passed over.

    Raises OutputUnreadableError.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    try:
        yield from os.fwalk(folder, topdown, fail, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        text = f"output folder {error.filename} cannot be read: {error.strerror}"
        raise OutputUnreadableError(text) from error


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutputUnreadableError(f"output {path} cannot be read: {error.strerror}") from error


def _stamp(found: os.stat_result) -> Stamp:
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _from_memory(path: str, descriptor: int, size: int) -> Callable[[int, int], bytes]:
    with open(descriptor, "rb") as file:
        data = file.read(size)

    def read(offset: int, length: int) -> bytes:
        return _whole(path, data[offset : offset + length], length)

    return read


def _from_copy(path: str, descriptor: int, copy: Path) -> Callable[[int, int], bytes]:
    with open(descriptor, "rb") as file, copy.open("xb") as target:
        shutil.copyfileobj(file, target, FILE_CHUNK)

    def read(offset: int, length: int) -> bytes:
        with copy.open("rb") as file:
            file.seek(offset)
            return _whole(path, file.read(length), length)

    return read


def _later(folder: Path, path: str, stamp: Stamp) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        try:
            with _readable(path), (folder / path).open("rb") as file:
                file.seek(offset)
                data = file.read(length)
                unchanged = _stamp(os.fstat(file.fileno())) == stamp
        except FileNotFoundError:
            unchanged, data = False, b""
        if not unchanged:
            raise OutputChangedError(f"output {path} changed meanwhile")
        return _whole(path, data, length)

    return read


def _whole(path: str, data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise OutputChangedError(f"output {path} was cut meanwhile")
    return data


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _clear(folder: Path, keep: set[str]) -> None:
    needed = {str(parent) for path in keep for parent in PurePosixPath(path).parents}
    for here, folders, names, descriptor in _folders(folder, topdown=False):
        prefix = os.path.relpath(here, folder).replace(os.sep, "/")
        for name in (*names, *folders):
            path = name if prefix == "." else f"{prefix}/{name}"
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                if path not in needed:
                    # Emptied before: the walk is bottom up.
                    os.rmdir(name, dir_fd=descriptor)
            elif path not in keep or not stat.S_ISREG(mode):
                os.unlink(name, dir_fd=descriptor)


def _restore(folder: Path, file: OutputFile, runs: Iterator[bytes]) -> None:
    parts = checked_path(file.path).split("/")
    with contextlib.ExitStack() as stack:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, at)
        for part in parts[:-1]:
            at = _enter(at, part)
            stack.callback(os.close, at)
        if file.size <= FILE_CHUNK:
            data = b"".join(runs)
            if not _equals(at, parts[-1], data):
                _write(at, parts[-1], iter([data]))
        else:
            _write(at, parts[-1], runs)


def _enter(at: int, part: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(part, flags, dir_fd=at)
    except FileNotFoundError:
        os.mkdir(part, dir_fd=at)
        return os.open(part, flags, dir_fd=at)


def _equals(at: int, name: str, data: bytes) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError:
        return False
    with open(descriptor, "rb") as file:  # noqa: PTH123 - an opened descriptor, not a path
        return file.read(len(data) + 1) == data


def _write(at: int, name: str, runs: Iterator[bytes]) -> None:
    temporary = f".{name[:100]}.{secrets.token_hex(6)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666, dir_fd=at)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - an opened descriptor, not a path
            for run in runs:
                file.write(run)
        os.replace(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=at)
        raise
