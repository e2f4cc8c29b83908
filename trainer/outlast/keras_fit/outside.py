"""What callbacks write to that is no part of them, and so is not saved with them.

Read off the bytecode of their functions: a ``global`` or ``nonlocal`` that is assigned, and an
attribute that is put on the model.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

_SAVED = {"stop_training"}
"""What Keras itself keeps on the model, and is saved."""


def written_outside(callbacks: Iterable[Any]) -> Iterator[tuple[str, list[str]]]:
    """(kind, names) of each callback that does."""
    for callback in callbacks:
        found: dict[str, None] = {}
        for function in _functions(callback):
            found.update(dict.fromkeys(_writes(function.__code__)))
        if found:
            yield type(callback).__name__, sorted(found)


def _functions(callback: Any) -> Iterator[FunctionType]:
    if type(callback).__name__ == "LambdaCallback":
        yield from (each for each in vars(callback).values() if inspect.isfunction(each))
    for kind in type(callback).__mro__:
        if kind.__module__.split(".")[0] not in ("keras", "outlast", "builtins"):
            yield from (each for each in vars(kind).values() if inspect.isfunction(each))


def _writes(code: CodeType) -> Iterator[str]:
    before = None
    for instruction in dis.get_instructions(code):
        name = str(instruction.argval)
        match instruction.opname:
            case "STORE_GLOBAL":
                yield name
            case "STORE_DEREF" if name in code.co_freevars:
                yield name
            case "STORE_ATTR" if before == "model" and name not in _SAVED:
                yield f"model.{name}"
        before = instruction.argval if instruction.opname == "LOAD_ATTR" else None
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            # What a function within assigns to may belong to the one around it.
            own = {*code.co_cellvars}
            yield from (name for name in _writes(inner) if name not in own)
