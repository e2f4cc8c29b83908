"""Reading checkpoints: the newest whole one, each byte verified before any of it is used."""

from __future__ import annotations

import mmap
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from outlast.refused import OtherProcessesError, RefusedError

_READERS = 4
"""Threads that read and verify objects."""
_RUN = 1 << 20
"""Bytes that are read and hashed at a time: they stay in the processor's cache in between."""


class DamagedError(Exception):
    """A checkpoint of which something is missing or altered; the message says what."""


class AlteredError(RefusedError, DamagedError):
    """What was whole when it was read first is not any more."""

    code = "checkpoint-altered"


@dataclass(frozen=True)
class Loaded:
    """A whole checkpoint, as one rank reads it."""

    id: CheckpointId
    kind: str
    state: Any
    """What was given as :attr:`outlast.snapshot.Snapshot.state`."""
    arrays: Arrays
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

    def __init__(self, root: Path, refs: Sequence[ObjectRef], pieces: Iterable[Piece] = ()) -> None:
        """Reads all of them. Of ``pieces`` it notes the hash, to know them again.

        Raises DamagedError if an object is missing, of another size, or altered; OSError.
        """
        self._refs = refs
        noted: list[set[Piece]] = [set() for _ in refs]
        for piece in pieces:
            noted[piece.object].add(piece)

        def verify(index: int) -> tuple[memoryview, dict[Piece, str]]:
            ordered = sorted(noted[index], key=lambda piece: piece.offset)
            return _verified(root, refs[index], ordered, ahead=len(refs) > 1)

        verified = _in_threads(verify, range(len(refs)))
        self._views: list[memoryview] = [view for view, _ in verified]
        self._hashes = {piece: hash_ for _, each in verified for piece, hash_ in each.items()}

    def hash(self, piece: Piece) -> str:
        """xxh3-128 of one piece, in hex; known already if it was among ``pieces``."""
        return self._hashes.get(piece) or xxhash.xxh3_128_hexdigest(self.view(piece))

    def read(self, pieces: Sequence[Piece]) -> np.ndarray:
        """The bytes of ``pieces``, end to end: uint8, of one's own. Raises AlteredError."""
        data = np.empty(sum(piece.length for piece in pieces), np.uint8)
        for piece, run in _laid_out(pieces, data):
            self._put(piece, run)
        return data

    def fill(self, wanted: Iterable[tuple[Sequence[Piece], np.ndarray]]) -> None:
        """Put the bytes of pieces, end to end, into arrays (uint8) that are there for them.

        Raises AlteredError; then some of the arrays hold what must not be used.
        """
        runs = [run for pieces, there in wanted for run in _laid_out(pieces, there)]
        _in_threads(lambda run: self._put(*run), runs)

    def _put(self, piece: Piece, there: np.ndarray) -> None:
        """Copy and hash at once: what is hashed is what has arrived."""
        hasher, source = xxhash.xxh3_128(), np.frombuffer(self.view(piece), np.uint8)
        for start in range(0, piece.length, _RUN):
            run = there[start : start + _RUN]
            np.copyto(run, source[start : start + _RUN])
            hasher.update(run.data)
        if hasher.hexdigest() != self._hashes.get(piece, hasher.hexdigest()):
            raise AlteredError(
                f"{self._refs[piece.object].key} changed on disk after it was verified: start "
                "again; if it is still damaged then, the checkpoint before is used"
            )

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
    part = next((part for part in manifest.parts if part.rank == rank), None)
    if part is None:
        raise DamagedError(f"checkpoint {id_} has no part of rank {rank}")
    pieces = (piece for array in part.arrays for piece in array.pieces)
    objects = Objects(root, manifest.objects, pieces)
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

    def below(self, prefix: str) -> Arrays:
        """Those whose names begin with ``prefix``."""
        named = [array for name, array in self._arrays.items() if name.startswith(prefix)]
        return Arrays(named, self.objects)

    def fill(self, there: Mapping[str, np.ndarray]) -> None:
        """Put the bytes of arrays, by name, into memory (uint8) that is there for them.

        Raises AlteredError; then some of it holds what must not be used.
        """
        self.objects.fill((self._arrays[name].pieces, memory) for name, memory in there.items())


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


def _laid_out(pieces: Sequence[Piece], there: np.ndarray) -> Iterator[tuple[Piece, np.ndarray]]:
    end = 0
    for piece in pieces:
        yield piece, there[end : end + piece.length]
        end += piece.length


def _in_threads(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(_READERS, "outlast-read") as readers:
        return list(readers.map(work, items))


def _verified(
    root: Path, ref: ObjectRef, pieces: Sequence[Piece], *, ahead: bool
) -> tuple[memoryview, dict[Piece, str]]:
    """The bytes of one object, and the hashes of its ``pieces``, which are in order.

    ``ahead``: have the disk begin with all of it at once, beside the others.
    """
    try:
        descriptor = os.open(root / ref.key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DamagedError(f"{ref.key} is gone") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != ref.size:
            raise DamagedError(f"{ref.key} has {found.st_size} bytes: it was cut or altered")
        if ahead and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        whole, hashes = _hashes_of(descriptor, pieces)
        if whole != ref.hash:
            raise DamagedError(f"{ref.key} was altered: its hash is another")
        data: Any = mmap.mmap(descriptor, ref.size, prot=mmap.PROT_READ) if ref.size else b""
    finally:
        os.close(descriptor)
    return memoryview(data), hashes


def _hashes_of(descriptor: int, pieces: Sequence[Piece]) -> tuple[str, dict[Piece, str]]:
    """Of all that is in the file, and of each piece.

    Read, not mapped: that is as quick as the disk. Into a mapping, since that begins at a page:
    where the memory is not aligned, some processors copy from the kernel at a quarter of the speed.
    """
    whole, block, at = xxhash.xxh3_128(), mmap.mmap(-1, _RUN), 0
    hashers = {piece: xxhash.xxh3_128() for piece in pieces}
    view, left = memoryview(block), deque(pieces)
    while count := os.preadv(descriptor, [block], at):
        whole.update(view[:count])
        for piece in left:
            if piece.offset >= at + count:
                break
            first, end = piece.offset - at, piece.offset + piece.length - at
            hashers[piece].update(view[max(first, 0) : max(min(end, count), 0)])
        at += count
        while left and left[0].offset + left[0].length <= at:
            left.popleft()
    return whole.hexdigest(), {piece: each.hexdigest() for piece, each in hashers.items()}


def _read(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - an opened descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DamagedError(f"{path} is not a regular file")
        return file.read(limit + 1)
