"""What the functions of an object do with the script's names, read off their bytecode.

The functions are those of its class and among its attributes, and functions of the script that
they refer to.
"""

from __future__ import annotations

import collections
import dis
import functools
import inspect
import sys
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
_LAYERS = {"layers", "get_layer"}
"""How functions get at the layers of a model."""
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
    waiting = list(_functions(thing, use))
    while waiting:
        function = waiting.pop(0)
        if function in seen:
            continue
        seen.add(function)
        places = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        _read(function.__code__, function.__globals__, places, use)
        for place in list(use.refers.values()):
            waiting += (each for each in _called(place.value, use) if _of_script(each))
    for kind in _kinds(thing):
        for name, value in vars(kind).items():
            if isinstance(value, CONTAINERS) and name not in vars(thing):
                place = Place(kind, name)
                use.refers.setdefault(key_of(place, use.refers), place)
    return use


def changes_itself(value: Any) -> bool:
    """Whether it is an object of a class of the script whose methods change something."""
    if not _of_script_class(type(value)) or isinstance(value, CONTAINERS):
        return False
    if any(of_keras(each.__module__) for each in type(value).__mro__[:-1]):
        return False  # a callback, a PyDataset, a layer: seen to elsewhere
    for kind in _kinds(value):
        for name, each in vars(kind).items():
            if inspect.isfunction(each) and not name.startswith("__init") and _changes(each):
                return True
    return False


def _functions(thing: Any, use: Use) -> Iterator[FunctionType]:
    for value in vars(thing).values():
        yield from _called(value, use)
    for kind in _kinds(thing):
        for value in vars(kind).values():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if callable(function):
                yield from _unwrapped(function)


def _called(value: Any, use: Use) -> Iterator[FunctionType]:
    """The functions that a call of ``value`` runs; what they are bound to goes to ``use``."""
    if isinstance(value, functools.partial):
        bound = {str(index): each for index, each in enumerate(value.args)}
        for name, each in {**bound, **value.keywords}.items():
            place = Place({name: each}, name)  # what it holds is changed in place
            use.refers.setdefault(key_of(place, use.refers), place)
        yield from _called(value.func, use)
    elif inspect.ismethod(value):
        place = Place({"self": value.__self__}, "self")
        use.refers.setdefault(key_of(place, use.refers), place)
        yield from _unwrapped(value.__func__)
    elif inspect.isfunction(value):
        yield from _unwrapped(value)


def _unwrapped(function: Any) -> Iterator[FunctionType]:
    """A function and, if it is a decorator's, the one that is decorated."""
    while function is not None:
        if inspect.isfunction(function) and not of_keras(function.__module__):
            yield function
        function = getattr(function, "__wrapped__", None)


def _kinds(thing: Any) -> list[type]:
    return [kind for kind in type(thing).__mro__ if not of_keras(kind.__module__)]


def of_keras(module: str | None) -> bool:
    """Whether a module of this name is one whose objects are seen to elsewhere."""
    return (module or "").split(".")[0] in ("keras", "outlast", "builtins")


def _of_script(function: FunctionType) -> bool:
    return not function.__code__.co_filename.startswith(_LIBRARIES)


def _of_script_class(kind: type) -> bool:
    """Whether it is a class of the script, of which nothing is built in."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if of_keras(kind.__module__) or module is None or not hasattr(kind, "__dict__"):
        return False
    return module.__name__ == "__main__" or (bool(file) and not str(file).startswith(_LIBRARIES))


def _changes(function: FunctionType) -> bool:
    """Whether it puts something on an object or into one."""
    return any(
        each.opname in ("STORE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR")
        or (each.opname in ("LOAD_ATTR", "LOAD_METHOD") and each.argval in _CHANGING)
        for each in dis.get_instructions(function)
    )


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
                elif _LAYERS & set(code.co_names) and _not_its_own(before, code):
                    use.model[f"layers[...].{name}"] = None
            case "STORE_SUBSCR" | "DELETE_SUBSCR":
                use.changes = True
            case "LOAD_ATTR" | "LOAD_METHOD" if name == "compile":
                if before is not None and before.argval == "model":
                    use.model["compile()"] = None
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


def _not_its_own(before: Any, code: CodeType) -> bool:
    """Whether ``before`` loads a thing that came from somewhere, not an attribute or ``self``."""
    if before.opname.startswith("LOAD_FAST"):
        loaded = before.argval  # from Python 3.13 on, one instruction may load two
        last = loaded[-1] if isinstance(loaded, tuple) else loaded
        return last not in code.co_varnames[:1]
    return str(before.opname).startswith(("BINARY_SUBSCR", "BINARY_OP", "CALL"))


def key_of(place: Place, places: dict[str, Place]) -> str:
    """The name of ``place`` among ``places``; another of the same name gets a mark."""
    key = place.name
    while key in places and places[key].holder is not place.holder:
        key += "'"
    return key
