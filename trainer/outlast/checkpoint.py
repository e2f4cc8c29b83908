"""Reading checkpoints: the newest whole one, each byte verified before any of it is used."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from outlast.manifest import (
    MAX_MANIFEST_BYTES,
    Array,
    CheckpointId,
    Manifest,
    ManifestError,
    NewerVersionError,
    ObjectRef,
    Piece,
    newest_first,
    parse_manifest,
)
from outlast.plain import PREFIX, PlainError, decode
from outlast.refused import OtherProcessesError

_READERS = 4
"""Threads that read and verify objects."""
_RUN = 1 << 20
"""Bytes that are read and hashed at a time: they stay in the processor's cache in between."""


class DamagedError(Exception):
    """A checkpoint of which something is missing or altered; the message says what."""


@dataclass(frozen=True)
class Loaded:
    """A whole checkpoint, as one rank reads it."""

    id: CheckpointId
    kind: str
    state: Any
    """What was given as :attr:`outlast.snapshot.Snapshot.state`."""
    arrays: Mapping[str, np.ndarray]
    """What was given as :attr:`outlast.snapshot.Snapshot.arrays`, each read when it is asked for,
    as a copy of its own."""
    manifest: Manifest
    all_arrays: Arrays
    """``arrays``, and those that were found in the state."""

    @property
    def step(self) -> int:
        """Steps done when it was taken."""
        return self.id.step

    @property
    def fingerprint(self) -> dict[str, str]:
        """Where it was written."""
        return self.manifest.fingerprint


class Objects:
    """The verified bytes of a checkpoint's objects, mapped into memory."""

    def __init__(self, root: Path, refs: Sequence[ObjectRef]) -> None:
        """Raises DamagedError if one is missing, of another size, or altered; OSError."""
        if len(refs) < 2:
            self._views = [_verified(root, ref) for ref in refs]
            return
        with ThreadPoolExecutor(_READERS, "outlast-read") as readers:
            self._views = list(readers.map(lambda ref: _verified(root, ref), refs))

    def read(self, pieces: Sequence[Piece]) -> np.ndarray:
        """The bytes of ``pieces``, end to end: uint8, of one's own."""
        data = np.empty(sum(piece.length for piece in pieces), np.uint8)
        end = 0
        for piece in pieces:
            np.copyto(data[end : end + piece.length], np.frombuffer(self.view(piece), np.uint8))
            end += piece.length
        return data

    def view(self, piece: Piece) -> memoryview:
        """The bytes of one piece, not copied."""
        return self._views[piece.object][piece.offset : piece.offset + piece.length]

    def runs(self, pieces: Sequence[Piece], *, most: int = 8 << 20) -> Iterator[bytes]:
        """The same bytes in runs of at most ``most``."""
        for piece in pieces:
            for start in range(0, piece.length, most):
                offset = piece.offset + start
                yield bytes(
                    self._views[piece.object][offset : offset + min(most, piece.length - start)]
                )


def checkpoints_in(scratch: Path) -> list[CheckpointId]:
    """The checkpoints below ``scratch``, newest first."""
    try:
        return newest_first(
            path.name for path in (scratch / "checkpoints").iterdir() if path.suffix == ".json"
        )
    except FileNotFoundError:
        return []


def load_newest(
    root: Path,
    *,
    rank: int = 0,
    world_size: int = 1,
    on_damaged: Callable[[CheckpointId, str], None] = lambda _id, _why: None,
) -> Loaded | None:
    """The newest checkpoint below ``root`` of which every byte is as it was written, or None.

    A damaged one is passed over, told to ``on_damaged`` with what is wrong. Raises
    NewerVersionError, for going on from an older one would lose what is in the newer;
    OtherProcessesError; OSError.
    """
    for id_ in checkpoints_in(root):
        try:
            return load(root, id_, rank=rank, world_size=world_size)
        except (DamagedError, ManifestError) as error:
            if isinstance(error, NewerVersionError):
                raise
            on_damaged(id_, str(error))
    return None


def load(root: Path, id_: CheckpointId, *, rank: int = 0, world_size: int = 1) -> Loaded:
    """One checkpoint. Raises DamagedError, ManifestError, OtherProcessesError, OSError."""
    manifest = read_manifest(root, id_)
    if len(manifest.parts) != world_size:
        saved_by = f"{len(manifest.parts)} process{'es' if len(manifest.parts) > 1 else ''}"
        raise OtherProcessesError(
            f"checkpoint {id_} was saved by {saved_by} and now {world_size} train: start as many "
            "as before"
        )
    objects = Objects(root, manifest.objects)
    part = next((part for part in manifest.parts if part.rank == rank), None)
    if part is None:
        raise DamagedError(f"checkpoint {id_} has no part of rank {rank}")
    arrays = Arrays(part.arrays, objects)
    try:
        state = decode(part.state, arrays)
    except PlainError as error:
        raise DamagedError(str(error)) from error
    named = tuple(array for array in part.arrays if not array.name.startswith(PREFIX))
    return Loaded(id_, manifest.kind, state, Arrays(named, objects), manifest, arrays)


def read_manifest(root: Path, id_: CheckpointId) -> Manifest:
    """The manifest of ``id_``. Raises DamagedError if it is gone, ManifestError, OSError."""
    try:
        data = _read(root / id_.key, MAX_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError(f"its manifest {id_.key} is gone") from error
    return parse_manifest(data, name=str(id_))


class Arrays(Mapping[str, np.ndarray]):
    """Named arrays, each read when asked for, as a copy of its own."""

    def __init__(self, arrays: Sequence[Array], objects: Objects) -> None:
        self._arrays = {array.name: array for array in arrays}
        self.objects = objects
        """Where their bytes are."""
        for array in arrays:
            check_array(array)

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._arrays[name]
        return self.objects.read(array.pieces).view(numpy_type(array.dtype)).reshape(array.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def info(self) -> list[Array]:
        """Name, type and shape of each, in the order of saving, without reading any."""
        return list(self._arrays.values())


def numpy_type(name: str) -> np.dtype[Any]:
    """The numpy type called ``name``, ml_dtypes' among them. Raises ValueError."""
    with suppress(TypeError):
        dtype = np.dtype(name)
        if dtype.kind in "biufc" or (dtype.kind == "V" and not dtype.name.startswith("void")):
            return dtype
    try:
        import ml_dtypes  # noqa: PLC0415 - comes with the frameworks that have these types
    except ImportError:
        ml_dtypes = None
    found = getattr(ml_dtypes, name, None)
    if isinstance(found, type) and issubclass(found, np.generic):
        return np.dtype(found)
    raise ValueError(f"arrays of {name!r:.50} cannot be read here: install ml_dtypes")


def check_array(array: Array) -> None:
    """Raises DamagedError unless its bytes are as many as its shape says; ValueError (its type)."""
    size = numpy_type(array.dtype).itemsize
    for length in array.shape:
        size *= length
    held = sum(piece.length for piece in array.pieces)
    if held != size:
        raise DamagedError(f"array {array.name!r:.200} has {held} bytes and should have {size}")


def _verified(root: Path, ref: ObjectRef) -> memoryview:
    try:
        descriptor = os.open(root / ref.key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DamagedError(f"{ref.key} is gone") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != ref.size:
            raise DamagedError(f"{ref.key} has {found.st_size} bytes: it was cut or altered")
        if _hash_of(descriptor) != ref.hash:
            raise DamagedError(f"{ref.key} was altered: its hash is another")
        data: Any = mmap.mmap(descriptor, ref.size, prot=mmap.PROT_READ) if ref.size else b""
    finally:
        os.close(descriptor)
    return memoryview(data)


def _hash_of(descriptor: int) -> str:
    """Of all that is in the file; read, not mapped: that is as quick as the disk."""
    hasher, block, at = xxhash.xxh3_128(), bytearray(_RUN), 0
    view = memoryview(block)
    while count := os.preadv(descriptor, [block], at):
        hasher.update(view[:count])
        at += count
    return hasher.hexdigest()


def _read(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - an opened descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DamagedError(f"{path} is not a regular file")
        return file.read(limit + 1)
