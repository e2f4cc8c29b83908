"""Objects: content-addressed files of about 64 MiB that hold the bytes of checkpoints.

Arrays lie in safetensors files that any reader of that format opens; the contents of output
files lie in raw ones. Bytes that the previous save has already are not written again: a piece
of the new checkpoint then points into the old object.

Our own writer, since safetensors' copies everything once more, knows only the types that it has
names for, and cannot leave out what is there already.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from outlast import tensors
from outlast.blocks import BlockFile, Blocks, create, set_direct
from outlast.durable import fsync_folder, make_folder
from outlast.file_source import FILE_CHUNK, Content, FileSource
from outlast.manifest import Array, ObjectRef, OutputFile, Piece
from outlast.spares import Spares

OBJECT_BYTES = 64 << 20
"""Arrays are split at this, and an object is closed before it grows past it by a quarter."""
_WORTH = 1 << 20
"""Fewer bytes than this that did not change are written again beside those that did."""

_UNSETTLED = 4
"""Objects written and not yet waited for: the disk works while the next is packed."""


@dataclass(frozen=True)
class Placed:
    """Where some bytes lie."""

    ref: ObjectRef
    offset: int


@dataclass(frozen=True)
class Written:
    """What one save consists of."""

    arrays: tuple[Array, ...]
    outputs: tuple[OutputFile, ...]
    objects: tuple[ObjectRef, ...]
    index: Mapping[Content, Placed]
    """Where each run of bytes lies, for the next save to point at."""
    created: tuple[ObjectRef, ...]
    """The objects that were not there yet: to be removed if the save fails after all."""
    changed: frozenset[str]
    """The names of runs of bytes that neither the previous save has nor another name."""

    @property
    def bytes_written(self) -> int:
        """Of the objects that were not there yet."""
        return sum(ref.size for ref in self.created)


_UNKNOWN: Content = ("", 0)


@dataclass
class _Chunk:
    entry: tensors.Entry
    load: Callable[[], Any]
    """The bytes again, as a buffer."""
    content: Content = _UNKNOWN
    data: memoryview | None = None
    """The same bytes, while they are at hand."""

    @property
    def length(self) -> int:
        return self.entry.length


class ObjectWriter:
    """Writes the objects of one save below ``root``.

    ``known`` says where the bytes of the previous save lie; ``changing`` names runs that will
    hardly be among them, so they are written without a look beforehand. ``blocks`` and ``spares``
    are used again from save to save. What is written with ``fsync`` goes past the page cache, to
    be durable at once; what is not will be read back at once.
    """

    def __init__(
        self,
        root: Path,
        attempt: int,
        *,
        known: Mapping[Content, Placed],
        changing: Collection[str] = (),
        blocks: Blocks | None = None,
        spares: Spares | None = None,
        fsync: bool = True,
        object_bytes: int = OBJECT_BYTES,
    ) -> None:
        self._blocks = Blocks() if blocks is None else blocks
        self._root, self._attempt, self._known, self._fsync = root, attempt, known, fsync
        self._changing = changing
        self._limit = object_bytes
        self._folder = object_folder(root, attempt)
        self._spares = Spares(self._folder) if spares is None else spares
        self._there: dict[ObjectRef, bool] = {}
        self._index: dict[Content, Placed] = {}
        self._created: list[ObjectRef] = []
        self._unsettled: deque[tuple[BlockFile, Path, Path]] = deque()

    def write(self, arrays: Iterable[tuple[str, Any]], files: Iterable[FileSource] = ()) -> Written:
        """Write what is new and say where everything lies. Raises OSError, TypeError.

        ``arrays`` are taken one at a time through ``numpy.asarray``.
        """
        make_folder(self._folder, fsync=self._fsync)
        try:
            return self._write(arrays, files)
        except BaseException:
            self._give_up()
            raise

    def _write(self, arrays: Iterable[tuple[str, Any]], files: Iterable[FileSource]) -> Written:
        told_arrays: list[tuple[tuple[str, str, tuple[int, ...]], list[_Chunk]]] = []
        self._pack(self._array_chunks(arrays, told_arrays), raw=False)
        told_files = [(file, list(self._file_chunks(file))) for file in files]
        self._pack((chunk for _, chunks in told_files for chunk in chunks), raw=True)
        while self._unsettled:
            self._settle()
        if self._created and self._fsync:
            fsync_folder(self._folder)
        objects: dict[ObjectRef, int] = {}

        def pieces(chunks: list[_Chunk]) -> tuple[Piece, ...]:
            found = []
            for chunk in chunks:
                placed = self._index[chunk.content]
                number = objects.setdefault(placed.ref, len(objects))
                found.append(Piece(number, placed.offset, chunk.length))
            return tuple(found)

        return Written(
            arrays=tuple(
                Array(name, dtype, shape, pieces(chunks))
                for (name, dtype, shape), chunks in told_arrays
            ),
            outputs=tuple(
                OutputFile(file.path, file.size, pieces(chunks)) for file, chunks in told_files
            ),
            objects=tuple(objects),
            index=self._index,
            created=tuple(self._created),
            changed=self._changed([c for _, each in (*told_arrays, *told_files) for c in each]),
        )

    def _changed(self, chunks: list[_Chunk]) -> frozenset[str]:
        often = Counter(chunk.content for chunk in chunks)
        return frozenset(
            chunk.entry.name
            for chunk in chunks
            if chunk.content not in self._known and often[chunk.content] == 1
        )

    def _array_chunks(
        self,
        arrays: Iterable[tuple[str, Any]],
        told: list[tuple[tuple[str, str, tuple[int, ...]], list[_Chunk]]],
    ) -> Iterator[_Chunk]:
        for name, value in arrays:
            array = np.asarray(value)
            kind, dtype = array.dtype.kind, array.dtype.name
            if kind not in "biufc" and (kind != "V" or dtype.startswith("void")):
                raise TypeError(f"array {name!r} is of {array.dtype}, which cannot be saved")
            chunks: list[_Chunk] = []
            told.append(((name, dtype, array.shape), chunks))
            data = tensors.bytes_of(array)
            step = max(array.itemsize, self._limit // array.itemsize * array.itemsize)
            for start in range(0, array.nbytes, step):
                length = min(step, array.nbytes - start)
                label = name if array.nbytes <= step else f"{name}[{start}:{start + length}]"

                # Converted anew if it is asked for again: holding all would double the memory.
                def load(value: Any = value, start: int = start, length: int = length) -> Any:
                    return tensors.bytes_of(np.asarray(value))[start : start + length]

                entry = tensors.Entry(label, dtype, array.itemsize, length)
                chunks.append(_Chunk(entry, load))
                chunks[-1].data = data[start : start + length]
                yield chunks[-1]
                chunks[-1].data = None

    def _file_chunks(self, file: FileSource) -> Iterator[_Chunk]:
        for number, start in enumerate(range(0, file.size, FILE_CHUNK)):
            length = min(FILE_CHUNK, file.size - start)

            def load(start: int = start, length: int = length) -> bytes:
                return file.read(start, length)

            chunk = _Chunk(tensors.Entry(f"{file.path}[{start}]", "uint8", 1, length), load)
            if file.contents is not None:
                chunk.content = file.contents[number]
            yield chunk

    def _pack(self, chunks: Iterable[_Chunk], *, raw: bool) -> None:
        group = _Group(self, raw=raw)
        seen: set[Content] = set()
        reused: dict[ObjectRef, list[_Chunk]] = {}
        for chunk in chunks:
            data = chunk.data
            if chunk.entry.name in self._changing:
                group.add(chunk, chunk.load() if data is None else data)
                continue
            if chunk.content == _UNKNOWN:
                data = chunk.load() if data is None else data
                chunk.content = (xxhash.xxh3_128_hexdigest(data), chunk.length)
            if chunk.content in seen or chunk.content in self._index:
                continue
            seen.add(chunk.content)
            placed = self._known.get(chunk.content)
            if placed is not None and self._is_there(placed.ref):
                reused.setdefault(placed.ref, []).append(chunk)
            else:
                group.add(chunk, chunk.load() if data is None else data)
        # An old object that is mostly out of date would be kept, and uploaded by whoever has not
        # done so, for a few bytes: what is still good in it moves to a new one.
        moved: list[_Chunk] = []
        for ref, held in reused.items():
            live = sum(chunk.length for chunk in held)
            if live >= _WORTH and live * 2 >= ref.size:
                for chunk in held:
                    self._index[chunk.content] = self._known[chunk.content]
            else:
                moved += held
        if sum(chunk.length for chunk in moved) >= _WORTH:
            group.close()  # apart from what changes: next time these stay where they are
        for chunk in moved:
            group.add(chunk, chunk.load())
        group.close()

    def _is_there(self, ref: ObjectRef) -> bool:
        if ref not in self._there:
            try:
                self._there[ref] = (self._root / ref.key).stat().st_size == ref.size
            except OSError:
                self._there[ref] = False
        return self._there[ref]

    def _put(self, header: bytes, chunks: Iterable[tuple[_Chunk, Any]]) -> ObjectRef:
        """Write one object of ``header`` and ``chunks``, whose contents are known then."""
        temporary, descriptor = self._spares.take() or self._new_file()
        if self._fsync:
            set_direct(descriptor)
        file = BlockFile(descriptor, self._blocks)
        try:
            file.write(header)
            for chunk, data in chunks:
                digest = file.write(data, digest=chunk.content == _UNKNOWN)
                if digest is not None:
                    chunk.content = (digest, chunk.length)
            ref = ObjectRef(self._attempt, file.end(fsync=self._fsync), file.size)
        except BaseException:
            _drop(file, temporary)
            raise
        if self._is_there(ref):  # of a save that failed, say
            _drop(file, temporary)
            return ref
        self._unsettled.append((file, temporary, self._root / ref.key))
        self._there[ref] = True
        self._created.append(ref)
        if len(self._unsettled) > _UNSETTLED:
            self._settle()
        return ref

    def _new_file(self) -> tuple[Path, int]:
        temporary = self._spares.temporary()
        return temporary, create(temporary)

    def _settle(self) -> None:
        file, temporary, path = self._unsettled[0]
        file.settle()
        temporary.replace(path)
        self._unsettled.popleft()

    def _give_up(self) -> None:
        for file, temporary, _ in self._unsettled:
            _drop(file, temporary)
        self._unsettled.clear()
        remove(self._root, self._created)
        self._spares.clear()  # the disk may be full


def _drop(file: BlockFile, temporary: Path) -> None:
    file.give_up()
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def object_folder(root: Path, attempt: int) -> Path:
    """Where the objects of ``attempt`` lie below ``root``."""
    return root / "objects" / f"{attempt:06d}"


def remove(root: Path, refs: Iterable[ObjectRef]) -> None:
    """Remove objects, as far as that is possible."""
    for ref in refs:
        with contextlib.suppress(OSError):
            (root / ref.key).unlink(missing_ok=True)


class _Group:
    """The object under way: chunks that will lie side by side."""

    def __init__(self, writer: ObjectWriter, *, raw: bool) -> None:
        self._writer, self._raw = writer, raw
        self._chunks: list[tuple[_Chunk, Any]] = []
        self._length = 0

    def add(self, chunk: _Chunk, data: Any) -> None:
        """Take ``chunk`` in, closing the object before it would grow past the limit."""
        if self._chunks and self._length + chunk.length > self._writer._limit * 5 // 4:
            self.close()
        self._chunks.append((chunk, data))
        self._length += chunk.length

    def close(self) -> None:
        """Write the object, if there is anything in it."""
        if not self._chunks:
            return
        header = b"" if self._raw else tensors.header(chunk.entry for chunk, _ in self._chunks)
        ref = self._writer._put(header, self._chunks)
        offset = len(header)
        for chunk, _ in self._chunks:
            self._writer._index[chunk.content] = Placed(ref, offset)
            offset += chunk.length
        self._chunks, self._length = [], 0
