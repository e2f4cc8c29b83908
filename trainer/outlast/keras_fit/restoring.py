"""Gives the variables of a training program back what was saved of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from outlast.checkpoint import Arrays
from outlast.keras_fit import own_memory
from outlast.keras_fit.capture import Variable, identity

Held = Mapping[int, np.ndarray]
"""By the identity of a variable, its memory after a restore; while this is held, TensorFlow writes
what changes the variable elsewhere."""


def assign(
    variables: Iterable[Variable], saved: Mapping[str, Any], held: Held = MappingProxyType({})
) -> Held:
    """Give each variable the value at its place in ``saved``, which ``capture.mismatch`` passed.

    What the latest call returned as ``held``, for the same values, spares those that nothing
    changed since. It must be let go before training goes on. Raises AlteredError if a byte is not
    what it was when the checkpoint was verified; then the variables must not be trained.
    """
    stored = saved if isinstance(saved, Arrays) else None
    direct: dict[str, np.ndarray] = {}
    kept: dict[int, np.ndarray] = {}
    for variable, name in zip(variables, list(saved), strict=True):
        value, key = variable.value, identity(variable.value)
        if key in held and own_memory.same(own_memory.read(value), held[key]):
            continue
        given = None if stored else saved[name]
        plain = stored is not None or isinstance(given, np.ndarray)
        own = own_memory.memory_of(value) if plain and not variable.distributed else None
        if own is None:
            given = saved[name] if stored else given
            value.assign(given if hasattr(given, "device") else np.asarray(given))
            continue
        if given is None:
            direct[name] = own
        else:
            np.copyto(own.view(given.dtype).reshape(given.shape), given)
        kept[key] = own
    if stored is not None:
        stored.fill(direct)
    return kept


def kinds(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name to something with the ``dtype`` and the ``shape`` of each array, none being read."""
    if isinstance(saved, Arrays):
        return {array.name: array for array in saved.info()}
    return saved
