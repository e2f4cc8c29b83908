"""The attributes of a Python object as plain data, and back into the same object.

What can be saved: plain data, arrays, tensors, random generators, variables and what has some
(metrics, layers, models, optimizers), and objects, lists and dicts that consist of these. Variables
of the model that is trained are saved with it. What cannot hold progress (functions, modules) is
left alone. The rest is reported by name.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import inspect
import logging
import pathlib
import random
import re
import threading
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import xxhash

from outlast.keras_fit.held_variables import Known, Lost, as_array, assigned, is_tensor
from outlast.plain import encode

_DEPTH = 5
_FEW = 64  # items of a list that are looked into
_FRAMEWORKS = ("keras", "tensorflow", "jax", "jaxlib", "torch")
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not built in
_LEFT_ALONE = (
    type,
    type(inspect),
    logging.Logger,
    re.Pattern,
    pathlib.PurePath,
    datetime.date,
    datetime.timedelta,
    np.dtype,
    np.ufunc,
    threading.Thread,
)


def capture(
    thing: Any, *, without: Collection[str] = (), copy: bool = True, model: Any = None
) -> dict[str, Any]:
    """Attribute name to what :func:`restore` takes. Without ``copy``, arrays are not copied.

    ``model`` is the one that is trained; without it, other models are left alone.
    """
    found: dict[str, Any] = {}
    known = Known(model)
    for name, value in _attributes(thing):
        if name not in without:
            kept = _capture(value, copy, known, 0)
            if kept is not None:
                found[name] = kept
    return found


def restore(thing: Any, state: dict[str, Any]) -> None:
    """Give ``thing`` the attributes that :func:`capture` took. Other attributes stay.

    Raises :class:`Lost` at the end, if some could not be given back.
    """
    lost = []
    for name, kept in state.items():
        current = getattr(thing, name, None)
        try:
            value = _restore(current, kept)
        except (Lost, ValueError, AttributeError) as error:
            lost.append(f"{name}: {error}")
            continue
        if value is not current:
            setattr(thing, name, value)
    if lost:
        raise Lost("; ".join(lost))


class Baseline:
    """The attributes of an object at some moment; later, those that changed since.

    What did not change is configuration, and belongs to the process that it is in.
    """

    def __init__(self, thing: Any, *, without: Collection[str] = (), owner: Any = None) -> None:
        """``owner`` has the model that is trained as its ``model``."""
        self._thing = thing
        self._without = without
        self._owner = owner
        kept = self._capture()
        self._digests = {name: _digest(value) for name, value in kept.items()}

    def changed(self, *, copy: bool = True) -> dict[str, Any]:
        """What :func:`restore` takes, for the attributes that changed."""
        found = {}
        for name, kept in self._capture().items():
            if name not in self._digests or _differs(kept, self._digests[name]):
                how, data = _less(kept, self._digests.get(name))
                found[name] = (how, _copied(data, copy))
        return found

    def _capture(self) -> dict[str, Any]:
        model = getattr(self._owner, "model", None)
        return capture(self._thing, without=self._without, copy=False, model=model)


def is_generator(value: Any) -> bool:
    """Whether it is a random generator whose state can be saved."""
    kinds = (random.Random, np.random.Generator, np.random.RandomState)
    return isinstance(value, kinds) or _is_of_torch(value)


def strange(thing: Any, *, without: Collection[str] = ()) -> list[str]:
    """Names of attributes that may hold progress and cannot be saved."""
    found: list[str] = []
    for name, value in _attributes(thing):
        if name not in without:
            found.extend(_strange(name, value, 0))
    return found


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    yield from list(getattr(thing, "__dict__", {}).items())


def _capture(value: Any, copy: bool, known: Known, depth: int) -> tuple[str, Any] | None:
    """(how, data), or None if it is nothing that can be saved."""
    if isinstance(value, random.Random):
        return "random", value.getstate()
    if isinstance(value, np.random.Generator):
        return "generator", value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return "numpy", value.get_state(legacy=False)
    if _is_of_torch(value):
        return "torch", np.array(value.get_state().numpy())
    if isinstance(value, collections.deque):
        value, how = list(value), "deque"
    elif isinstance(value, dict) and type(value) is not dict:
        value, how = dict(value), "dict"
    else:
        how = "plain"
    if _is_plain(value):
        return how, _copied(value, copy)
    if is_tensor(value):
        array = as_array(value)
        return ("tensor", array) if _is_plain(array) else None
    variables = known.variables_in(value)
    if variables is not None:
        if all(each is None for each in variables):
            return None
        return "variables", [None if each is None else as_array(each) for each in variables]
    if isinstance(value, tuple) and hasattr(value, "_fields") and _is_plain(tuple(value)):
        return "named", _copied(tuple(value), copy)
    if depth < _DEPTH and type(value) in (list, tuple, dict):
        of_names = type(value) is dict
        items = list(value.values()) if of_names else list(value)
        below = depth + 3 if len(items) <= _FEW else _DEPTH  # things that hold each other abound
        all_kept = [_capture(item, copy, known, below) for item in items]
        if all(each is not None for each in all_kept):
            if of_names:
                return "values", dict(zip(value, all_kept, strict=True))
            return "items", all_kept
    elif depth < _DEPTH and _consists_of_attributes(value):
        inner = {}
        for name, item in _attributes(value):
            kept = _capture(item, copy, known, depth + 1)
            if kept is not None:
                inner[name] = kept
        return "object", inner
    return None


def _restore(current: Any, kept: Any) -> Any:
    how, data = kept
    match how:
        case "random":
            current.setstate(data)
        case "generator":
            current.bit_generator.state = data
        case "numpy":
            current.set_state(data)
        case "torch":
            import torch  # noqa: PLC0415 - it was one of its generators

            current.set_state(torch.from_numpy(data.copy()))
        case "variables":
            return assigned(current, data)
        case "tensor":
            import keras  # noqa: PLC0415 - it was a tensor of what Keras runs on

            return keras.ops.convert_to_tensor(data)
        case "object" if current is None:
            raise Lost("its class is not known")
        case "object":
            restore(current, data)
        case "named" if isinstance(current, tuple) and hasattr(current, "_fields"):
            return type(current)(*data)
        case "named":
            raise Lost("its class is not known")
        case "items":
            one_by_one = isinstance(current, (list, tuple, collections.deque))
            there = list(current) if one_by_one else []
            there += [None] * (len(data) - len(there))
            items = [_restore(*pair) for pair in zip(there, data, strict=False)]
            if not isinstance(current, (list, collections.deque)):
                return tuple(items) if type(current) is tuple else items
            current.clear()
            current.extend(items)
        case "values":
            by_name = current if isinstance(current, dict) else {}
            named = {name: _restore(by_name.get(name), each) for name, each in data.items()}
            if not isinstance(current, dict):
                return named
            current.clear()
            current.update(named)
        case "deque" if isinstance(current, collections.deque):
            current.clear()
            current.extend(data)
        case "dict" | "plain" if isinstance(current, dict) and isinstance(data, dict):
            current.clear()  # in place: the script may hold the same dict or list
            current.update(data)
        case "plain" if type(current) is list and type(data) is list:
            current[:] = data
        case _:
            return data
    return current


def _strange(name: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, (list, tuple)) and not _is_plain(value) and depth < _DEPTH:
        for index, item in enumerate(value):
            yield from _strange(f"{name}[{index}]", item, depth + 1)
    elif (
        isinstance(value, _LEFT_ALONE)
        or inspect.isroutine(value)
        or (_is_keras(value) and not _learns(value))
        or _capture(value, False, Known(), _DEPTH) is not None
    ):
        return
    elif depth < _DEPTH and _consists_of_attributes(value):
        for inner, item in _attributes(value):
            yield from _strange(f"{name}.{inner}", item, depth + 1)
    else:
        yield name


def _is_plain(value: Any) -> bool:
    try:
        encode(value)
    except (TypeError, ValueError):
        return False
    return True


def _copied(value: Any, arrays: bool) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy() if arrays else value
    if type(value) is dict:
        return {name: _copied(item, arrays) for name, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(item, arrays) for item in value)
    return set(value) if type(value) is set else value


def _consists_of_attributes(value: Any) -> bool:
    """An object of a class written in Python that has nothing but attributes."""
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, _LEFT_ALONE)
        and not inspect.isroutine(value)
        and not _is_keras(value)
        and type(value).__module__.split(".")[0] not in (*_FRAMEWORKS, "io", "_io")
        and bool(type(value).__flags__ & _HEAP_TYPE)
    )


def _is_keras(value: Any) -> bool:
    return type(value).__module__.split(".")[0] in _FRAMEWORKS


def _learns(value: Any) -> bool:
    """Whether it is a module, an optimizer or a parameter of PyTorch."""
    owners = {kind.__module__.split(".")[0] for kind in type(value).__mro__}
    if "torch" not in owners or "keras" in owners:  # on PyTorch, layers of Keras are modules too
        return False
    return hasattr(value, "state_dict") or type(value).__name__ == "Parameter"


def _is_of_torch(value: Any) -> bool:
    kind = type(value)
    return kind.__name__ == "Generator" and kind.__module__.split(".")[0] == "torch"


def _digest(kept: Any) -> Any:
    """Something small that differs when the captured value does."""
    if isinstance(kept, np.ndarray):
        data = np.ascontiguousarray(kept)
        with contextlib.suppress(ValueError, TypeError):  # text and dates have no buffer
            return str(kept.dtype), kept.shape, xxhash.xxh3_128_digest(data.view(np.uint8).data)
        return str(kept.dtype), kept.shape, repr(kept.tolist())
    if isinstance(kept, dict):
        return tuple((name, _digest(item)) for name, item in kept.items())
    if isinstance(kept, (list, tuple)):
        return tuple(_digest(item) for item in kept)
    return repr(kept)


def _differs(kept: Any, digest: Any) -> bool:
    """Whether it is not what ``digest`` was made of; lists that grew are not read."""
    how, data = kept
    if isinstance(data, (list, tuple, dict)) and len(data) != len(digest[1]):
        return True
    return bool(_digest((how, data)) != digest)


def _less(kept: Any, digest: Any) -> Any:
    """Of an object that was there, what changed; of all else, everything."""
    how, data = kept
    if how != "object" or digest is None or digest[0] != repr("object"):
        return kept
    before = dict(digest[1])
    return how, {
        name: _less(item, before.get(name))
        for name, item in data.items()
        if name not in before or _differs(item, before[name])
    }
