"""tf.data pipelines, also distributed ones; and arrays, which Keras makes into pipelines."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from outlast.keras_fit import data_cache, data_order
from outlast.keras_fit.data import Data, NotHere, drop

LARGE_BYTES = 64 << 20
"""A larger state of an iterator is not saved: its batches are drawn again instead."""


class Pipeline(Data):
    """A ``tf.data.Dataset``: the iterator's own state, or drawing anew from its beginning."""

    def __init__(self, dataset: Any, *, draws: bool, can_draw: bool = True) -> None:
        """``draws``: batches are drawn again, since the iterator's state does not find back.

        ``can_draw``: drawing again gives the same batches, so a large state need not be saved.
        """
        self._dataset = dataset
        self._draws = draws
        self._can_draw = can_draw
        self._shuffles = data_order.shuffles_of(dataset)
        self._cache_files = data_cache.cache_files(dataset)

    @property
    def dataset(self) -> Any:
        """As in :class:`Data`."""
        return self._dataset

    def position(self, iterator: Any, taken: int) -> dict[str, Any]:
        """As in :class:`Data`."""
        if iterator is None or taken == 0 or self._draws:
            return {"state": None}
        try:
            state = data_order.serialize(iterator)
        except Exception as error:  # TensorFlow's, of many kinds
            if not type(error).__module__.startswith("tensorflow"):
                raise
            self._draws = True
            return {"state": None}
        if not data_order.finds_its_order(state, self._shuffles):
            raise NotHere
        if len(state) > LARGE_BYTES and self._can_draw:
            self._draws = True
            return {"state": None}
        return {"state": state}

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:
        """As in :class:`Data`."""
        kinds = {each.when for each in self._shuffles}
        if drawn and "cached" in kinds:
            # The first pass fills the cache, in the order that all later passes keep.
            drop(iter(self._dataset), None)
            made, drawn = made - 1, drawn - 1
        if "repeated" in kinds:
            # How many orders an iterator drew depends on how far it was read.
            for index in range(drawn):
                drop(iter(self._dataset), last if index == drawn - 1 else None)
            made, drawn = made - drawn, 0
        data_order.repeat(self._dataset, made=made, drawn=drawn, shuffles=self._shuffles)

    def find(self, taken: int, position: dict[str, Any]) -> Any:
        """As in :class:`Data`."""
        state = position["state"] if data_cache.are_here(self._cache_files) else None
        if taken == 0 or state is None:
            return drop(self.make(), taken)
        return data_order.deserialize(self._dataset, state, self._shuffles)


class Replayed(Data):
    """Data whose iterators all begin alike, such as arrays: a resume draws again and drops."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    @property
    def dataset(self) -> Any:
        """As in :class:`Data`."""
        return self._dataset

    def position(self, iterator: Any, taken: int) -> dict[str, Any]:  # noqa: ARG002
        """As in :class:`Data`."""
        return {}

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:
        """As in :class:`Data`."""

    def find(self, taken: int, position: dict[str, Any]) -> Any:  # noqa: ARG002
        """As in :class:`Data`."""
        return drop(self.make(), taken)


class Distributed(Replayed):
    """A strategy's pipeline, whose iterator has no state to save."""

    def __init__(self, dataset: Any, source: Any) -> None:
        super().__init__(dataset)
        self._lazy = any(each.when != "made" for each in data_order.shuffles_of(source))

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:  # noqa: ARG002
        """As in :class:`Data`."""
        for index in range(made):
            iterator = iter(self._dataset)
            if self._lazy and index < drawn:
                next(iterator, None)


class Arrays(Data):
    """numpy arrays and tensors with ``shuffle=True`` and no global seed.

    Keras shuffles with ``tf.random.shuffle``, whose state cannot be read. Here each pass is
    shuffled by (a seed that is saved, the number of the pass) instead: as random as before, and
    it can be repeated. With a global seed nothing is replaced: then every iterator draws the same.
    """

    def __init__(self, adapter: Any, strategy: Any) -> None:
        import tensorflow as tf  # noqa: PLC0415 - Keras trains with it, so it is loaded

        self._seed = tf.Variable([secrets.randbits(31), 0], dtype=tf.int32, trainable=False)
        self._passes = 0
        with _shuffled_by(self._seed):
            self._dataset = adapter.get_tf_dataset()
        if strategy is not None:
            self._dataset = strategy.experimental_distribute_dataset(self._dataset)

    @property
    def dataset(self) -> Any:
        """As in :class:`Data`."""
        return self._dataset

    def make(self) -> Any:
        """As in :class:`Data`."""
        self._seed.assign([self._seed[0], self._passes])
        self._passes += 1
        return iter(self._dataset)

    def position(self, iterator: Any, taken: int) -> dict[str, Any]:  # noqa: ARG002
        """As in :class:`Data`."""
        return {"seed": int(self._seed[0]), "passes": self._passes - (iterator is not None)}

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:
        """As in :class:`Data`."""
        # the number of the pass says it all

    def settle(self, position: dict[str, Any]) -> None:
        """As in :class:`Data`."""
        self._seed.assign([position["seed"], 0])
        self._passes = position["passes"]

    def find(self, taken: int, position: dict[str, Any]) -> Any:
        """As in :class:`Data`."""
        self.settle(position)
        return drop(self.make(), taken)


@contextlib.contextmanager
def _shuffled_by(seed: Any) -> Iterator[None]:
    """Within, Keras' adapter (``array_data_adapter.py``) shuffles by ``seed``."""
    import tensorflow as tf  # noqa: PLC0415

    original = tf.random.shuffle

    def shuffle(indices: Any) -> Any:
        # The first index makes it another order for each batch with ``shuffle="batch"``.
        return tf.random.experimental.stateless_shuffle(
            indices, seed=seed + tf.stack([tf.cast(indices[0], tf.int32), 0])
        )

    tf.random.shuffle = shuffle
    try:
        yield
    finally:
        tf.random.shuffle = original
