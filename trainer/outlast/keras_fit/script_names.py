"""What the functions of an object do with the script's names, read off their bytecode.

The functions are those of its class and among its attributes, and functions of the script that
they refer to.
"""

from __future__ import annotations

import collections
import dis
import inspect
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

CONTAINERS = (list, dict, set, collections.deque)
MISSING = object()
"""The value of a name that has none yet."""
_SAVED = {"stop_training"}
"""What Keras itself keeps on the model, and is saved."""
_CHANGING = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "insert",
        "intersection_update",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "symmetric_difference_update",
        "update",
    }
)
"""Methods that change a container."""
_LIBRARIES = tuple(sysconfig.get_path(each) for each in ("stdlib", "purelib", "platlib"))


@dataclass
class Use:
    """What functions do with names that are not their own."""

    refers: dict[str, Place] = field(default_factory=dict)
    assigns: dict[str, Place] = field(default_factory=dict)
    model: dict[str, None] = field(default_factory=dict)
    """Attributes that they put on ``self.model``."""
    changes: bool = False
    """Something is changed in place, whatever it is."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a name's value lies: a module, a class, or what a function has closed over."""

    holder: Any
    name: str

    @property
    def value(self) -> Any:
        """What is there; ``MISSING``: nothing yet."""
        if isinstance(self.holder, dict):
            return self.holder.get(self.name, MISSING)
        if isinstance(self.holder, type):
            return vars(self.holder).get(self.name, MISSING)
        try:
            return self.holder.cell_contents
        except ValueError:  # an empty cell
            return MISSING

    def put(self, value: Any) -> None:
        """Have ``value`` there."""
        if isinstance(self.holder, dict):
            self.holder[self.name] = value
        elif isinstance(self.holder, type):
            setattr(self.holder, self.name, value)
        else:
            self.holder.cell_contents = value


def use_of(thing: Any) -> Use:
    """What the functions of ``thing``, a callback or the like, do with names outside of it."""
    use = Use()
    seen: set[FunctionType] = set()
    waiting = list(_functions(thing))
    while waiting:
        function = waiting.pop(0)
        if function in seen:
            continue
        seen.add(function)
        places = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        _read(function.__code__, function.__globals__, places, use)
        values = [place.value for place in use.refers.values()]
        waiting += [each for each in values if inspect.isfunction(each) and _of_script(each)]
    for kind in _kinds(thing):
        for name, value in vars(kind).items():
            if isinstance(value, CONTAINERS) and name not in vars(thing):
                place = Place(kind, name)
                use.refers.setdefault(key_of(place, use.refers), place)
    return use


def _functions(thing: Any) -> Iterator[FunctionType]:
    for value in vars(thing).values():
        if inspect.isfunction(value) and not of_keras(value.__module__):
            yield value
    for kind in _kinds(thing):
        for value in vars(kind).values():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if callable(function) and inspect.isfunction(inspect.unwrap(function)):
                yield inspect.unwrap(function)


def _kinds(thing: Any) -> list[type]:
    return [kind for kind in type(thing).__mro__ if not of_keras(kind.__module__)]


def of_keras(module: str | None) -> bool:
    """Whether a module of this name is one whose objects are seen to elsewhere."""
    return (module or "").split(".")[0] in ("keras", "outlast", "builtins")


def _of_script(function: FunctionType) -> bool:
    return not function.__code__.co_filename.startswith(_LIBRARIES)


def _read(code: CodeType, names: dict[str, Any], cells: dict[str, Any], use: Use) -> None:
    """Add to ``use`` what ``code`` does; ``cells`` are those of names from around its function."""
    before: Any = None
    loaded: Place | None = None
    copied = before, loaded
    for instruction in dis.get_instructions(code):
        operation, name = instruction.opname, instruction.argval
        place = None
        if operation.endswith("_GLOBAL"):
            place = Place(names, name)
        elif operation.endswith("_DEREF") and name in cells:
            place = Place(cells[name], name)
        match operation:
            case "LOAD_GLOBAL" | "LOAD_DEREF" if place is not None and place.value is not MISSING:
                use.refers.setdefault(key_of(place, use.refers), place)
            case "STORE_GLOBAL" | "STORE_DEREF" if place is not None:
                use.assigns.setdefault(key_of(place, use.assigns), place)
            case "STORE_ATTR" if before is not None and name not in _SAVED:
                if before.opname == "LOAD_ATTR" and before.argval == "model":
                    use.model[name] = None
                elif loaded is not None:
                    use.assigns.setdefault(key_of(loaded, use.assigns), loaded)
            case "STORE_SUBSCR" | "DELETE_SUBSCR":
                use.changes = True
            case "LOAD_ATTR" | "LOAD_METHOD" if name in _CHANGING:
                use.changes = True
                if loaded is not None and isinstance(loaded.value, CONTAINERS):
                    use.assigns.setdefault(key_of(loaded, use.assigns), loaded)
        if operation in ("COPY", "DUP_TOP"):  # of ``it.count += 1``, which ends with
            copied = before, loaded
        elif operation in ("SWAP", "ROT_TWO"):  # this and STORE_ATTR
            before, loaded = copied
        else:
            before, loaded = instruction, place if operation.startswith("LOAD") else None
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            own = {name: cell for name, cell in cells.items() if name not in code.co_cellvars}
            _read(inner, names, own, use)


def key_of(place: Place, places: dict[str, Place]) -> str:
    """The name of ``place`` among ``places``; another of the same name gets a mark."""
    key = place.name
    while key in places and places[key].holder is not place.holder:
        key += "'"
    return key
