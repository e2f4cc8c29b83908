"""What a session can track: how each kind of object is captured, checked and restored.

=========================================  ==================================================
a NumPy ``Generator`` or ``RandomState``   its state
``state_dict`` and ``load_state_dict``     PyTorch modules, optimizers, schedulers, scalers
a Keras model, a Keras optimizer           :mod:`outlast.keras_fit.capture`
a ``tf.data.Dataset``                      :mod:`outlast.tracked_dataset`
=========================================  ==================================================
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


class Tracked(ABC):
    """One tracked object."""

    iterable: Iterable[Any] | None = None
    """For a dataset: what to iterate over in its place."""
    warnings: Sequence[tuple[str, str]] = ()
    """(code, text) of what a person should know before the first step."""

    @abstractmethod
    def capture(self) -> Any:
        """Its state as plain data, which later steps leave as it is."""

    @abstractmethod
    def check(self, saved: Any) -> None:
        """Raise ValueError, naming the variable, if ``saved`` does not fit. Changes nothing."""

    @abstractmethod
    def restore(self, saved: Any) -> None:
        """Put ``saved`` back."""


def track(objects: Mapping[str, Any]) -> dict[str, Tracked]:
    """How to track each of ``objects``. Raises TypeError for what cannot be tracked."""
    return {name: _tracked(name, thing, objects) for name, thing in objects.items()}


def _tracked(name: str, thing: Any, others: Mapping[str, Any]) -> Tracked:
    if isinstance(thing, (np.random.Generator, np.random.RandomState)):
        return _NumpyGenerator(name, thing)
    if _comes_from(thing, "keras"):
        from outlast.tracked_keras import TrackedKeras  # noqa: PLC0415 - Keras takes seconds

        return TrackedKeras(name, thing, others)
    if _comes_from(thing, "tensorflow") and hasattr(thing, "element_spec"):
        from outlast.tracked_dataset import TrackedDataset  # noqa: PLC0415 - TensorFlow too

        return TrackedDataset(name, thing)
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return _StateDict(name, thing)
    kind = type(thing)
    raise TypeError(
        f"{name} is a {kind.__module__}.{kind.__qualname__}, which cannot be tracked: put its "
        "numbers into session.arrays and session.state, or give it state_dict and load_state_dict"
    )


def _comes_from(thing: Any, package: str) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(thing).__mro__)


class _NumpyGenerator(Tracked):
    def __init__(self, name: str, generator: np.random.Generator | np.random.RandomState) -> None:
        self._name, self._generator = name, generator

    def capture(self) -> Any:
        if isinstance(self._generator, np.random.RandomState):
            return _copied(self._generator.get_state(legacy=False))
        return _copied(self._generator.bit_generator.state)

    def check(self, saved: Any) -> None:
        here, there = self.capture()["bit_generator"], saved["bit_generator"]
        if here != there:
            raise ValueError(f"{self._name} is a {here} and was saved as a {there}")

    def restore(self, saved: Any) -> None:
        if isinstance(self._generator, np.random.RandomState):
            self._generator.set_state(saved)
        else:
            self._generator.bit_generator.state = saved


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


class _StateDict(Tracked):
    def __init__(self, name: str, thing: Any) -> None:
        self._name, self._thing = name, thing

    def capture(self) -> Any:
        return _to_plain(self._thing.state_dict())

    def check(self, saved: Any) -> None:
        if not hasattr(self._thing, "named_parameters"):
            return  # an optimizer has no state before its first step
        here = self._thing.state_dict()
        for key in [*saved, *(key for key in here if key not in saved)]:
            told = [_signature(side.get(key)) for side in (saved, _to_plain(here))]
            if told[0] != told[1]:
                raise ValueError(
                    f"the checkpoint is of another model: {self._name}.{key} was {told[0]} and "
                    f"is {told[1]}. Nothing was changed: give another folder to begin anew"
                )

    def restore(self, saved: Any) -> None:
        self._thing.load_state_dict(_from_plain(saved))


_TENSOR = "outlast:tensor"


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_plain(item) for item in value)
    if hasattr(value, "detach") and hasattr(value, "dtype"):
        import torch  # noqa: PLC0415 - it is a tensor of it

        dtype = str(value.dtype).removeprefix("torch.")
        tensor = value.detach().cpu().contiguous()
        if not hasattr(np, dtype) and dtype != "bool":  # bfloat16 and the like
            whole = {1: torch.uint8, 2: torch.int16}[tensor.element_size()]
            return {_TENSOR: tensor.view(whole).numpy().copy(), "dtype": dtype}
        return {_TENSOR: tensor.numpy().copy(), "dtype": dtype}
    return value


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        if _TENSOR not in value:
            return {key: _from_plain(item) for key, item in value.items()}
        torch = sys.modules["torch"]
        return torch.from_numpy(value[_TENSOR]).view(getattr(torch, value["dtype"]))
    if isinstance(value, (list, tuple)):
        return type(value)(_from_plain(item) for item in value)
    return value


def _signature(value: Any) -> str:
    if value is None:
        return "not there"
    if isinstance(value, dict) and _TENSOR in value:
        return f"{value['dtype']}{list(value[_TENSOR].shape)}"
    return type(value).__name__
