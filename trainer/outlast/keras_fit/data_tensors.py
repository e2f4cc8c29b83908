"""tf.data pipelines, also distributed ones; and arrays, which Keras makes into pipelines."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Iterator
from typing import Any

from outlast.keras_fit import data_cache, data_order
from outlast.keras_fit.data import Data, NotHere
from outlast.keras_fit.held_data import held_by
from outlast.keras_fit.inspect_data import DRAWN_OTHERWISE
from outlast.keras_fit.replay import QUICK, keeps_state

_LARGE_BYTES = 4 << 20
_SLOW = 4 * QUICK
"""Bytes of a state, and seconds for it, from which on it is not what the pipeline made expect."""


class Pipeline(Data):
    """A ``tf.data.Dataset``: the iterator's own state, or drawing anew from its beginning."""

    def __init__(self, dataset: Any, *, draws: bool, can_draw: bool = True) -> None:
        """``draws``: batches are drawn again, since the iterator's state does not find back.

        ``can_draw``: drawing again gives the same batches.
        """
        self._dataset = dataset
        self._draws = draws
        self._can_draw = can_draw
        self._shuffles = data_order.shuffles_of(dataset)
        self._seeds = data_order.seeds_of(dataset)
        self._cache_files = data_cache.cache_files(dataset)
        self._held = held_by(dataset)
        self._took: list[float] = []
        """Seconds for the states that were saved so far."""

    @property
    def dataset(self) -> Any:
        """As in :class:`Data`."""
        return self._dataset

    def seeded_as(self, position: dict[str, Any]) -> bool:
        """Whether the shuffles had the same seeds in the process that ``position`` is from."""
        return bool(position.get("seeds", self._seeds) == self._seeds)

    @property
    def draws_otherwise(self) -> bool:
        """Whether what is drawn again is not the same: in the epoch of a resume."""
        return not self._can_draw and not self._keeps_state(0.0)

    def position(self, iterator: Any, taken: int) -> dict[str, Any]:
        """As in :class:`Data`."""
        place = {"state": None, "seeds": self._seeds}
        if iterator is None or taken == 0:
            return place
        if not self._keeps_state(taken * (self.replay.batch_seconds or 0.0)):
            return place
        began = time.monotonic()
        try:
            state = data_order.serialize(iterator)
        except Exception as error:  # TensorFlow's, of many kinds
            if not type(error).__module__.startswith("tensorflow"):
                raise
            self._draws = True
            return place
        self._learn(time.monotonic() - began, len(state))
        if not data_order.finds_its_order(state, self._shuffles):
            raise NotHere
        return {**place, "state": state}

    def _keeps_state(self, reading: float) -> bool:
        return not self._draws and keeps_state(self._held, again=self._can_draw, reading=reading)

    def _learn(self, seconds: float, size: int) -> None:
        """What does not show in the pipeline: arrays of unknown size, slow functions."""
        self._took = [*self._took, seconds][-3:]
        # The first one takes longer, and a longer one may be the machine's.
        seen = min(self._took) if len(self._took) == 3 else 0.0
        known = not self.draws_otherwise
        if size > _LARGE_BYTES or seen > _SLOW:
            self._held = dataclasses.replace(
                self._held, bytes=max(self._held.bytes, size), seen=seen
            )
        if known and self.draws_otherwise:  # before training it did not look so large
            self.replay.tell(f"{DRAWN_OTHERWISE.text}.")

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:
        """As in :class:`Data`."""
        kinds = {each.when for each in self._shuffles}
        if drawn and "cached" in kinds:
            # The first pass fills the cache, in the order that all later passes keep.
            self.replay.drop(iter(self._dataset))
            made, drawn = made - 1, drawn - 1
        if "repeated" in kinds:
            # How many orders an iterator drew depends on how far it was read.
            for index in range(drawn):
                self.replay.drop(iter(self._dataset), last if index == drawn - 1 else None)
            made, drawn = made - drawn, 0
        data_order.repeat(self._dataset, made=made, drawn=drawn, shuffles=self._shuffles)

    def find(self, taken: int, position: dict[str, Any]) -> Any:
        """As in :class:`Data`."""
        state = position["state"] if data_cache.are_here(self._cache_files) else None
        if taken == 0 or state is None:
            self.behind = self._pass_over(taken)
            return self.make()
        self.behind = 0
        return data_order.deserialize(self._dataset, state, self._shuffles)

    def _pass_over(self, taken: int) -> int:
        """Have whole passes of an endless ``repeat`` behind; the batches that are left to read."""
        period = data_order.period_of(self._dataset)
        if period is None:
            return taken
        periods, left = divmod(taken, period.batches)
        data_order.pass_over(periods * period.passes, self._shuffles)
        return left


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
        self.behind = taken
        return self.make()


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
        self.behind = taken
        return self.make()


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
