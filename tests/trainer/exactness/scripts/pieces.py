"""Small data, a small model and a metric that remembers order: what the scripts are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

SAMPLES = 44
BATCH = 8  # six batches, the last one short


marks: list[Callable[[int], None]] = []
"""Called by :func:`mark`."""


def mark(batch: int) -> None:
    """Tell whoever watches that the script is inside of a step."""
    for each in marks:
        each(batch)


@dataclass
class Trained:
    """What a script is compared by."""

    models: list[Any]
    histories: list[Any]
    inputs: Any = None
    """Given to each model's ``predict``."""
    more: dict[str, Any] = field(default_factory=dict)
    """Other arrays or plain values."""


def samples(count: int = SAMPLES, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [count, 4] and targets [count, 1], float32, the same in every process."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 4)).astype("float32")
    y = np.tanh(x @ np.array([[0.5], [-1.0], [0.25], [2.0]], "float32")) + 0.01 * x[:, :1]
    return x, y.astype("float32")


@keras.saving.register_keras_serializable("outlast_tests")
class Order(keras.metrics.Metric):
    """A number that depends on which targets were seen since the epoch began, in which order."""

    def __init__(self, name: str = "order", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.value = self.add_weight(shape=(), initializer="zeros", name="value")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        numbers = whole_numbers(y_true)
        places = keras.ops.arange(1, keras.ops.shape(numbers)[0] + 1, dtype="float32")
        batch = keras.ops.sum(numbers * places)
        self.value.assign(keras.ops.mod(self.value * 31 + batch, 8191))

    def result(self) -> Any:
        return self.value * 1.0  # a tensor, also under a distribution strategy


@keras.saving.register_keras_serializable("outlast_tests")
class Seen(keras.metrics.Metric):
    """The sum of the targets seen since the epoch began, in whole numbers, in whatever order."""

    def __init__(self, name: str = "seen", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.value = self.add_weight(shape=(), initializer="zeros", name="value")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.value.assign_add(keras.ops.sum(whole_numbers(y_true)))

    def result(self) -> Any:
        return self.value * 1.0


def whole_numbers(targets: Any) -> Any:
    """Targets as whole numbers of float32, small enough that their sums are exact."""
    numbers = keras.ops.reshape(keras.ops.cast(targets, "float32"), (-1,))
    return keras.ops.floor(keras.ops.abs(numbers) * 512)


def tiny() -> Any:
    """One hidden layer with Dropout: the least in which weights, seeds and order all matter."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )


def compiled(model: Any = None, optimizer: Any = None, **options: Any) -> Any:
    """``model`` (or :func:`tiny`) ready to train."""
    model = tiny() if model is None else model
    options = {"loss": "mse", "metrics": [Order(), Seen()], **options}
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9), **options)
    return model
