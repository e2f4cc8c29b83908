"""What files say, leaving out what two equal runs write differently: dates and wall clocks."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

# Seconds differ from run to run: of these, only that they are there is compared.
TIMED = ("steps_per_second",)


def contents(folder: Path) -> dict[str, Any]:
    """Every file below ``folder``; the event files of one folder are read as one."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if ".tfevents." in name:
            name = f"{path.parent.relative_to(folder).as_posix()}/events"
            found.setdefault(name, []).extend(_events(path))
        elif path.suffix == ".keras":
            found[name] = _keras(path)
        elif path.suffix == ".h5":
            found[name] = _h5(path.read_bytes())
        else:
            found[name] = path.read_text()
    for name, value in found.items():
        if name.endswith("/events"):
            value.sort()
    return found


def _keras(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as file:
        for name in sorted(file.namelist()):
            data = file.read(name)
            if name.endswith(".h5"):
                found[name] = _h5(data)
            elif name == "metadata.json":
                found[name] = {**json.loads(data), "date_saved": None}
            else:
                # Keras names an object that occurs twice by its address.
                found[name] = re.sub(r'"shared_object_id": \d+', '"shared"', data.decode())
    return found


def _h5(data: bytes) -> dict[str, str]:
    found = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            value = item[()]
            found[name] = (
                f"{value.dtype}{value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
            )

    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(visit)
    return found


def _events(path: Path) -> Iterator[tuple[int, str, str]]:
    """(step, tag, digest of the value); a graph is written by each process that traces it."""
    from tensorboard.compat.proto import event_pb2  # there are such files where it is installed

    for record in _records(path.read_bytes()):
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            if value.tag == "keras":
                continue  # the model's configuration, beside the graph
            timed = any(word in value.tag for word in TIMED)
            yield event.step, value.tag, "" if timed else _digest(value.tensor)


def _digest(tensor: Any) -> str:
    return hashlib.sha256(tensor.SerializeToString(deterministic=True)).hexdigest()


def _records(data: bytes) -> Iterator[bytes]:
    """The TFRecord format: length, its checksum, the bytes, their checksum."""
    place = 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        assert place + 16 + length <= len(data), "the last record is torn"
        yield data[place + 12 : place + 12 + length]
        place += 16 + length
