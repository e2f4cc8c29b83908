"""Runs of bytes that a checkpoint consists of: pieces of arrays and of output files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from outlast import tensors
from outlast.file_source import FILE_CHUNK, Content, FileSource
from outlast.images import Copied
from outlast.manifest import ObjectRef

UNKNOWN: Content = ("", 0)
_SAMPLES, _SAMPLE = 16, 1024
ArrayInfo = tuple[str, str, tuple[int, ...]]
"""Name, name of the type, shape."""


@dataclass(frozen=True)
class Placed:
    """Where some bytes lie."""

    ref: ObjectRef
    offset: int


@dataclass
class Chunk:
    """One run of bytes that lies in one object."""

    entry: tensors.Entry
    load: Callable[[], Any]
    """The bytes again, as a buffer."""
    content: Content = UNKNOWN
    data: Any = None
    """The same bytes, while they are at hand."""
    copied: bool = False
    """Whether its bytes lie in an image."""
    placed: Placed | None = None
    """Where they were written; None: where others of the same content lie."""
    sketch: str = ""
    """As :func:`sketch` has it, where the content is not known."""

    @property
    def length(self) -> int:
        """Bytes."""
        return self.entry.length

    def bytes(self) -> Any:
        """The bytes, as a buffer."""
        return self.load() if self.data is None else self.data


def of_arrays(
    arrays: Iterable[tuple[str, Any]], limit: int, told: list[tuple[ArrayInfo, list[Chunk]]]
) -> Iterator[Chunk]:
    """The chunks of ``arrays``, each of at most ``limit`` bytes; ``told`` is added to.

    An array is taken when its first chunk is asked for. Raises TypeError for what is no numbers.
    """
    for name, value in arrays:
        if isinstance(value, Copied):
            found = [_copied(entry, data) for entry, data in value.pieces]
            told.append(((name, value.dtype, value.shape), found))
            yield from found
            continue
        array = np.asarray(value)
        if not tensors.is_numbers(array.dtype):
            raise TypeError(f"array {name!r} is of {array.dtype}, which cannot be saved")
        chunks: list[Chunk] = []
        told.append(((name, array.dtype.name, array.shape), chunks))
        data = tensors.bytes_of(array)
        for start, entry in tensors.entries_of(name, array.dtype, array.nbytes, limit):
            # Converted anew if it is asked for again: holding all would double the memory.
            def load(value: Any = value, start: int = start, length: int = entry.length) -> Any:
                return tensors.bytes_of(np.asarray(value))[start : start + length]

            chunks.append(Chunk(entry, load, data=data[start : start + entry.length]))
            yield chunks[-1]
            chunks[-1].data = None


def _copied(entry: tensors.Entry, data: np.ndarray) -> Chunk:
    return Chunk(entry, lambda: data, data=data, copied=True)


def of_file(file: FileSource) -> Iterator[Chunk]:
    """The chunks of an output file, which is read when a chunk's bytes are asked for."""
    for number, start in enumerate(range(0, file.size, FILE_CHUNK)):
        length = min(FILE_CHUNK, file.size - start)

        def load(start: int = start, length: int = length) -> bytes:
            return file.read(start, length)

        chunk = Chunk(tensors.Entry(f"{file.path}[{start}]", "uint8", 1, length), load)
        if file.contents is not None:
            chunk.content = file.contents[number]
        yield chunk


def sketch(data: Any) -> str:
    """A hash of a few samples of a buffer: if it is another one, so are the bytes."""
    view = memoryview(data).cast("B")
    hasher = xxhash.xxh3_64()
    apart = max(_SAMPLE, len(view) // _SAMPLES)
    for start in range(0, len(view), apart):
        hasher.update(view[start : start + _SAMPLE])
    return hasher.hexdigest()
