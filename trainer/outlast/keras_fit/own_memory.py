"""The memory of a variable, to write a restored value straight into it.

Assigning takes new memory, and touching that for the first time costs several times what reading
a checkpoint does. TensorFlow updates a variable in its own memory as soon as nobody else holds
it; the same is done here, and TensorFlow itself is asked to make sure of it: an update that
switches to copy-on-read gives the variable memory of its own, with a copy if it was shared
(``EnsureSparseVariableAccess`` in ``core/kernels/resource_variable_util.h`` and
``training_op_helpers.h``); ``DisableCopyOnRead`` switches back and leaves it that memory.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

WORTH = 1 << 20
"""Bytes below which an assignment is as quick."""


class _Memory:
    """Bytes at an address, which may be written, and what keeps them there."""

    def __init__(self, array: np.ndarray) -> None:
        self._kept = array
        self.__array_interface__ = {
            "version": 3,
            "shape": (array.nbytes,),
            "typestr": "|u1",
            "data": (array.ctypes.data, False),
        }


def memory_of(variable: Any) -> np.ndarray | None:
    """The bytes (uint8) of a ``tf.Variable`` that nothing else shares, to be written at once.

    None where that is not certain, or where it lies in no memory of this machine's processor:
    then it has to be assigned. What was read from the variable before stays as it was; what
    changes the variable otherwise must wait until the writing is done.
    """
    if not hasattr(variable, "handle") or not variable.device.endswith("CPU:0"):
        return None
    if _bytes(variable) < WORTH or not _works():
        return None
    return _own(variable)


def read(variable: Any) -> np.ndarray:
    """Its value, not copied, as long as it is in no copy-on-read mode."""
    import tensorflow as tf  # noqa: PLC0415 - a variable of it, so it is loaded

    return np.asarray(tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays that are both held lie in the same memory."""
    return one.ctypes.data == other.ctypes.data and one.nbytes == other.nbytes


def _own(variable: Any) -> np.ndarray | None:
    import tensorflow as tf  # noqa: PLC0415

    try:
        nothing = np.zeros((0, *variable.shape[1:]), variable.dtype.as_numpy_dtype)
        tf.raw_ops.ResourceScatterUpdate(
            resource=variable.handle, indices=np.zeros(0, np.int32), updates=nothing
        )
        tf.raw_ops.DisableCopyOnRead(resource=variable.handle)
        one, other = read(variable), read(variable)
    except Exception:  # TensorFlow's, of many kinds: no value yet, a type it has no kernel for
        return None
    # A copy would lie elsewhere.
    fits = same(one, other) and one.flags.c_contiguous and one.nbytes == _bytes(variable)
    return np.asarray(_Memory(one)) if fits else None


def _bytes(variable: Any) -> int:
    return int(variable.dtype.size) * math.prod(int(length) for length in variable.shape)


@functools.cache
def _works() -> bool:
    """Whether this TensorFlow does what is said above, tried on a variable of one's own."""
    import tensorflow as tf  # noqa: PLC0415

    with tf.init_scope(), tf.device("CPU:0"):
        value = tf.range(4096)
        variable, twin = tf.Variable(value), tf.Variable(value)
        before = value.numpy().copy()
        shared = read(variable)
        memory = _own(variable)
        if memory is None:
            return False
        memory[:] = 1
        now = read(variable)
        told = (now.view(np.uint8) == 1).all() and same(now, memory)
        return bool(
            told and all(np.array_equal(before, each) for each in (value, read(twin), shared))
        )
