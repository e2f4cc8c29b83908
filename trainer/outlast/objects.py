"""Objects: content-addressed files of about 64 MiB that hold the bytes of checkpoints.

Arrays lie in safetensors files that any reader of that format opens; the contents of output
files lie in raw ones. Bytes that the previous save has already are not written again: a piece
of the new checkpoint then points into the old object.

Our own writer, since safetensors' copies everything once more, knows only the types that it has
names for, and cannot leave out what is there already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from outlast import chunks, tensors
from outlast.blocks import Blocks
from outlast.chunks import UNKNOWN, ArrayInfo, Chunk, Placed, sketch
from outlast.file_source import Content, FileSource
from outlast.images import OBJECT_BYTES, Image, full
from outlast.manifest import Array, ObjectRef, OutputFile, Piece
from outlast.object_files import ObjectFiles
from outlast.shared import Room
from outlast.spares import Spares

_WORTH = 1 << 20
"""Fewer bytes than this that did not change are written again beside those that did."""

_HASHED_AT_ONCE = 4 << 20


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
    sketches: Mapping[str, str]
    """What tells, next time, whether those changed that were not compared now."""

    @property
    def bytes_written(self) -> int:
        """Of the objects that were not there yet."""
        return sum(ref.size for ref in self.created)


class ObjectWriter:
    """Writes the objects of one save through :class:`ObjectFiles`.

    ``known`` says where the bytes of the previous save lie; ``changing`` names runs that will
    hardly be among them, so they are written without a look beforehand; by their ``sketches`` of
    the previous save it is seen when they no longer change. Arrays are split at
    ``object_bytes``, from save to save alike, and an object is closed at ``closed_at``.
    With ``room`` all is published there instead of written; images lie there then.
    """

    def __init__(
        self,
        root: Path,
        attempt: int,
        *,
        known: Mapping[Content, Placed],
        changing: Collection[str] = (),
        sketches: Mapping[str, str] | None = None,
        blocks: Blocks | None = None,
        spares: Spares | None = None,
        room: Room | None = None,
        fsync: bool = True,
        object_bytes: int = OBJECT_BYTES,
        closed_at: int = OBJECT_BYTES,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._files = ObjectFiles(
            root, attempt, blocks=blocks, spares=spares, room=room, fsync=fsync, rest=rest
        )
        self._known, self._changing, self._sketches = known, changing, sketches or {}
        self._limit, self._rest = object_bytes, rest
        self._closed_at = min(closed_at, object_bytes)
        self._index: dict[Content, Placed] = {}

    def write(
        self,
        arrays: Iterable[tuple[str, Any]],
        files: Iterable[FileSource] = (),
        images: Iterable[Image] = (),
    ) -> Written:
        """Write what is new and say where everything lies.

        Raises OSError, TypeError; NoRoomError where there is too little.

        ``arrays`` are taken one at a time through ``numpy.asarray``, but for those that were
        copied into ``images``.
        """
        self._files.begin()
        try:
            return self._write(arrays, files, images)
        except BaseException:
            self._files.give_up()
            raise

    def _write(
        self,
        arrays: Iterable[tuple[str, Any]],
        files: Iterable[FileSource],
        images: Iterable[Image],
    ) -> Written:
        told_arrays: list[tuple[ArrayInfo, list[Chunk]]] = []
        self._pack(chunks.of_arrays(arrays, self._limit, told_arrays), images, raw=False)
        told_files = [(file, list(chunks.of_file(file))) for file in files]
        self._pack((chunk for _, each in told_files for chunk in each), raw=True)
        self._files.end()
        objects: dict[ObjectRef, int] = {}

        def pieces(parts: list[Chunk]) -> tuple[Piece, ...]:
            found = []
            for chunk in parts:
                placed = chunk.placed or self._index[chunk.content]
                number = objects.setdefault(placed.ref, len(objects))
                found.append(Piece(number, placed.offset, chunk.length))
            return tuple(found)

        told = [*told_arrays, *told_files]
        return Written(
            arrays=tuple(
                Array(name, dtype, shape, pieces(parts))
                for (name, dtype, shape), parts in told_arrays
            ),
            outputs=tuple(
                OutputFile(file.path, file.size, pieces(parts)) for file, parts in told_files
            ),
            objects=tuple(objects),
            index=self._index,
            created=tuple(self._files.created),
            changed=self._changed(every := [c for _, parts in told for c in parts]),
            sketches={chunk.entry.name: chunk.sketch for chunk in every if chunk.sketch},
        )

    def _changed(self, parts: list[Chunk]) -> frozenset[str]:
        often = Counter(chunk.content for chunk in parts)

        def changed(chunk: Chunk) -> bool:
            before = self._sketches.get(chunk.entry.name)
            if chunk.content == UNKNOWN:
                return chunk.sketch != before
            # With a sketch alone of the previous save, it is known at the next.
            return before is None and chunk.content not in self._known and often[chunk.content] == 1

        return frozenset(chunk.entry.name for chunk in parts if changed(chunk))

    def _pack(self, parts: Iterable[Chunk], images: Iterable[Image] = (), *, raw: bool) -> None:
        group = _Group(self, raw=raw)
        seen: set[Content] = set()
        reused: dict[ObjectRef, list[Chunk]] = {}
        copied: dict[str, Chunk] = {}
        for chunk in parts:
            if chunk.copied:
                copied[chunk.entry.name] = chunk
            else:
                self._sort(chunk, group, seen, reused)
        for image in images:
            inside = [copied[label] for label in image.labels]
            if self._is_new(inside, seen):
                self._put_image(image, inside)
                seen.update(chunk.content for chunk in inside if chunk.content != UNKNOWN)
            else:
                for chunk in inside:
                    self._sort(chunk, group, seen, reused)
        # An old object that is mostly out of date would be kept, and uploaded by whoever has not
        # done so, for a few bytes: what is still good in it moves to a new one.
        moved: list[Chunk] = []
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

    def _sort(
        self,
        chunk: Chunk,
        group: _Group,
        seen: set[Content],
        reused: dict[ObjectRef, list[Chunk]],
    ) -> None:
        """Have ``chunk`` written with ``group``, if its bytes are not there yet."""
        data = chunk.data
        if chunk.entry.name in self._changing:
            data = chunk.bytes()
            if group.raw:  # files are known by their content, to whoever takes them in
                self._hash(chunk, data)
            else:
                chunk.sketch = sketch(data)
            group.add(chunk, data)
            return
        if chunk.content == UNKNOWN:
            data = chunk.bytes()
            self._hash(chunk, data)
        if chunk.content in seen or chunk.content in self._index:
            return
        seen.add(chunk.content)
        placed = self._known.get(chunk.content)
        if placed is not None and self._files.is_there(placed.ref):
            reused.setdefault(placed.ref, []).append(chunk)
        else:
            group.add(chunk, chunk.load() if data is None else data)

    def _hash(self, chunk: Chunk, data: Any) -> None:
        hasher = xxhash.xxh3_128()
        view = memoryview(data)
        for start in range(0, chunk.length, _HASHED_AT_ONCE):
            hasher.update(view[start : start + _HASHED_AT_ONCE])
            self._rest()
        chunk.content = (hasher.hexdigest(), chunk.length)

    def _is_new(self, inside: list[Chunk], seen: set[Content]) -> bool:
        """Whether an image of these can be written as it is: nothing of it is there already."""
        if all(chunk.entry.name in self._changing for chunk in inside):
            for chunk in inside:
                chunk.sketch = sketch(chunk.data)
            return True
        contents = set(seen)
        for chunk in inside:
            self._hash(chunk, chunk.bytes())
            there = chunk.content in contents or chunk.content in self._index
            if there or chunk.content in self._known:
                return False
            contents.add(chunk.content)
        return True

    def _put_image(self, image: Image, inside: list[Chunk]) -> None:
        header = image.memory[: image.header].data
        parts = [header, *(chunk.bytes() for chunk in inside)]
        self._place(self._files.put(parts, image.memory), len(header), inside)

    def _place(self, ref: ObjectRef, offset: int, inside: Iterable[Chunk]) -> None:
        for chunk in inside:
            chunk.placed = Placed(ref, offset)
            if chunk.content != UNKNOWN:
                self._index[chunk.content] = chunk.placed
            offset += chunk.length


class _Group:
    """The object under way: chunks that will lie side by side."""

    def __init__(self, writer: ObjectWriter, *, raw: bool) -> None:
        self._writer, self.raw = writer, raw
        self._chunks: list[tuple[Chunk, Any]] = []
        self._length = 0

    def add(self, chunk: Chunk, data: Any) -> None:
        """Take ``chunk`` in, closing the object before it would grow past the limit."""
        if full(self._length, chunk.length, self._writer._closed_at):
            self.close()
        self._chunks.append((chunk, data))
        self._length += chunk.length

    def close(self) -> None:
        """Write the object, if there is anything in it."""
        if not self._chunks:
            return
        header = b"" if self.raw else tensors.header(chunk.entry for chunk, _ in self._chunks)
        parts = [header, *(data for _, data in self._chunks)]
        ref = self._writer._files.put(parts)
        self._writer._place(ref, len(header), (chunk for chunk, _ in self._chunks))
        self._chunks, self._length = [], 0
