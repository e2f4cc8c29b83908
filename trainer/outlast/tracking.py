"""What a session can track: how each kind of object is captured, checked and restored.

=========================================  ==================================================
a NumPy ``Generator`` or ``RandomState``   :mod:`outlast.tracked_objects`
``state_dict`` and ``load_state_dict``     the same: PyTorch modules, optimizers, schedulers
a Keras model, a Keras optimizer           :mod:`outlast.tracked_keras`
a ``tf.data.Dataset``                      :mod:`outlast.tracked_dataset`
=========================================  ==================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outlast.tracked import Tracked
from outlast.tracked_objects import TrackedGenerator, TrackedStateDict


def track(objects: Mapping[str, Any]) -> dict[str, Tracked]:
    """How to track each of ``objects``. Raises TypeError for what cannot be tracked."""
    return {name: _tracked(name, thing, objects) for name, thing in objects.items()}


def _tracked(name: str, thing: Any, others: Mapping[str, Any]) -> Tracked:
    if isinstance(thing, (np.random.Generator, np.random.RandomState)):
        return TrackedGenerator(name, thing)
    if _comes_from(thing, "keras"):
        from outlast.tracked_keras import TrackedKeras  # noqa: PLC0415 - Keras takes seconds

        return TrackedKeras(name, thing, others)
    if _comes_from(thing, "tensorflow") and hasattr(thing, "element_spec"):
        from outlast.tracked_dataset import TrackedDataset  # noqa: PLC0415 - TensorFlow too

        return TrackedDataset(name, thing)
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return TrackedStateDict(name, thing)
    kind = type(thing)
    raise TypeError(
        f"{name} is a {kind.__module__}.{kind.__qualname__}, which cannot be tracked: put its "
        "numbers into session.arrays and session.state, or give it state_dict and load_state_dict"
    )


def _comes_from(thing: Any, package: str) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(thing).__mro__)
