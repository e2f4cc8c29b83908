"""What a checkpoint consists of: names, the manifest, and which one is the newest. Pure.

A checkpoint is a manifest plus the objects it names; it exists once its manifest does, and the
manifest is written last. Scratch and store use the same names below their root::

    objects/<attempt, 6 digits>/<xxh3-128, 32 hex>-<size>     bytes, never changed
    checkpoints/<attempt, 6 digits>-<step, 12 digits>.json    the manifest

Everything here may have been written by a hostile container, so :func:`parse_manifest` accepts
only what is exactly of this form, and no name in a manifest is ever used as a path: paths are
made from checked numbers and hashes. The one exception, the path of an output file, is checked
to stay below its folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import xxhash

from outlast.refused import RefusedError

VERSION = 1
MAX_MANIFEST_BYTES = 64 << 20
MAX_GROUPS = 500_000
MAX_VALUES = 4_000_000
"""Lists and objects, and values, in a manifest: read, each takes some hundred bytes of memory."""

_CHECK = re.compile(rb'\{"check":"([0-9a-f]{32})",')
_CHECKPOINT = re.compile(r"(?P<attempt>\d{6})-(?P<step>\d{12})(?:\.json)?")
_OBJECT = re.compile(r"objects/(?P<attempt>\d{6})/(?P<hash>[0-9a-f]{32})-(?P<size>\d{1,15})")


class ManifestError(ValueError):
    """A manifest that cannot be used; the message says which and why."""


class NewerVersionError(RefusedError, ManifestError):
    """A manifest written by a newer Outlast."""

    code = "checkpoint-newer"


@dataclass(frozen=True, order=True)
class CheckpointId:
    """Names a checkpoint. The order is the order of age: attempt first, then step.

    A zombie of an earlier attempt that trains on reaches higher steps than its successor;
    it never outranks it.
    """

    attempt: int
    step: int

    def __str__(self) -> str:
        return f"{self.attempt:06d}-{self.step:012d}"

    @property
    def key(self) -> str:
        """Name of the manifest below the root of a scratch folder or a job."""
        return f"checkpoints/{self}.json"

    @classmethod
    def parse(cls, text: str) -> CheckpointId:
        """From ``000002-000000000512``, with or without folder and ``.json``."""
        match = _CHECKPOINT.fullmatch(text.rsplit("/", 1)[-1])
        if match is None:
            raise ManifestError(f"{text!r:.200} is not the name of a checkpoint")
        return cls(int(match["attempt"]), int(match["step"]))


@dataclass(frozen=True)
class ObjectRef:
    """Names an object by its content."""

    attempt: int
    """The attempt that wrote it, and in whose folder it lies."""
    hash: str
    """xxh3-128 of all its bytes, 32 lower-case hex digits. Finds accidents, not attackers."""
    size: int
    """Bytes."""

    @property
    def key(self) -> str:
        """Name below the root of a scratch folder or a job."""
        return f"objects/{self.attempt:06d}/{self.hash}-{self.size}"

    @classmethod
    def parse(cls, key: str) -> ObjectRef:
        """From a key, wherever its root is."""
        match = _OBJECT.search(key)
        if match is None or match.end() != len(key):
            raise ManifestError(f"{key!r:.200} is not the name of an object")
        return cls(int(match["attempt"]), match["hash"], int(match["size"]))


@dataclass(frozen=True)
class Piece:
    """A run of bytes inside an object."""

    object: int
    """Index into :attr:`Manifest.objects`."""
    offset: int
    """First byte, from the start of the object's file."""
    length: int
    """Bytes."""


@dataclass(frozen=True)
class Array:
    """A named array; its bytes, little-endian and C-contiguous, are its pieces end to end."""

    name: str
    dtype: str
    """Name of the type: ``float32``, ``bfloat16``, ``float8_e4m3fn``, ``int64``, ``bool``."""
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Part:
    """What one rank saved."""

    rank: int
    state: Any
    """JSON: everything that is not an array."""
    arrays: tuple[Array, ...]


@dataclass(frozen=True)
class OutputFile:
    """A file of the outputs folder as it was at this step."""

    path: str
    """Relative, ``/`` between folders, checked to stay below the outputs folder."""
    size: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Manifest:
    """A whole checkpoint."""

    job: str
    attempt: int
    step: int
    parent: str | None
    """The checkpoint that this attempt resumed from; None: it started from nothing."""
    kind: str
    """``cadence``, ``notice``, ``fit`` (end of a fit call) or ``end`` (of the program)."""
    written: str
    """RFC 3339, by the writer's clock, for people."""
    fingerprint: dict[str, str]
    """What bits depend on: machine, thread counts, library versions."""
    parts: tuple[Part, ...]
    objects: tuple[ObjectRef, ...]
    outputs: tuple[OutputFile, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest logs (finite values), for people."""
    finite: bool = True
    """Whether all of the logs were finite. Of those that were, the newest is kept."""
    version: int = VERSION

    @property
    def id(self) -> CheckpointId:
        """Its name."""
        return CheckpointId(self.attempt, self.step)

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(ref.size for ref in self.objects)


def newest_first(names: Iterable[str]) -> list[CheckpointId]:
    """Checkpoints from a listing of names, the newest first; other names are passed over."""
    found = []
    for name in names:
        try:
            found.append(CheckpointId.parse(name))
        except ManifestError:
            continue
    return sorted(found, reverse=True)


def dump_manifest(manifest: Manifest) -> bytes:
    """As JSON, which begins with the xxh3-128 of the rest as ``check``.

    Raises ValueError or TypeError if a state holds what JSON cannot say (NaN, bytes), or so much
    that nobody would read it back.
    """
    text = json.dumps(manifest, default=_fields, separators=(",", ":"), allow_nan=False)
    body = text.encode()[1:]
    data = b'{"check":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body)
    if len(data) > MAX_MANIFEST_BYTES:
        raise ValueError(
            f"the state takes {len(data) >> 20} MiB as text, and at most "
            f"{MAX_MANIFEST_BYTES >> 20} can be saved: keep large data in arrays"
        )
    if (told := _too_many(data)) is not None:
        raise ValueError(f"the state is too large: {told}: keep large data in arrays")
    return data


def _fields(value: Any) -> dict[str, Any]:
    """Of our own classes only; ``dataclasses.asdict`` would copy all that is in them."""
    if isinstance(value, (Manifest, Part, Array, OutputFile, Piece, ObjectRef)):
        return vars(value)
    raise TypeError(f"{type(value).__name__} is no plain data")


def _too_many(data: bytes) -> str | None:
    """What there is too much of, told before any of it is read; else None."""
    groups, values = data.count(b"{") + data.count(b"["), data.count(b",")
    if groups > MAX_GROUPS or values > MAX_VALUES:
        return (
            f"{groups} lists and {values} values as text, and at most {MAX_GROUPS} and {MAX_VALUES}"
        )
    return None


def parse_manifest(data: bytes, *, name: str) -> Manifest:
    """Check and read a manifest that was found as ``name`` (any form of its id).

    Raises :class:`NewerVersionError` for a higher version and :class:`ManifestError` for
    anything else that is not a manifest of this name: another hash than its ``check``, wrong
    types, numbers out of range, pieces outside their object, a size that does not add up, an
    output path that leaves its folder.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"manifest {name} is longer than {MAX_MANIFEST_BYTES} bytes")
    if (told := _too_many(data)) is not None:
        raise ManifestError(f"manifest {name} is too large: {told}")
    try:
        value = json.loads(data, parse_constant=_refuse)
        version = value["version"]
        if isinstance(version, int) and version > VERSION:
            raise NewerVersionError(
                f"manifest {name} has format version {version}, this Outlast reads up to "
                f"{VERSION}: update outlast"
            )
        check = _CHECK.match(data)
        if check is None or xxhash.xxh3_128_hexdigest(data[check.end() :]) != check[1].decode():
            raise ManifestError(f"manifest {name} was altered: its hash is another")
        manifest = _manifest(value)
    except ManifestError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ManifestError(f"manifest {name} is damaged: {error!r:.200}") from error
    if manifest.id != CheckpointId.parse(name):
        raise ManifestError(f"manifest {name} calls itself {manifest.id}")
    return manifest


def _manifest(value: dict[str, Any]) -> Manifest:
    objects = tuple(
        ObjectRef(_count(ref, "attempt"), _hash(ref["hash"]), _count(ref, "size"))
        for ref in _items(value["objects"])
    )
    parent = value["parent"]
    return Manifest(
        job=_text(value["job"]),
        attempt=_count(value, "attempt"),
        step=_count(value, "step"),
        parent=None if parent is None else str(CheckpointId.parse(_text(parent))),
        kind=_text(value["kind"]),
        written=_text(value["written"]),
        fingerprint={_text(k): _text(v) for k, v in dict(value["fingerprint"]).items()},
        parts=tuple(_part(part, objects) for part in _items(value["parts"])),
        objects=objects,
        outputs=tuple(_output(file, objects) for file in _items(value["outputs"])),
        metrics={_text(k): float(v) for k, v in dict(value.get("metrics", {})).items()},
        finite=value.get("finite") is not False,
        version=_count(value, "version"),
    )


def _part(value: dict[str, Any], objects: tuple[ObjectRef, ...]) -> Part:
    return Part(
        rank=_count(value, "rank"),
        state=value["state"],
        arrays=tuple(
            Array(
                name=_text(array["name"]),
                dtype=_text(array["dtype"]),
                shape=tuple(_whole(size) for size in _items(array["shape"])),
                pieces=_pieces(array["pieces"], objects),
            )
            for array in _items(value["arrays"])
        ),
    )


def _output(value: dict[str, Any], objects: tuple[ObjectRef, ...]) -> OutputFile:
    file = OutputFile(
        path=checked_path(_text(value["path"])),
        size=_count(value, "size"),
        pieces=_pieces(value["pieces"], objects),
    )
    if sum(piece.length for piece in file.pieces) != file.size:
        raise ManifestError(f"the pieces of output {file.path!r:.200} are not {file.size} bytes")
    return file


def checked_path(path: str) -> str:
    """``path`` if it is relative, normal and stays below its folder; else ManifestError."""
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ManifestError(f"{path!r:.200} is not a path below the outputs folder")
    return path


def _pieces(value: Any, objects: tuple[ObjectRef, ...]) -> tuple[Piece, ...]:
    pieces = tuple(
        Piece(_count(piece, "object"), _count(piece, "offset"), _count(piece, "length"))
        for piece in _items(value)
    )
    for piece in pieces:
        if piece.offset + piece.length > objects[piece.object].size:
            raise ManifestError(f"a piece reaches past the end of object {piece.object}")
    return pieces


def _refuse(constant: str) -> None:
    raise ManifestError(f"a finite number was expected, not {constant}")


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ManifestError(f"a list was expected, not {value!r:.50}")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ManifestError(f"a whole number was expected, not {value!r:.50}")
    return value


def _count(value: dict[str, Any], name: str) -> int:
    return _whole(value[name])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"a text was expected, not {value!r:.50}")
    return value


def _hash(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[0-9a-f]{32}", value) is None:
        raise ManifestError(f"{value!r:.50} is not an xxh3-128 in hex")
    return value
