"""What a hostile program does in its scratch folder: each deed by a seed, beside an honest save.

Nothing of it is a checkpoint of its attempt, and so nothing of it may become durable.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import xxhash

from agent.scratch_kit import ref
from outlast.manifest import (
    Array,
    CheckpointId,
    Manifest,
    ManifestError,
    ObjectRef,
    OutputFile,
    Part,
    Piece,
    dump_manifest,
    parse_manifest,
)

SECRET = b"nobody may read this " * 100
"""What is in the file outside."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a deed is done."""

    scratch: Path
    """Or the folder in memory."""
    outside: Path
    """A file that is none of the program's."""
    job: str
    attempt: int
    id: CheckpointId
    """A checkpoint that is named and is none."""
    chance: random.Random

    @property
    def path(self) -> Path:
        """Of its manifest."""
        return self.scratch / self.id.key


def _manifest(place: Place, **more: object) -> Manifest:
    given = {
        "job": place.job, "attempt": place.id.attempt, "step": place.id.step, "parent": None,
        "kind": "cadence", "written": "", "fingerprint": {}, "parts": (Part(0, {}, ()),),
        "objects": (), **more,
    }  # fmt: skip
    return Manifest(**given)  # type: ignore[arg-type]


def _put(place: Place, data: bytes) -> None:
    temporary = place.path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(place.path)


def _signed(body: bytes) -> bytes:
    """A manifest of which the hash is right, whatever is in it; ``body`` without its first {."""
    return b'{"check":"%s",' % xxhash.xxh3_128_hexdigest(body).encode() + body


def _object(place: Place, data: bytes | None, **more: object) -> None:
    """An object that a manifest names: ``data``, or what is made by the caller."""
    named = ref(data if data is not None else place.chance.randbytes(20), place.attempt)
    named = dataclasses.replace(named, **more)  # type: ignore[arg-type]
    path = place.scratch / named.key
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is not None:
        path.write_bytes(data)
    _put(place, dump_manifest(_manifest(place, objects=(named,))))


def _special(place: Place, make: Callable[[Path], object], size: int) -> None:
    """An object, or the manifest itself, is what ``make`` makes."""
    named = ObjectRef(place.attempt, f"{place.chance.getrandbits(128):032x}", size)
    path = place.scratch / named.key
    if place.chance.random() < 0.4:
        path = place.path
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    if path != place.path:
        _put(place, dump_manifest(_manifest(place, objects=(named,))))


def link_outside(place: Place) -> None:
    secret = place.outside.read_bytes()
    named = ref(secret, place.attempt)
    path = place.scratch / named.key
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.symlink_to(place.outside)
    _put(place, dump_manifest(_manifest(place, objects=(named,))))


def link_as_manifest(place: Place) -> None:
    target = place.outside.with_name(f"{place.id}.outside")
    target.write_bytes(dump_manifest(_manifest(place)))
    place.path.symlink_to(place.chance.choice((target, Path("/dev/zero"), Path("/etc/passwd"))))


def link_as_folder(place: Place) -> None:
    """The folder of another attempt's objects, of which one is named."""
    other = dataclasses.replace(ref(SECRET, place.attempt), attempt=place.attempt + 7)
    folder = place.scratch / "objects" / f"{other.attempt:06d}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.symlink_to(place.outside.parent)
    _put(place, dump_manifest(_manifest(place, objects=(other,))))


def fifo(place: Place) -> None:
    _special(place, os.mkfifo, place.chance.choice((0, 5, 1 << 20)))


def unix_socket(place: Place) -> None:
    def make(path: Path) -> None:
        folder = os.open(path.parent, os.O_DIRECTORY)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{folder}/{path.name[:60]}")
        os.close(folder)

    _special(place, make, 5)


def device(place: Place) -> None:
    number = place.chance.choice(((1, 5), (1, 8), (1, 3), (5, 0)))  # zero, random, null, tty
    try:
        _special(place, lambda path: os.mknod(path, 0o20666, os.makedev(*number)), 1 << 20)
    except PermissionError:
        fifo(place)


def folder_as_file(place: Place) -> None:
    _special(place, Path.mkdir, 4096)


def sparse(place: Place) -> None:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(place.chance.choice((65 << 20, 1 << 30, 1 << 40)))

    _special(place, make, place.chance.choice((5, 1 << 20, 100 << 20)))


def endless(place: Place) -> None:
    """It grows for as long as it is looked at."""

    def make(path: Path) -> None:
        def grow() -> None:
            until = time.monotonic() + 1.5
            with path.open("ab", buffering=0) as file:
                while time.monotonic() < until and file.tell() < 200 << 20:
                    file.write(bytes(1 << 16))

        path.touch()
        threading.Thread(target=grow, daemon=True).start()

    _special(place, make, 1 << 20)


def vanishing(place: Place) -> None:
    """There and not there, again and again; whole, if one looks in between."""
    data = place.chance.randbytes(300_000)
    named = ref(data, place.attempt)
    path = place.scratch / named.key
    path.parent.mkdir(parents=True, exist_ok=True)
    away = path.with_suffix(".away")
    away.write_bytes(data[:-1] + b"x")  # and never what its name says
    manifest = dump_manifest(_manifest(place, objects=(named,)))

    def work() -> None:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            away.replace(path)
            _put(place, manifest)
            path.replace(away)
            place.path.unlink(missing_ok=True)

    threading.Thread(target=work, daemon=True).start()


def lies_about_hash(place: Place) -> None:
    _object(place, place.chance.randbytes(100_000), hash=f"{place.chance.getrandbits(128):032x}")


def lies_about_size(place: Place) -> None:
    size = place.chance.choice((0, 1, 99_999, 100_001, 1 << 30, 10**15 - 1))
    data = place.chance.randbytes(100_000)
    named = ref(data, place.attempt)
    path = place.scratch / "objects" / f"{place.attempt:06d}" / f"{named.hash}-{size}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    lie = dataclasses.replace(named, size=size)
    _put(place, dump_manifest(_manifest(place, objects=(lie,))))


def names_another_attempt(place: Place) -> None:
    data = place.chance.randbytes(1000)
    other = place.chance.choice((0, place.attempt + 1, place.attempt + 5, 999_999))
    named = dataclasses.replace(ref(data, place.attempt), attempt=other)
    path = place.scratch / named.key
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _put(place, dump_manifest(_manifest(place, objects=(named,))))


def of_another(place: Place) -> None:
    more = place.chance.choice(
        (
            {"job": "another"}, {"job": "../torture"}, {"job": "x" * 100_000},
            {"parent": "000001-000000000001"}, {"attempt": place.attempt + 1},
            {"step": place.id.step + 1}, {"kind": "a\nb"}, {"kind": "../" * 1000}, {"kind": ""},
        )
    )  # fmt: skip
    _put(place, dump_manifest(_manifest(place, **more)))


def leaves_outputs(place: Place) -> None:
    path = place.chance.choice(
        ("../x", "/etc/passwd", "a/../../b", "a//b", ".", "..", "a/\0b", "", "a/./b")
    )
    _put(place, dump_manifest(_manifest(place, outputs=(OutputFile(path, 0, ()),))))


def pieces_beyond(place: Place) -> None:
    piece = place.chance.choice((Piece(0, 0, 10**18), Piece(5, 0, 1), Piece(0, 10**18, 0)))
    array = Array("a", "float32", (1,), (piece,))
    _put(place, dump_manifest(_manifest(place, parts=(Part(0, {}, (array,)),))))


def deep(place: Place) -> None:
    depth = place.chance.choice((2_000, 100_000, 5_000_000))
    _put(place, _signed(b'"version":1,"parts":' + b"[" * depth + b"]" * depth + b"}"))


def millions(place: Place) -> None:
    """Of entries; a few megabytes of text, which in memory would be some hundred times as much."""
    entry = place.chance.choice((b"[],", b"{},", b'{"a":1},', b'"ab",', b"1.5,", b'{"size":1},'))
    count = place.chance.choice((1 << 20, 8 << 20, 63 << 20)) // len(entry)
    name = place.chance.choice((b"objects", b"parts", b"outputs", b"state"))
    body = b'"version":1,"%s":[' % name + entry * count + b"1]}"
    _put(place, _signed(body))


def no_json(place: Place) -> None:
    body = place.chance.choice(
        (
            b"", b"}", b"null", b'"version":1}', b'"version":' + b"9" * 100_000 + b"}",
            b'"version":1e999}', b'"version":NaN}', b'"version":"1"}', b'"version":true}',
            b'"version":1,"version":2}', b'"version":999}', b"\xff\xfe\x00", b'"a":"\\ud800"}',
            place.chance.randbytes(3000),
        )
    )  # fmt: skip
    _put(place, place.chance.choice((_signed, lambda found: b"{" + found))(body))


def twisted(place: Place) -> None:
    """A right manifest with one value of another kind."""
    value = dataclasses.asdict(_manifest(place))
    name = place.chance.choice(sorted(value))
    value[name] = place.chance.choice(
        (None, -1, 1.5, 10**400, "x" * 10_000, [], {}, [[]], {"a": {}}, True, "\x1b[31m", "\ud800")
    )
    data = _signed(json.dumps(value).encode()[1:])
    with suppress(ManifestError):
        parse_manifest(data, name=str(place.id))
        if name != "kind":  # what a daemon takes from nobody; everything else may be so
            value["step"] = -5
            data = _signed(json.dumps(value).encode()[1:])
    _put(place, data)


def lies_about_first_byte(place: Place) -> None:
    """An object inside a larger file, as one in memory is, that does not begin there."""
    data = place.chance.randbytes(1000)
    named = ref(data, place.attempt)
    path = place.scratch / named.key
    path.parent.mkdir(parents=True, exist_ok=True)
    for first in ("0", "1", "-1", "", "1e3", "9" * 18, "9" * 200, "0@0", "\x1b[31m", "\n0"):
        path.with_name(f"{path.name}@{first}").write_bytes(b"." + data[::-1])
    _put(place, dump_manifest(_manifest(place, objects=(named,))))


def strange_names(place: Place) -> None:
    folder = place.path.parent
    for _ in range(place.chance.choice((3, 300))):
        name = place.chance.choice(
            (
                os.fsencode(f"{place.id}.json\n{place.chance.random()}"), b"\xff\xfe.json",
                b"\x1b[2J" + place.chance.randbytes(4).hex().encode(), b"a" * 255,
                b"000001-99999999999\xc2\xb2.json", f"{place.id}.json.tmp".encode(),
            )
        )  # fmt: skip
        with suppress(OSError):
            os.close(os.open(os.fsencode(folder) + b"/" + name, os.O_CREAT | os.O_WRONLY))


def no_rights(place: Place) -> None:
    _put(place, b"{")
    place.path.chmod(0)


def many(place: Place) -> None:
    """Names of checkpoints that are nothing."""
    for number in range(place.chance.choice((50, 400))):
        id_ = dataclasses.replace(place.id, step=place.id.step + number)
        with suppress(OSError):
            (place.scratch / id_.key).touch(exist_ok=False)


DEEDS = (
    link_outside, link_as_manifest, link_as_folder, fifo, unix_socket, device, folder_as_file,
    sparse, endless, vanishing, lies_about_hash, lies_about_size,
    lies_about_first_byte, names_another_attempt, of_another,
    leaves_outputs, pieces_beyond, deep, millions, no_json, twisted, strange_names, no_rights, many,
)  # fmt: skip
