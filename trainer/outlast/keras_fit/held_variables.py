"""The variables of what a callback holds beside the model that is trained: a teacher, averages."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlast.keras_fit.capture import identity, variables_of
from outlast.keras_fit.copied import slot_of

_TENSORS = ("EagerTensor", "ArrayImpl", "Tensor")  # TensorFlow's, JAX's, PyTorch's
_WITH_VARIABLES = {"Layer", "BaseOptimizer", "SeedGenerator"}


class Lost(Exception):  # noqa: N818 - one attribute is: the others are there
    """What was saved does not fit what is here."""


class Known:
    """The variables that belong to the model that is trained, and are saved with it."""

    def __init__(self, model: Any = None) -> None:
        self._model = model
        self._found: set[int] | None = None

    def variables_in(self, value: Any) -> list[Any] | None:
        """Those of ``value``, None for one that is known; None: it is nothing that has some."""
        found = _variables(value, models=self._model is not None)
        if not found or self._model is None:
            return found
        if self._found is None:
            self._found = {identity(each.value) for each in variables_of(self._model)}
        return [None if identity(each) in self._found else each for each in found]


def has_variables(value: Any) -> bool:
    """Whether it is a variable, or a layer, a model, an optimizer or a metric."""
    return _variables(value) is not None


def assigned(current: Any, data: list[Any]) -> Any:
    """``current`` with the values ``data``. Raises :class:`Lost`."""
    if current is None and len(data) == 1:  # a variable made in training
        return _new(data[0])
    there = _variables(current) or []
    pairs = list(zip(there, data, strict=False))
    fits = all(value is None or value.shape == tuple(each.shape) for each, value in pairs)
    if len(there) != len(data) or not fits:
        raise Lost("its variables were made in training, or are others")
    for variable, value in pairs:
        if value is not None:
            variable.assign(value)
    return current


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor that has a value."""
    return type(value).__name__ in _TENSORS and _is_keras_kind(type(value))


def as_array(value: Any) -> np.ndarray:
    """A copy of what a tensor or a variable holds."""
    slot = slot_of(value)
    # Two steps: TensorFlow's ``__array__`` does not know of ``copy``.
    return np.array(np.asarray(value if slot is None else slot.read_value()))


def _new(value: np.ndarray) -> Any:
    """A variable of the framework that Keras runs on."""
    import keras  # noqa: PLC0415 - loaded: it was a variable of what Keras runs on

    if keras.backend.backend() != "tensorflow":
        return keras.Variable(value, trainable=False)
    import tensorflow as tf  # noqa: PLC0415

    return tf.Variable(value, trainable=False)


def _variables(value: Any, *, models: bool = True) -> list[Any] | None:
    """The variables of what has some, or the variable itself; None: it is neither."""
    kinds = {kind.__name__ for kind in type(value).__mro__ if _is_keras_kind(kind)}
    if "Model" in kinds and models:
        return [each.value for each in variables_of(value)]
    if "Metric" in kinds or (models and kinds & _WITH_VARIABLES):
        return list(value.variables)
    if kinds and hasattr(value, "assign") and hasattr(value, "shape"):
        return [value]
    return None


def _is_keras_kind(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("keras", "tensorflow", "jax", "jaxlib", "torch")
