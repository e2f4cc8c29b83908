"""Arrays of a checkpoint in files of other formats: safetensors, and Keras' ``.weights.h5``."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from outlast import tensors
from outlast.checkpoint import numpy_type
from outlast.keras_fit.prefixes import NOW, prefix_of
from outlast.keras_fit.weights import read_places
from outlast.manifest import Array, Manifest, Part, Piece
from outlast.plain import PREFIX
from outlast_agent.sync.restore import DamagedError
from outlast_provisioning.checkpoints import CheckpointError, shapes

_NUMBER = re.compile(r"(?:(?<=/)|^)\d{5} ")
_TRACKED = f"{PREFIX}tracked/"
_LONGEST = 1 << 48
"""No dimension is longer; readers count in 64 bits."""


def safetensors(
    manifest: Manifest, *, only: Mapping[str, Array] | None
) -> tuple[bytes, list[Array]]:
    """The header of a file with all arrays (or ``only`` these), and the arrays in its order.

    Types that the format does not know (complex128) are their bytes, with one more dimension.
    Raises DamagedError.
    """
    _check(manifest)
    chosen = None if only is None else {id(array) for array in only.values()}
    named = [
        (name, array) for name, array in readable(manifest) if chosen is None or id(array) in chosen
    ]
    # As the format's own writer does, so that each lies at a multiple of its item's size.
    named.sort(key=lambda each: -_itemsize(each[1]))
    header = tensors.header(
        tensors.Entry(name, array.dtype, _itemsize(array), _length(array), array.shape)
        for name, array in named
    )
    return header, [array for _, array in named]


def readable(manifest: Manifest) -> list[tuple[str, Array]]:
    """Each array with a name for people that no other has. Raises DamagedError.

    ``now/00003 dense/kernel`` is ``dense/kernel``, and what a session tracks as ``model`` begins
    with ``model/``; where two would be called alike both keep more of their own name.
    """
    arrays = [(part, array) for part in manifest.parts for array in part.arrays]
    forms = [_forms(part, array.name) for part, array in arrays]
    level = [0] * len(forms)
    for _ in forms[0] if forms else ():
        used = Counter(["__metadata__"])  # the format's own
        used.update(form[at] for form, at in zip(forms, level, strict=True))
        level = [
            min(at + 1, len(form) - 1) if used[form[at]] > 1 else at
            for form, at in zip(forms, level, strict=True)
        ]
    names = [form[at] for form, at in zip(forms, level, strict=True)]
    counts = Counter(["__metadata__", *names])
    for name, (_, array) in zip(names, arrays, strict=True):
        if counts[name] > 1:
            raise DamagedError(f"it has more than one array {array.name!r:.200}")
    return [(name, array) for name, (_, array) in zip(names, arrays, strict=True)]


def _forms(part: Part, saved: str) -> tuple[str, ...]:
    """What an array may be called, the shortest first."""
    rank = f"rank{part.rank}/" if part.rank else ""
    newest = _newest_fit(part.state)
    short = saved.removeprefix(_TRACKED)
    if newest is not None:
        short = saved.removeprefix(newest)
    last = f"{rank}array {saved}"  # a program may call one __metadata__
    return f"{rank}{_NUMBER.sub('', short)}", f"{rank}{short}", f"{rank}{saved}", last


def _newest_fit(state: Any) -> str | None:
    if not isinstance(state, Mapping) or "fits" not in state:
        return None
    fits = state["fits"]
    if state.get("fit") is None and isinstance(fits, list) and fits:
        return prefix_of(len(fits) - 1)
    return NOW


def weights_of(manifest: Manifest) -> dict[str, Array]:
    """The weights of the model, by their paths in a ``.weights.h5`` file.

    Raises CheckpointError if the checkpoint does not tell, DamagedError.
    """
    _check(manifest)
    part = next((part for part in manifest.parts if part.rank == 0), None)
    told = None if part is None else read_places(part.state)
    if part is None or told is None:
        raise CheckpointError(
            f"checkpoint {manifest.id} does not tell which of its arrays are weights of a Keras "
            "model (fit with outlast.Resume does, where Keras says where each is): give --to "
            "FILE.safetensors without --weights, which takes all arrays"
        )
    prefix, places = told
    numbered = {array.name[: len(prefix) + 6]: array for array in part.arrays}
    found = {}
    for index, path in places.items():
        array = numbered.get(f"{prefix}{index:05d} ")
        if array is None:
            raise DamagedError(f"its variable {index}, {path!r:.200}, is not there")
        found[path] = array
    return found


def lay_h5(path: Path, weights: Mapping[str, Array]) -> list[tuple[int, Piece]]:
    """Make the file with room for ``weights``; where their pieces go.

    Raises CheckpointError without h5py or for a type that Keras does not read back, DamagedError,
    OSError.
    """
    try:
        import h5py  # noqa: PLC0415 - only who wants such a file needs it
    except ImportError as error:
        raise CheckpointError(
            ".weights.h5 files need h5py: pip install h5py, or export .safetensors"
        ) from error
    make = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    make.set_layout(h5py.h5d.CONTIGUOUS)
    # All room at once and nothing in it: the bytes come from the objects.
    make.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    make.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    placed: list[tuple[int, Piece]] = []
    with h5py.File(path, "x") as file:
        for name, array in weights.items():
            folder, _, key = name.rpartition("/")
            try:
                group = file.require_group(folder)
                kind = h5py.h5t.py_create(_h5_type(array), logical=True)
                space = h5py.h5s.create_simple(array.shape) if array.shape else _scalar(h5py)
                made = h5py.h5d.create(group.id, key.encode(), kind, space, dcpl=make)
            except (ValueError, TypeError, RuntimeError, KeyError) as error:
                raise DamagedError(f"it has no weight {name!r:.200}: {error}") from error
            if array.dtype == "bfloat16":  # as Keras says it
                group[key].attrs["dtype"] = "bfloat16"
            at = made.get_offset() if _length(array) else 0
            for piece in array.pieces:
                placed.append((at, piece))
                at += piece.length
    return placed


def _scalar(h5py: Any) -> Any:
    return h5py.h5s.create(h5py.h5s.SCALAR)


def _h5_type(array: Array) -> np.dtype[Any]:
    if array.dtype == "bfloat16":
        return np.dtype("V2")
    dtype = np.dtype(array.dtype) if hasattr(np, array.dtype) or array.dtype == "bool" else None
    if dtype is None or dtype.kind not in "biufc":
        raise CheckpointError(
            f"{array.name!r:.200} is of {array.dtype!r:.50}, which Keras does not read from .h5: "
            "export .safetensors"
        )
    return dtype


def _check(manifest: Manifest) -> None:
    wrong = shapes(manifest, most=1)
    if wrong:
        raise DamagedError(wrong[0])
    every: Iterable[Array] = (array for part in manifest.parts for array in part.arrays)
    for array in every:
        if any(size > _LONGEST for size in array.shape):
            raise DamagedError(f"array {array.name!r:.200} has the shape {array.shape!r:.100}")
        count = math.prod(array.shape)
        if count and (_length(array) == 0 or _length(array) % count):
            raise DamagedError(f"array {array.name!r:.200} has no whole items")


def _length(array: Array) -> int:
    return sum(piece.length for piece in array.pieces)


def _itemsize(array: Array) -> int:
    try:
        return numpy_type(array.dtype).itemsize
    except ValueError:  # it needs ml_dtypes; how many bytes it has is known without
        count = math.prod(array.shape)
        return _length(array) // count if count else 1
