"""Pipelines to look into, and what is found in each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from outlast.keras_fit.inspect_data import inspect


def _rows(count: int = 6) -> Any:
    return tf.data.Dataset.from_tensor_slices(np.zeros((count, 2), "float32"))


def _noisy(x: Any) -> Any:
    return x + tf.random.normal((2,))


class _Scaled:
    def __init__(self) -> None:
        self.by = tf.Variable(2.0)

    def scale(self, x: Any) -> Any:
        return x * self.by


def _undetermined_by_options() -> Any:
    options = tf.data.Options()
    options.deterministic = False
    return _rows().with_options(options)


def _layer_in_map() -> Any:
    layer = keras.layers.RandomContrast(0.2)
    return _rows().batch(2).map(lambda x: layer(tf.reshape(x, (-1, 1, 2, 1)), training=True))


def _many_kinds() -> Any:
    data = tf.data.Dataset.zip((_rows(), _rows().enumerate())).window(2)
    data = data.flat_map(lambda x, pair: tf.data.Dataset.zip((x, pair[1])))
    data = data.ragged_batch(2).unbatch().take(3).skip(1).shard(2, 0).padded_batch(2).rebatch(1)
    return data.concatenate(data).scan(0, lambda state, *x: (state, x)).ignore_errors()


UNSEEDED: dict[str, Callable[[], Any]] = {
    "shuffle": lambda: _rows().shuffle(6),
    "nested": lambda: tf.data.Dataset.range(3).interleave(
        lambda i: tf.data.Dataset.range(4).shuffle(4)
    ),
    "random": lambda: tf.data.Dataset.random().take(3),
    "sampled": lambda: tf.data.Dataset.sample_from_datasets([_rows(), _rows()]),
    "own seed": lambda: _rows().shuffle(6, seed=1),
    "nested own seed": lambda: tf.data.Dataset.range(3).interleave(
        lambda i: tf.data.Dataset.range(4).shuffle(4, seed=1)
    ),
}
SEEDED: dict[str, Callable[[], Any]] = {
    "one shuffle": lambda: _rows().cache().shuffle(6).batch(2).prefetch(1),
    "nested": lambda: tf.data.Dataset.range(3).interleave(
        lambda i: tf.data.Dataset.range(4).shuffle(4), num_parallel_calls=2
    ),
    "sampled": lambda: tf.data.Dataset.sample_from_datasets([_rows(), _rows()]),
    "many kinds": _many_kinds,
    "records": lambda: tf.data.TFRecordDataset(["a", "b"], num_parallel_reads=2).shuffle(4),
    "parallel map": lambda: _rows().map(lambda x: x * 2, num_parallel_calls=2, deterministic=True),
    "repeat before": lambda: _rows().repeat().shuffle(6),
    "repeat once": lambda: _rows().shuffle(6).repeat(1),
    "fixed order repeated": lambda: _rows().shuffle(6, reshuffle_each_iteration=False).repeat(),
    "two": lambda: _rows().shuffle(6).shuffle(2),
    "two, one fixed": lambda: _rows().shuffle(6, reshuffle_each_iteration=False).shuffle(2),
    "listed": lambda: (
        tf.data.Dataset.list_files("/etc/host*").interleave(tf.data.TextLineDataset).shuffle(4)
    ),
    "listed in order": lambda: (
        tf.data.Dataset.list_files("/etc/host*", shuffle=False)
        .interleave(tf.data.TextLineDataset)
        .shuffle(4)
    ),
    "repeat after": lambda: _rows().shuffle(6).batch(2).repeat(2),
    "generator": lambda: tf.data.Dataset.from_generator(
        lambda: iter([1]), output_signature=tf.TensorSpec((), tf.int32)
    ),
    "python": lambda: _rows().map(lambda x: tf.numpy_function(np.abs, [x], tf.float32)),
    "random map": lambda: _rows().map(_noisy),
    "parallel random map": lambda: _rows().map(_noisy, num_parallel_calls=2),
    "random filter": lambda: _rows().filter(lambda x: tf.random.uniform(()) < 0.5),
    "layer in map": _layer_in_map,
    "variable in map": lambda: _rows().map(_Scaled().scale),
    "undetermined map": lambda: _rows().map(tf.abs, num_parallel_calls=2, deterministic=False),
    "undetermined interleave": lambda: tf.data.Dataset.range(2).interleave(
        tf.data.Dataset.range, num_parallel_calls=2, deterministic=False
    ),
    "undetermined by options": _undetermined_by_options,
    "large shuffle": lambda: _rows().repeat().shuffle(1 << 24),
    "large shuffle of few": lambda: _rows().shuffle(1 << 24),
    "large cache": lambda: (
        tf.data.Dataset.range(1 << 20).map(lambda i: tf.zeros((64,)) + 1.0).cache()
    ),
    "cache in a file": lambda: _rows().cache("cached"),
}


def main(result: str) -> None:
    """Write the codes found in each pipeline, ``{"seeded": {name: [code, ...]}, ...}``."""
    found: dict[str, dict[str, list[str]]] = {"unseeded": {}, "seeded": {}}
    for name, pipeline in UNSEEDED.items():
        found["unseeded"][name] = [finding.code for finding in inspect(pipeline())]
    tf.random.set_seed(3)
    for name, pipeline in SEEDED.items():
        found["seeded"][name] = [finding.code for finding in inspect(pipeline())]
    Path(result).write_text(json.dumps(found))
