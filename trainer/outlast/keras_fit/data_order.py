"""How often the shuffles of a tf.data pipeline have drawn a new order, and how to repeat that.

A reshuffling ``shuffle`` draws its next order whenever an iterator over it is made, from a
counter that all iterators of that dataset share. Keras makes two iterators an epoch and uses one
(``epoch_iterator.py``), so a resumed program has to make as many, or the next epoch comes in
another order. Making one reads no data and takes about a millisecond. A shuffle further up the
pipeline than another one gets its iterator only once the later one is read from, and for it as
many are made directly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

_ONE_BY_ONE = frozenset(
    {
        "_BatchDataset",
        "_MapDataset",
        "_OptionsDataset",
        "_ParallelBatchDataset",
        "_ParallelMapDataset",
        "_PrefetchDataset",
    }
)
When = Literal["made", "drawn", "late", "repeated", "cached"]
"""When an iterator over the whole pipeline gets one over this shuffle: when it is ``made``, when
it is first ``drawn`` from, at some ``late`` time (the second part of a concatenation), several
times (below a ``repeat``), or in the first pass alone (below a ``cache``)."""


@dataclass(frozen=True)
class Shuffle:
    """One reshuffling ``shuffle`` of the main line of a pipeline."""

    dataset: Any
    when: When


def shuffles_of(dataset: Any) -> list[Shuffle]:
    """The reshuffling shuffles of ``dataset``, the last of the pipeline first."""
    return list(_walk(dataset, "made"))


def seeds_of(dataset: Any) -> list[tuple[int, int]]:
    """The process's seed and its own, as TensorFlow put them together, of each shuffle."""
    own = []
    if type(dataset).__name__ == "_ShuffleDataset":
        own = [(int(dataset._seed), int(dataset._seed2))]
    return sum(map(seeds_of, dataset._inputs()), own)


def repeat(dataset: Any, *, made: int, drawn: int, shuffles: list[Shuffle]) -> None:
    """Bring the counters to where they are after ``made`` iterators, ``drawn`` of them read."""
    for _ in range(made):
        iter(dataset)
    for shuffle in shuffles:
        if shuffle.when in ("drawn", "late"):
            for _ in range(drawn):
                iter(shuffle.dataset)


@dataclass(frozen=True)
class Period:
    """How an endless ``repeat`` goes by: after so many passes a batch begins with a pass."""

    batches: int
    passes: int


def period_of(dataset: Any) -> Period | None:
    """Of an endless ``repeat`` that only maps, batches and buffers come after; None: not so."""
    size = 1
    while type(dataset).__name__ in _ONE_BY_ONE:
        size *= int(getattr(dataset, "_batch_size", 1))
        (dataset,) = dataset._inputs()
    if type(dataset).__name__ != "_RepeatDataset" or int(dataset._count) >= 0:
        return None
    count = int(dataset._inputs()[0].cardinality())
    if count < 1:
        return None
    passes = size // math.gcd(size, count)
    return Period(passes * count // size, passes)


def pass_over(passes: int, shuffles: list[Shuffle]) -> None:
    """Bring the counters to where they are after ``passes`` of an endless ``repeat``."""
    for shuffle in shuffles:
        if shuffle.when == "repeated":
            for _ in range(passes):
                iter(shuffle.dataset)


def deserialize(dataset: Any, state: bytes, shuffles: list[Shuffle]) -> Any:
    """The iterator that :func:`serialize` saw, in a pipeline of which no iterator is in use.

    Restoring makes iterators within, which would advance the counters. So one iterator over each
    shuffle is made before, as reading from the real one did, its state is noted, and put back
    after.
    """
    import tensorflow as tf  # noqa: PLC0415 - only called for a dataset, so it is loaded

    marked = [each.dataset for each in shuffles if each.when in ("made", "drawn")]
    marks = [_state(iter(each)) for each in marked]
    iterator = iter(dataset)
    _load(iterator, tf.io.parse_tensor(state, tf.variant))
    for each, mark in zip(marked, marks, strict=True):
        _load(iter(each), mark)
    return iterator


def serialize(iterator: Any) -> bytes:
    """Where ``iterator`` is. Raises TensorFlow's errors for what cannot be serialized."""
    import tensorflow as tf  # noqa: PLC0415

    return bytes(tf.io.serialize_tensor(_state(iterator)).numpy())


def finds_its_order(state: bytes, shuffles: list[Shuffle]) -> bool:
    """Whether a shuffle below ``repeat`` can go on from ``state``.

    Between two passes its iterator is gone, and with it the counter: a batch later it is there.
    """
    repeated = any(shuffle.when == "repeated" for shuffle in shuffles)
    return not repeated or b"num_random_samples" in state


def _state(iterator: Any) -> Any:
    import tensorflow as tf  # noqa: PLC0415

    # The policy FAIL would reject what restores exactly, such as a shuffle inside interleave.
    policy = tf.data.experimental.ExternalStatePolicy.IGNORE.value
    return tf.raw_ops.SerializeIterator(
        resource_handle=iterator._iterator_resource, external_state_policy=policy
    )


def _load(iterator: Any, state: Any) -> None:
    import tensorflow as tf  # noqa: PLC0415

    tf.raw_ops.DeserializeIterator(resource_handle=iterator._iterator_resource, serialized=state)


def _walk(dataset: Any, when: When) -> Iterator[Shuffle]:
    name = type(dataset).__name__
    below: When = when
    match name:
        case "_ShuffleDataset":
            if bool(dataset._reshuffle_each_iteration):
                yield Shuffle(dataset, when)
            below = "drawn" if when == "made" else when
        case "_RepeatDataset" if int(dataset._count) != 1 and when != "cached":
            below = "repeated"
        case "CacheDataset":
            below = "cached"
    for index, each in enumerate(dataset._inputs()):
        late = name == "_ConcatenateDataset" and index > 0 and below in ("made", "drawn")
        yield from _walk(each, "late" if late else below)
