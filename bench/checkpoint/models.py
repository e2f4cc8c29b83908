"""The two states that are saved: about 1.2 GB (100M parameters and Adam), and 50 MB."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

WIDTHS = {"big": 5000, "small": 1020}
LAYERS = 4


def model(size: str, count: int = LAYERS) -> Any:
    """A compiled stack of ``count`` square dense layers, built, with its optimizer's variables.

    As many parameters whatever the ``count``.
    """
    import keras

    width = int(WIDTHS[size] * math.sqrt(LAYERS / count))
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(width, activation="tanh") for _ in range(count)]
    made = keras.Sequential([keras.Input((width,)), *layers])
    made.compile(keras.optimizers.Adam(1e-4), "mse", jit_compile=False)
    made.optimizer.build(made.trainable_variables)
    random = np.random.default_rng(1)
    for slot in made.optimizer.variables:
        if len(slot.shape) == 2:  # all zeros would be written once for all
            slot.assign(random.random(slot.shape, np.float32))
    return made


def batches(size: str, count: int) -> Any:
    """``count`` batches to train on (a ``tf.data.Dataset``)."""
    import tensorflow as tf

    rows = tf.random.stateless_normal((4, WIDTHS[size]), (1, 2))
    return tf.data.Dataset.from_tensors((rows, rows)).repeat(count)


def variables(made: Any) -> list[Any]:
    """All variables of the model and its optimizer."""
    return [*made.variables, *made.optimizer.variables]


def state_bytes(made: Any) -> int:
    """Bytes of :func:`variables`."""
    return sum(variable.numpy().nbytes for variable in variables(made))


def change(made: Any, layer: str = "") -> None:
    """Have every variable (of ``layer``) hold other bytes, as a training step does."""
    for variable in variables(made):
        if layer in variable.path:
            variable.assign(variable + 1)
