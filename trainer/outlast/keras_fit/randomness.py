"""Random generators that belong to no model: Python's, numpy's, the frameworks', Keras' global."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np

from outlast.generators import read_torch, set_torch
from outlast.keras_fit.copied import slot_of


def capture() -> dict[str, Any]:
    """Plain data from which :func:`restore` brings all of them back."""
    return {
        **capture_host(),
        "tensorflow": _operation_seeds() if _tensorflow() else None,
        "tensorflow_generator": _array(_tensorflow_generator()) if _tensorflow() else None,
        "torch": read_torch(),
        "keras": _array(_keras_generator()),
    }


def restore(state: dict[str, Any]) -> None:
    """Bring back what :func:`capture` took."""
    if state["tensorflow"] is not None:
        seeds = getattr(_eager_context(), "_rng", None)  # there once something drew from it
        if seeds is not None:
            seeds.setstate(state["tensorflow"])
    if state["tensorflow_generator"] is not None:
        import tensorflow as tf  # noqa: PLC0415 - only where it is there already

        tf.random.get_global_generator().state.assign(state["tensorflow_generator"])
    if state["keras"] is not None:
        from keras.src.random import seed_generator  # noqa: PLC0415

        # Made at its first use, drawing from Python's generator: before that one is restored.
        seed_generator.global_seed_generator().state.assign(state["keras"])
    set_torch(state.get("torch"))
    restore_host(state)


def capture_host() -> dict[str, Any]:
    """Python's and numpy's global generators alone."""
    return {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}


def restore_host(state: dict[str, Any]) -> None:
    """Bring back what :func:`capture_host` took."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])


def seeded() -> bool:
    """Whether TensorFlow's global seed is set (``keras.utils.set_random_seed`` sets it)."""
    return _eager_context()._seed is not None


def _tensorflow() -> bool:
    return "tensorflow" in sys.modules  # Keras on JAX and on PyTorch does without it


def _eager_context() -> Any:
    from tensorflow.python.eager import context  # noqa: PLC0415

    return context.context()


def _operation_seeds() -> Any:
    # With a global seed, each eager operation without a seed of its own draws one from here.
    generator = getattr(_eager_context(), "_rng", None)
    return None if generator is None or not seeded() else generator.getstate()


def _tensorflow_generator() -> Any:
    from tensorflow.python.ops import stateful_random_ops  # noqa: PLC0415

    generator = stateful_random_ops.global_generator  # asking the public function makes one
    return None if generator is None else generator.state


def _keras_generator() -> Any:
    try:
        from keras.src.backend.common import global_state  # noqa: PLC0415
    except ImportError:
        return None  # a version that is not known: its generator begins anew in a resume
    # Before 3.13 Keras has no name for this word.
    generator = global_state.get_global_attribute("global_seed_generator")
    return None if generator is None else generator.state


def _array(variable: Any) -> Any:
    slot = slot_of(variable)
    return slot.read_value() if slot is not None else _copied(variable)


def _copied(variable: Any) -> Any:
    return None if variable is None else np.array(variable)
