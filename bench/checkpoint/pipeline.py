"""What a save costs the steps around it where the data come from a cache and a large shuffle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import stall

IMAGES, BUFFER, BATCH = 12_000, 10_000, 64
SIDE = 32
"""Of an image of one float32 channel: 4 KB."""


def measure(size: str, folder: Path) -> dict[str, Any]:  # noqa: ARG001 - there is one size
    """``stall_ms`` and the others as in :mod:`stall`.

    In the first epoch the cache fills, later it is full.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)

    def image(number: Any) -> Any:
        pixels = tf.random.stateless_uniform((SIDE, SIDE, 1), (1, number))
        return pixels, number % 10

    data = tf.data.Dataset.range(IMAGES).map(image, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.cache().shuffle(BUFFER).batch(BATCH, drop_remainder=True)
    layers = [keras.layers.Flatten(), keras.layers.Dense(256, "relu"), keras.layers.Dense(10)]
    made = keras.Sequential([keras.Input((SIDE, SIDE, 1)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss, jit_compile=False)
    return stall.around_saves(made, data.prefetch(tf.data.AUTOTUNE), folder, epoch=IMAGES // BATCH)
