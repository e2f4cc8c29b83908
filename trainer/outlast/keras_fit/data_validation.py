"""The validation data of a ``fit`` call: their shuffles advance with every validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from outlast.keras_fit import data_order, streams
from outlast.keras_fit.attributes import Baseline, restore
from outlast.keras_fit.inspect_data import Finding, inspect
from outlast.keras_fit.replay import Replay

_TOLD = ("random-map", "stateful-map", "order-undetermined", "data-unknown", "shuffle-unseeded")
_ENDLESS = Finding(
    "validation-repeat",
    False,
    "the validation data come from an endless shuffle().repeat(), which reads ahead by as much as "
    "there is time for: what a validation sees is a matter of chance, in any run; leave out "
    "shuffle, which validation does not need",
)


class Validation:
    """Counts the iterators that validation makes, and makes as many in a resumed program."""

    def __init__(self, source: Any, replay: Replay, *, distributed: bool) -> None:
        """``source`` is what was given as ``validation_data``'s x; None: there is none."""
        self._replay = replay
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
        self._batches = 0
        """Of the latest validation that is over, or under way."""

    def findings(self) -> Iterator[Finding]:
        """What has to be told about the data."""
        if not self._is_dataset or not hasattr(self._source, "_inputs"):
            return
        for finding in inspect(self._source):
            if finding.code in _TOLD:
                yield replace(finding, text=f"in the validation data, {finding.text}")
        if any(each.when == "repeated" for each in data_order.shuffles_of(self._source)):
            yield _ENDLESS

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
        loader = streams.read_loader(self._source) if streams.is_loader(self._source) else {}
        return {
            "loader": loader,
            "made": self._made - undone,
            "drawn": self._drawn - undone,
            "batches": self._batches,
            "attributes": changed,
        }

    def go_to(self, position: dict[str, Any]) -> None:
        """Be where :meth:`position` was."""
        made, drawn = self._made, self._drawn = position["made"], position["drawn"]
        self._batches = position["batches"]
        if self._is_dataset:
            shuffles = data_order.shuffles_of(self._source)
            if drawn and any(each.when == "cached" for each in shuffles):
                filled = self._fill()
                made, drawn = made - filled, drawn - filled
            data_order.repeat(self._source, made=made, drawn=drawn, shuffles=shuffles)
        restore(self._source, position["attributes"])
        self._changed = position["attributes"]  # until the next validation, as it was saved
        if streams.is_loader(self._source):
            streams.set_loader(self._source, position["loader"])

    def count(self) -> None:
        """Validation made one more iterator."""
        self._made += 1

    def read(self, batch: int) -> None:
        """Of a validation, the batches up to number ``batch``, from 0, were read."""
        self._drawn += 1 if self._unread else 0
        self._unread = False
        self._batches = batch + 1

    def _fill(self) -> int:
        """Read as validation did, which fills a cache in the order that later passes keep."""
        count = int(self._source.cardinality())
        for done in range(1, self._drawn + 1):
            self._replay.drop(iter(self._source), self._batches if count >= 0 else None)
            if count < 0 or self._batches >= count:
                return done  # the rest is read from the cache
        return self._drawn  # validation_steps: TensorFlow drops what was never read to its end


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
