"""What the state of a tf.data iterator would hold, as far as the pipeline says. Reads no data."""

from __future__ import annotations

import os
from typing import Any

from outlast.keras_fit.replay import Held

SHUFFLE_OPS = frozenset({"ShuffleDataset", "ShuffleDatasetV2", "ShuffleDatasetV3"})
_AUTOTUNED = 4
"""Batches in a ``prefetch(AUTOTUNE)``, which grows by itself."""
_TEXT = 1 << 10
_OTHER = 256 << 10
"""Bytes that are reckoned with for a text, and for an array whose shape is not known."""
_UNMAKES = frozenset(
    {
        "_UnbatchDataset",
        "_FlatMapDataset",
        "_InterleaveDataset",
        "_ParallelInterleaveDataset",
        "_WindowDataset",
    }
)
"""What comes after these are not the batches that went in."""


def held_by(dataset: Any) -> Held:
    """By an iterator over ``dataset``, in the middle of it."""
    name = type(dataset).__name__
    elements = size = 0
    try:
        inputs, functions = dataset._inputs(), dataset._functions()
    except (AttributeError, NotImplementedError):
        return Held()  # a kind that is not known: measured when it is saved
    match name:
        case "_ShuffleDataset":
            elements, filled = buffer(dataset)
            size = filled * _guessed(dataset)
        case "_PrefetchDataset":
            size = _number(dataset._buffer_size, _AUTOTUNED) * _guessed(dataset)
        case "_ParallelMapDataset" | "_ParallelBatchDataset" | "_ParallelInterleaveDataset":
            calls = _number(dataset._num_parallel_calls, os.cpu_count() or 1)
            size = calls * _guessed(dataset)
    at_once = _number(getattr(dataset, "_cycle_length", 1), os.cpu_count() or 1)
    elements += at_once * sum(_shuffled_in(each.function.graph) for each in functions)
    cache = name == "CacheDataset" and not dataset._filename.numpy()
    for below in map(held_by, inputs):
        elements, size, cache = elements + below.elements, size + below.bytes, cache or below.cache
    return Held(elements, size, cache)


def buffer(shuffle: Any) -> tuple[int, int]:
    """Places in the buffer of a ``_ShuffleDataset``, and how many of them it will fill."""
    (source,) = shuffle._inputs()
    places, count = int(shuffle._buffer_size), int(source.cardinality())
    if places < 0:  # tf.data.UNKNOWN_CARDINALITY: a buffer that grows to hold everything
        return max(count, 0), max(count, 0)
    return places, min(places, count) if count >= 0 else places


def element_bytes(dataset: Any) -> int | None:
    """Size of one element; None: not known."""
    import tensorflow as tf  # noqa: PLC0415 - only called for a dataset, so it is loaded

    total = 0
    for spec in tf.nest.flatten(dataset.element_spec):
        size = _bytes(spec, dataset)
        if size is None:
            return None
        total += size
    return total


def _guessed(dataset: Any) -> int:
    import tensorflow as tf  # noqa: PLC0415

    total = 0
    for spec in tf.nest.flatten(dataset.element_spec):
        known = _bytes(spec, dataset)
        text = getattr(spec, "dtype", None) == tf.string
        total += known if known is not None else _TEXT if text else _OTHER
    return total


def _bytes(spec: Any, dataset: Any) -> int | None:
    import tensorflow as tf  # noqa: PLC0415

    if not isinstance(spec, tf.TensorSpec) or spec.dtype == tf.string or spec.shape.rank is None:
        return None
    shape = spec.shape.as_list()
    if shape and shape[0] is None:
        shape[0] = _rows(dataset)
    size = int(spec.dtype.size)
    for each in shape:
        if each is None:
            return None
        size *= each
    return size


def _rows(dataset: Any) -> int | None:
    """Elements in a batch, where the last one may be shorter."""
    while True:
        if hasattr(dataset, "_batch_size"):
            return int(dataset._batch_size)
        inputs = dataset._inputs()
        if len(inputs) != 1 or type(dataset).__name__ in _UNMAKES:
            return None
        (dataset,) = inputs


def _number(value: Any, automatic: int) -> int:
    number = int(value)
    return number if number >= 0 else automatic


def _shuffled_in(graph: Any) -> int:
    """Places in the buffers of the shuffles in a function, as far as they are constants."""
    definition, places = graph.as_graph_def(), 0
    for body in (definition.node, *(each.node_def for each in definition.library.function)):
        constants = {node.name: node for node in body if node.op == "Const"}
        for node in body:
            if node.op in SHUFFLE_OPS and (found := constants.get(node.input[1].split(":")[0])):
                places += sum(found.attr["value"].tensor.int64_val)
    return places
