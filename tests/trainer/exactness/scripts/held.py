"""Pipelines that hold too much to be saved: caches, and buffers of many places."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from trainer.exactness.scripts.data import Resume, _fit, _slices
from trainer.exactness.scripts.pieces import BATCH, SAMPLES, Trained, samples

LARGE = 4000
"""Places of a buffer whose state would take 80 ms."""


def _scaled(x: Any, y: Any) -> Any:
    return x * 2.0 - 1.0, y


def cached_then_shuffled(resume: Resume) -> Trained:
    """As most tutorials have it, for training and validation."""
    keras.utils.set_random_seed(7)
    data = _slices().map(_scaled, num_parallel_calls=2).cache().shuffle(LARGE)
    data = data.map(_scaled, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
    held = tf.data.Dataset.from_tensor_slices(samples(20, seed=4)).cache().shuffle(20)
    held = held.batch(BATCH)
    return _fit(resume, data.prefetch(tf.data.AUTOTUNE), validation_data=held)


def cached_between_shuffles(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES).map(_scaled).cache().shuffle(LARGE).batch(BATCH)
    return _fit(resume, data.prefetch(1), epochs=4)


def shuffled_then_cached(resume: Resume) -> Trained:
    """Every epoch comes in the order of the first."""
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().shuffle(LARGE).batch(BATCH).cache().prefetch(1))


def small_elements(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().shuffle(50_000).batch(BATCH).prefetch(2))


def two_large_shuffles(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(LARGE).map(_scaled).shuffle(LARGE, seed=3).batch(BATCH)
    return _fit(resume, data, epochs=4)


def same_order(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().cache().shuffle(LARGE, reshuffle_each_iteration=False).batch(BATCH)
    return _fit(resume, data)


def interleaved(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()

    def part(index: Any) -> Any:
        return tf.data.Dataset.from_tensor_slices((x, y)).shard(4, index).shuffle(LARGE)

    data = tf.data.Dataset.range(4).interleave(part, cycle_length=2, num_parallel_calls=2)
    return _fit(resume, data.shuffle(LARGE).batch(BATCH).prefetch(1))


def cached_in_a_file(resume: Resume) -> Trained:
    """The next process is on another machine, which lacks the file."""
    keras.utils.set_random_seed(7)
    folder = Path(tempfile.mkdtemp())
    data = _slices().map(_scaled).cache(str(folder / "cache")).shuffle(LARGE)
    return _fit(resume, data.batch(BATCH))


def cached_in_a_file_that_stays(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    control = os.environ.get("OUTLAST_CONTROL")
    folder = Path(control).parent if control else Path(tempfile.mkdtemp())
    data = _slices().map(_scaled).cache(str(folder / "cache")).shuffle(LARGE)
    return _fit(resume, data.batch(BATCH))


def endless(resume: Resume) -> Trained:
    """One iterator goes on through all epochs, each of which begins inside a pass."""
    keras.utils.set_random_seed(7)
    data = _slices().cache().shuffle(LARGE).repeat().batch(BATCH)
    return _fit(resume, data, epochs=4, steps_per_epoch=6)


def endless_by_batch(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().cache().shuffle(LARGE).batch(BATCH).repeat().prefetch(1)
    return _fit(resume, data, epochs=4, steps_per_epoch=4)


def across_passes(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().cache().shuffle(LARGE).batch(BATCH)
    return _fit(resume, data, epochs=3, steps_per_epoch=4)


def unseeded_buffer(resume: Resume) -> Trained:
    """What is left of it is saved, slow as that is: nothing else would know it."""
    return _fit(resume, _slices().shuffle(LARGE).batch(BATCH))
