"""Whether a GPU has room for a second copy of what is saved; where not, it comes over in chunks.

A tensor that is read from a variable shares its memory, and the next update writes elsewhere: on
a GPU that is nearly full, saving that way would end the training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

CHUNK_BYTES = 64 << 20
"""Of the GPU's memory that a copy in chunks takes at a time."""
_PIECE = 1 << 30
"""What is asked for at a time when it is tried how much memory there is."""


class Room:
    """Remembers what was found, for one ``fit``."""

    def __init__(self) -> None:
        self._crowded: dict[str, bool] = {}

    def crowded(self, values: Iterable[Any]) -> frozenset[str]:
        """The devices whose memory has no room for a second copy of those ``tf.Variable`` on them.

        Tried out once for each device, by asking it for as much; to be called after a step.
        """
        sizes = Counter[str]()
        for value in values:
            device = str(getattr(value, "device", ""))
            if "GPU" in device and hasattr(value, "handle"):
                sizes[device] += value.dtype.size * int(np.prod(value.shape.as_list(), dtype=int))
        for device, size in sizes.items():
            if device not in self._crowded:
                self._crowded[device] = not _fits(device, size)
        return frozenset(device for device in sizes if self._crowded[device])


def fetched(value: Any, *, chunk: int = CHUNK_BYTES) -> np.ndarray:
    """A copy of a ``tf.Variable`` in the processor's memory, taken in chunks of so many bytes."""
    import tensorflow as tf  # noqa: PLC0415 - a variable of it, so it is loaded

    with tf.device(value.device):
        whole = tf.raw_ops.ReadVariableOp(resource=value.handle, dtype=value.dtype)
        flat = tf.reshape(whole, [-1])  # in the same memory
        copy = np.empty(int(flat.shape[0]), value.dtype.as_numpy_dtype)
        step = max(1, chunk // value.dtype.size)
        for start in range(0, len(copy), step):
            copy[start : start + step] = flat[start : start + step].numpy()
    return copy.reshape(tuple(value.shape))


def _fits(device: str, size: int) -> bool:
    """Whether ``size`` bytes are free there, beside the most that training has taken so far."""
    import tensorflow as tf  # noqa: PLC0415

    used = tf.config.experimental.get_memory_info(device.rsplit("device:", 1)[-1])
    left = size + used["peak"] - used["current"]
    held = []
    try:
        while left > 0:
            held.append(_take(device, min(left, _PIECE)))
            left -= _PIECE
    except tf.errors.ResourceExhaustedError:
        return False
    return True


def _take(device: str, size: int) -> Any:
    import tensorflow as tf  # noqa: PLC0415

    with tf.device(device):
        return tf.zeros([size], tf.uint8)
