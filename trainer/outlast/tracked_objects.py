"""NumPy's generators, and PyTorch's objects: whatever has ``state_dict``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from outlast.tracked import Tracked


class TrackedGenerator(Tracked):
    """A NumPy generator, new or legacy."""

    def __init__(self, name: str, generator: np.random.Generator | np.random.RandomState) -> None:
        self._name, self._generator = name, generator

    def capture(self) -> Any:
        """As :meth:`outlast.tracked.Tracked.capture`."""
        if isinstance(self._generator, np.random.RandomState):
            return _copied(self._generator.get_state(legacy=False))
        return _copied(self._generator.bit_generator.state)

    def check(self, saved: Any) -> str | None:
        """As :meth:`outlast.tracked.Tracked.check`."""
        here = self.capture()["bit_generator"]
        there = saved.get("bit_generator") if isinstance(saved, dict) else None
        if not isinstance(there, str):
            return "the checkpoint has something other than a generator of NumPy"
        return None if here == there else f"it is a {here} and was saved as a {there}"

    def restore(self, saved: Any) -> None:
        """As :meth:`outlast.tracked.Tracked.restore`."""
        if isinstance(self._generator, np.random.RandomState):
            self._generator.set_state(saved)
        else:
            self._generator.bit_generator.state = saved


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


class TrackedStateDict(Tracked):
    """Whatever has ``state_dict`` and ``load_state_dict``."""

    def __init__(self, name: str, thing: Any) -> None:
        self._name, self._thing = name, thing

    def capture(self) -> Any:
        """As :meth:`outlast.tracked.Tracked.capture`."""
        return _to_plain(self._thing.state_dict())

    def check(self, saved: Any) -> str | None:
        """As :meth:`outlast.tracked.Tracked.check`."""
        if not isinstance(saved, dict):
            return "the checkpoint has something other than a state_dict"
        if not hasattr(self._thing, "named_parameters"):
            return None  # an optimizer has no state before its first step
        here = self._thing.state_dict()
        for key in [*saved, *(key for key in here if key not in saved)]:
            told = [_signature(side.get(key)) for side in (saved, _to_plain(here))]
            if told[0] != told[1]:
                return f"{self._name}.{key} was {told[0]} and is {told[1]}"
        return None

    def restore(self, saved: Any) -> None:
        """As :meth:`outlast.tracked.Tracked.restore`."""
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
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__
