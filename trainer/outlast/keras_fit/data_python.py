"""``keras.utils.PyDataset`` and plain Python generators: data that come from Python code."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from outlast.keras_fit import attributes, randomness
from outlast.keras_fit.data import Data
from outlast.keras_fit.data_tensors import Replayed


class Generator(Replayed):
    """A Python generator: it can only be read from its start, and earlier passes are read too."""

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:  # noqa: ARG002 - only reading counts
        """As in :class:`Data`."""
        for index in range(drawn):
            self.replay.drop(iter(self._dataset), last if index == drawn - 1 else None)


def own_generators(thing: Any) -> dict[str, Any]:
    """The random generators among the attributes of ``thing``: those that an item draws from."""
    kinds = (random.Random, np.random.Generator, np.random.RandomState)
    others = [name for name, value in vars(thing).items() if not isinstance(value, kinds)]
    return attributes.capture(thing, without=others, copy=False)


class Batches(Data):
    """A PyDataset.

    Its adapter (``py_dataset_adapter.py``) shuffles the indices in a generator that tf.data reads
    ahead of training, in another thread. Here that generator begins at any index, and notes the
    state of the random generators before each batch, so that what was read ahead is read again
    with the same numbers.
    """

    def __init__(self, adapter: Any, dataset: Any) -> None:
        self._adapter = adapter
        self._dataset = dataset
        self._source = adapter.py_dataset
        self._shuffle = bool(adapter.shuffle)
        self._baseline = attributes.Baseline(self._source)
        self._changed: dict[str, Any] = {}
        """Attributes that changed until the present epoch began."""
        self._pass: dict[str, Any] | None = None
        """Random state before the present pass was shuffled."""
        self._before: dict[int, dict[str, Any]] = {}
        """Random state before each batch that was read ahead."""
        self._skip = 0
        self._skipped_to: dict[str, Any] | None = None
        if adapter.enqueuer is None:
            adapter._finite_generator = self._finite
            adapter._infinite_generator = self._infinite
        else:
            self._view = View(self._source)
            adapter.enqueuer.py_dataset = self._view
            adapter.enqueuer.shuffle = False
            adapter._finite_enqueuer_generator = self._finite_enqueued

    @property
    def dataset(self) -> Any:
        """As in :class:`Data`."""
        return self._dataset

    def begin(self) -> None:
        """As in :class:`Data`."""
        if self._adapter.enqueuer is not None and self._source.num_batches is not None:
            self._view.order = self._shuffled()[self._skip :]
            self._skip = 0

    def began(self) -> None:
        """As in :class:`Data`."""
        # on_epoch_begin() of a resumed epoch ran a second time.
        if self._skipped_to is not None:
            attributes.restore(self._source, self._skipped_to["attributes"])
            count = self._source.num_batches
            reads_no_more = count is not None and self._skip >= count
            if self._adapter.enqueuer is not None or reads_no_more:
                self._settle_random()
        self._changed = self._baseline.changed()

    def over(self) -> None:
        """As in :class:`Data`."""
        self._changed = self._baseline.changed()

    def make(self) -> Any:
        """As in :class:`Data`."""
        self._skip, self._skipped_to = 0, None
        return super().make()

    def position(self, iterator: Any, taken: int) -> dict[str, Any]:
        """As in :class:`Data`."""
        now = self._before.get(taken) or self._random()
        for index in [each for each in list(self._before) if each < taken]:
            del self._before[index]
        return {
            "attributes": self._changed,
            "pass": self._pass if iterator is not None else None,
            "at": now if self._skipped_to is None else self._skipped_to["at"],
        }

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:
        """As in :class:`Data`."""
        # Making an iterator changes nothing, and what reading changed is in the position.

    def settle(self, position: dict[str, Any]) -> None:
        """As in :class:`Data`."""
        attributes.restore(self._source, position["attributes"])

    def find(self, taken: int, position: dict[str, Any]) -> Any:
        """As in :class:`Data`."""
        self.settle(position)
        if self._adapter.enqueuer is not None and self._source.num_batches is None:
            self._adapter.enqueuer.indices = itertools.count(taken)
        iterator = self.make()
        # Its generator begins when it is first read from.
        self._skip, self._pass, self._skipped_to = taken, position["pass"], position
        return iterator

    def _random(self) -> dict[str, Any]:
        return {**randomness.capture_host(), "own": own_generators(self._source)}

    def _settle_random(self) -> None:
        position, self._skipped_to = self._skipped_to, None
        if position is not None:
            randomness.restore_host(position["at"])
            attributes.restore(self._source, position["at"]["own"])

    def _shuffled(self) -> list[int]:
        if self._skip and self._pass is not None:
            randomness.restore_host(self._pass)
        else:
            self._pass = self._random()
        order = list(range(self._source.num_batches))
        if self._shuffle:
            random.shuffle(order)
        return order

    def _read(self, indices: Iterator[int] | list[int], first: int) -> Iterator[Any]:
        for number, index in enumerate(indices, start=first):
            self._before[number] = self._random()
            yield self._adapter._standardize_batch(self._source[index])

    def _finite(self) -> Iterator[Any]:
        order, first = self._shuffled(), self._skip
        self._settle_random()
        self._skip = 0
        self._before.clear()
        yield from self._read(order[first:], first)

    def _infinite(self) -> Iterator[Any]:
        first, self._skip = self._skip, 0
        self._settle_random()
        self._before.clear()
        yield from self._read(itertools.count(first), first)

    def _finite_enqueued(self) -> Iterator[Any]:
        enqueuer, count = self._adapter.enqueuer, len(self._view.order)
        enqueuer.start()
        for batch in itertools.islice(enqueuer.get(), count):
            yield self._adapter._standardize_batch(batch)
        enqueuer.stop()


class View:
    """The batches of a PyDataset in another order: what the workers of an enqueuer read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.order: list[int] = []

    @property
    def num_batches(self) -> int | None:
        """As a PyDataset has it."""
        return None if self._source.num_batches is None else len(self.order)

    def __getitem__(self, index: int) -> Any:
        return self._source[index if self._source.num_batches is None else self.order[index]]
