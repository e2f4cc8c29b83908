"""Plain Python data as strict JSON beside named arrays, and back exactly. No pickle.

JSON says only what it can say exactly: everything else becomes ``{"$": kind, "v": ...}``. NaN
and infinities keep their bits, numpy scalars their type, arrays (which go to the arrays' side, as
long bytes do) their memory order; a tuple comes back as a tuple and a dict with any keys as that
dict.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

PREFIX = "$state/"
"""Names of arrays found in a state start with this; no other array's name may."""

_TAG = "$"
_DEPTH = 200
_LONG = 1 << 12  # bytes; more than this would swell the manifest
_EXACT_INT = 1 << 53  # what every JSON reader keeps; Python also limits digits in text


class PlainError(ValueError):
    """JSON that :func:`encode` cannot have made."""


def encode(value: Any, *, prefix: str = PREFIX) -> tuple[Any, dict[str, np.ndarray]]:
    """``value`` as (JSON, arrays), with arrays named ``prefix`` plus their path in ``value``.

    Takes None, bool, int, float, str, bytes, list, tuple, set, frozenset, dict with any of these as
    keys, numpy scalars and arrays of numbers, text or dates. Raises TypeError, naming the path,
    for any other type, for a subclass of these, and for data nested more than 200 deep.
    Arrays are not copied.
    """
    arrays: dict[str, np.ndarray] = {}
    return _encode(value, "", 0, prefix, arrays), arrays


def decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What :func:`encode` was given. Raises PlainError for JSON that it cannot have made."""
    try:
        return _decode(value, arrays)
    except (KeyError, TypeError, ValueError, struct.error, binascii.Error, RecursionError) as error:
        if isinstance(error, PlainError):
            raise
        raise PlainError(f"the saved state is damaged: {error!r:.200}") from error


def _encode(value: Any, path: str, depth: int, prefix: str, arrays: dict[str, np.ndarray]) -> Any:
    if depth > _DEPTH:
        raise TypeError(f"{path[:100] or 'it'}... is nested more than {_DEPTH} deep, or in itself")

    def inner(item: Any, name: Any) -> Any:
        return _encode(item, f"{path}/{name}" if path else str(name), depth + 1, prefix, arrays)

    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_EXACT_INT < value < _EXACT_INT else {_TAG: "int", "v": hex(value)}
    if kind is float:
        if math.isfinite(value):
            return value
        return {_TAG: "float", "v": struct.pack("<d", value).hex()}
    if kind is bytes and len(value) > _LONG:
        return {**_encode_array(np.frombuffer(value, np.uint8), path, prefix, arrays), _TAG: "long"}
    if kind is bytes:
        return {_TAG: "bytes", "v": base64.b64encode(value).decode()}
    if kind in (list, tuple):
        if _only_small_ints(value):  # the 625 of a random generator, at every save
            items = list(value)
        else:
            items = [inner(item, index) for index, item in enumerate(value)]
        return items if kind is list else {_TAG: "tuple", "v": items}
    if kind in (set, frozenset):
        # Sets have no order of their own: sorted, so that equal sets give equal bytes.
        found = [inner(item, f"{{{item!r:.50}}}") for item in value]
        return {_TAG: kind.__name__, "v": sorted(found, key=repr)}
    if kind is dict:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: inner(item, key) for key, item in value.items()}
        pairs = [[inner(k, f"key {k!r:.50}"), inner(v, repr(k)[:50])] for k, v in value.items()]
        return {_TAG: "dict", "v": pairs}
    if isinstance(value, np.generic) and value.dtype.kind in "biufcSUmM" and not value.dtype.names:
        return {_TAG: "scalar", "dtype": value.dtype.str, "v": value.tobytes().hex()}
    if kind is np.ndarray:
        return _encode_array(value, path, prefix, arrays)
    raise TypeError(
        f"{path or 'it'} is a {kind.__module__}.{kind.__qualname__}, which cannot be saved: give "
        "numbers, text, lists, dicts or numpy arrays"
    )


def _only_small_ints(value: Any) -> bool:
    return set(map(type, value)) == {int} and -_EXACT_INT < min(value) <= max(value) < _EXACT_INT


def _encode_array(
    value: np.ndarray, path: str, prefix: str, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    kind = value.dtype.kind
    # bfloat16 and the float8 types are kind V, as structured types are.
    if kind not in "biufcSUmM" and (kind != "V" or value.dtype.name.startswith("void")):
        raise TypeError(
            f"{path or 'it'} is an array of {value.dtype}, which cannot be saved: give numbers"
        )
    name = _free_name(prefix + path, arrays)
    told: dict[str, Any] = {_TAG: "array", "v": name}
    # The order of an array in memory is the order in which sums are taken: part of exactness.
    if value.flags.f_contiguous and not value.flags.c_contiguous:
        told["order"] = "F"
    if kind in "SUmM" or not value.dtype.isnative:
        told["view"] = value.dtype.str
        told["shape"] = list(value.shape)
        value = np.frombuffer(value.tobytes(), np.uint8)
    arrays[name] = value
    return told


def _free_name(name: str, arrays: dict[str, np.ndarray]) -> str:
    if name not in arrays:
        return name
    # Two different keys may print alike.
    return next(n for i in range(len(arrays) + 1) if (n := f"{name}~{i}") not in arrays)


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG not in value:
        return {key: _decode(item, arrays) for key, item in value.items()}
    kind, content = value[_TAG], value["v"]
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return struct.unpack("<d", bytes.fromhex(content))[0]
    if kind == "bytes":
        return base64.b64decode(content, validate=True)
    if kind == "scalar":
        return np.frombuffer(bytes.fromhex(content), _dtype(value["dtype"]))[0]
    if kind == "array":
        return _decode_array(value, arrays)
    if kind == "long":
        return _decode_array(value, arrays).tobytes()
    if not isinstance(content, list):
        raise PlainError(f"a list was expected, not {content!r:.50}")
    if kind == "dict":
        return {_decode(key, arrays): _decode(item, arrays) for key, item in content}
    items = [_decode(item, arrays) for item in content]
    if kind == "tuple":
        return tuple(items)
    if kind == "set":
        return set(items)
    if kind == "frozenset":
        return frozenset(items)
    raise PlainError(f"unknown kind {kind!r:.50} in the saved state")


def _decode_array(value: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    array = arrays[value["v"]]
    if "view" in value:
        array = np.frombuffer(array.tobytes(), _dtype(value["view"])).reshape(value["shape"]).copy()
    return np.asfortranarray(array) if value.get("order") == "F" else array


def _dtype(text: Any) -> np.dtype[Any]:
    if not isinstance(text, str):
        raise PlainError(f"{text!r:.50} is not a numpy type")
    dtype = np.dtype(text)
    if dtype.hasobject or dtype.names is not None:
        raise PlainError(f"{text!r:.50} is not a type of plain numbers, text or dates")
    return dtype
