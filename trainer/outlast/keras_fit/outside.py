"""What a callback writes to that is no attribute of it.

Plain data there is state of the callback, as its attributes are; the rest is told. So are a
dataset that it reads in another order after a resume, and a file that the script empties.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from outlast.keras_fit import attributes, data_order
from outlast.keras_fit.held_variables import has_variables
from outlast.keras_fit.script_names import (
    CONTAINERS,
    MISSING,
    Place,
    Use,
    changes_itself,
    key_of,
    of_keras,
    use_of,
)

_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)


class Outside:
    """What one callback writes to outside of itself, as state."""

    def __init__(self, callback: Any) -> None:
        self._places = _kept(use_of(callback))
        self._values = SimpleNamespace()
        self._look()
        self._baseline = attributes.Baseline(self._values, owner=callback)

    def changed(self) -> dict[str, Any]:
        """What :meth:`restore` takes, for the names whose values changed since."""
        self._look()
        return self._baseline.changed()

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`changed` took: in place where it can be, for others hold it too."""
        self._look()
        mine = {name: kept for name, kept in state.items() if name in self._places}
        try:
            attributes.restore(self._values, mine)
        finally:
            for name in mine:
                value = getattr(self._values, name, MISSING)
                if value is not MISSING and value is not self._places[name].value:
                    self._places[name].put(value)

    def _look(self) -> None:
        values = {name: place.value for name, place in self._places.items()}
        vars(self._values).clear()
        vars(self._values).update(
            {name: value for name, value in values.items() if value is not MISSING}
        )


def lost(callbacks: Iterable[Any]) -> Iterator[tuple[str, list[str]]]:
    """(kind, names) of each callback that writes to what cannot be saved."""
    for callback in callbacks:
        use = use_of(callback)
        names = [name for name, place in use.assigns.items() if _cannot(place.value)]
        names += [f"model.{name}" for name in use.model]
        if names:
            yield type(callback).__name__, sorted(names)


def reshuffled(callbacks: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """(kind, name) of each tf.data pipeline that a callback has and that shuffles ever anew."""
    for callback in callbacks:
        found = {name: place.value for name, place in use_of(callback).refers.items()}
        found.update((f"self.{name}", value) for name, value in vars(callback).items())
        for name, value in found.items():
            pipeline = hasattr(value, "element_spec") and hasattr(value, "_inputs")
            if pipeline and data_order.shuffles_of(value):
                yield type(callback).__name__, name


def emptied(callbacks: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """(kind, file) of each open file of the script that a run from the start would empty."""
    for callback in callbacks:
        found = [place.value for place in use_of(callback).refers.values()]
        if not of_keras(type(callback).__module__):  # theirs are seen to elsewhere
            found.extend(vars(callback).values())
        for value in found:
            mode = str(getattr(value, "mode", ""))
            if isinstance(value, io.IOBase) and not value.closed and "w" in mode:
                yield type(callback).__name__, str(getattr(value, "name", "a file"))


def generators(thing: Any) -> list[str]:
    """Names of the random generators of the script that functions of ``thing`` refer to."""
    use = use_of(thing)
    return [name for name, place in use.refers.items() if isinstance(place.value, _GENERATORS)]


def _kept(use: Use) -> dict[str, Place]:
    """Of ``use``, what is saved and put back."""
    kept = {name: place for name, place in use.assigns.items() if not _cannot(place.value)}
    for place in use.refers.values():
        changed = use.changes and isinstance(place.value, (*CONTAINERS, np.ndarray))
        held = changes_itself(place.value) or has_variables(place.value)
        if changed or held or isinstance(place.value, _GENERATORS):
            kept[key_of(place, kept)] = place
    return kept


def _cannot(value: Any) -> bool:
    """Whether ``value`` cannot be saved."""
    return value is not MISSING and not attributes.capture(SimpleNamespace(it=value), copy=False)
