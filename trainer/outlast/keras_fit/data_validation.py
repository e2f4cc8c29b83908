"""The validation data of a ``fit`` call: their shuffles advance with every validation."""

from __future__ import annotations

from typing import Any

from outlast.keras_fit import data_order
from outlast.keras_fit.attributes import Baseline, restore


class Validation:
    """Counts the iterators that validation makes, and makes as many in a resumed program."""

    def __init__(self, source: Any, *, distributed: bool) -> None:
        """``source`` is what was given as ``validation_data``'s x; None: there is none."""
        self._source = source
        self._is_dataset = source is not None and hasattr(source, "element_spec")
        self._baseline = Baseline(source) if _is_py_dataset(source) else None
        self._changed: dict[str, Any] | None = {}
        # With a strategy, evaluate() reads one batch to build the model before callbacks hear.
        self._before = 1 if distributed else 0
        self._made = 0
        self._drawn = 0
        self._watched: Any = None
        self._unread = False

    def begins(self, epoch_iterator: Any) -> None:
        """A validation begins, with Keras' EpochIterator for it."""
        self._changed = None
        if not self._is_dataset:
            return
        self._unread = True
        self._drawn += self._before
        if epoch_iterator is not self._watched:
            self._watched = epoch_iterator
            self._made += self._before
            epoch_iterator._get_iterator = _Counting(self, epoch_iterator._distributed_dataset)

    def position(self, *, begun: bool) -> dict[str, Any]:
        """Plain data. ``begun``: a validation has begun, which a resumed program begins anew."""
        undone = self._before if begun else 0
        changed = self._changed
        if changed is None:
            changed = {} if self._baseline is None else self._baseline.changed()
            self._changed = None if begun else changed
        return {
            "made": self._made - undone,
            "drawn": self._drawn - undone,
            "attributes": changed,
        }

    def go_to(self, position: dict[str, Any]) -> None:
        """Be where :meth:`position` was."""
        self._made, self._drawn = position["made"], position["drawn"]
        if self._is_dataset:
            shuffles = data_order.shuffles_of(self._source)
            data_order.repeat(self._source, made=self._made, drawn=self._drawn, shuffles=shuffles)
        restore(self._source, position["attributes"])

    def count(self) -> None:
        """Validation made one more iterator."""
        self._made += 1

    def read(self) -> None:
        """A batch was read."""
        self._drawn += 1 if self._unread else 0
        self._unread = False


class _Counting:
    """Stands in for ``_get_iterator`` and the dataset that it returns."""

    def __init__(self, validation: Validation, dataset: Any) -> None:
        self._validation = validation
        self._dataset = dataset

    def __call__(self) -> _Counting:
        return self

    def __iter__(self) -> Any:
        self._validation.count()
        return iter(self._dataset)


def _is_py_dataset(source: Any) -> bool:
    return any(
        kind.__name__ == "PyDataset" and kind.__module__.startswith("keras.")
        for kind in type(source).__mro__
    )
