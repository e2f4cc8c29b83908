"""The bytes of an array, and the header that makes them a safetensors file.

Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_SAFETENSORS = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16",
    "uint32": "U32", "int32": "I32", "uint64": "U64", "int64": "I64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One run of bytes in a file; ``name`` is unique there."""

    name: str
    dtype: str
    itemsize: int
    length: int
    shape: tuple[int, ...] | None = None
    """None: it lies there flat."""


def bytes_of(array: np.ndarray) -> memoryview:
    """C-contiguous and little-endian, copied only if they were not."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(flat)


def is_numbers(dtype: np.dtype) -> bool:
    """Whether arrays of this type can be saved: numbers, bfloat16 and the like among them."""
    return dtype.kind in "biufc" or (dtype.kind == "V" and not dtype.name.startswith("void"))


def entries_of(name: str, dtype: np.dtype, size: int, limit: int) -> Iterator[tuple[int, Entry]]:
    """(offset, entry) of what an array of ``size`` bytes is split into: at most ``limit`` each."""
    step = max(dtype.itemsize, limit // dtype.itemsize * dtype.itemsize)
    for start in range(0, size, step):
        length = min(step, size - start)
        label = name if size <= step else f"{name}[{start}:{start + length}]"
        yield start, Entry(label, dtype.name, dtype.itemsize, length)


def header(entries: Iterable[Entry]) -> bytes:
    """What stands before ``entries``, which follow each other without a gap."""
    told: dict[str, Any] = {}
    offset = 0
    for entry in entries:
        dtype, size, shape = _SAFETENSORS.get(entry.dtype), entry.itemsize, entry.shape
        if dtype is None:  # complex128 and the like: its bytes
            dtype, shape, size = "U8", None if shape is None else (*shape, size), 1
        told[entry.name] = {
            "dtype": dtype,
            "shape": [entry.length // size] if shape is None else list(shape),
            "data_offsets": [offset, offset + entry.length],
        }
        offset += entry.length
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
