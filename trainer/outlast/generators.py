"""The global random generators of Python, NumPy and, where imported, PyTorch and Keras."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np


def read_generators() -> dict[str, Any]:
    """Their states, as plain data."""
    states: dict[str, Any] = {"python": random.getstate(), "numpy": np.random.get_state()}
    if _keras():
        from outlast.keras_fit import randomness  # noqa: PLC0415 - Keras is loaded already

        states["keras"] = randomness.capture()
    return {**states, **(read_torch() or {})}


def set_generators(states: dict[str, Any]) -> None:
    """Put them where :func:`read_generators` found them, those of what is imported by now."""
    if _keras() and "keras" in states:
        from outlast.keras_fit import randomness  # noqa: PLC0415 - Keras is loaded already

        randomness.restore(states["keras"])
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    set_torch(states)


def read_torch() -> dict[str, Any] | None:
    """PyTorch's, of the processor and of the GPUs in use; None: it is not imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    states: dict[str, Any] = {"torch": torch.get_rng_state().numpy().copy()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = [state.cpu().numpy() for state in torch.cuda.get_rng_state_all()]
    return states


def set_torch(states: dict[str, Any] | None) -> None:
    """Put them where :func:`read_torch` found them."""
    torch = sys.modules.get("torch")
    if torch is None or states is None or "torch" not in states:
        return
    torch.set_rng_state(torch.from_numpy(states["torch"]))
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all([torch.from_numpy(state) for state in states["cuda"]])


def _keras() -> bool:
    return "keras" in sys.modules
