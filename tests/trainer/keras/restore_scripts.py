"""Restoring into the memory of variables, as programs of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHAPE = (600, 600)


def _saved(arrays: dict[str, Any]) -> Any:
    from outlast.checkpoint import load_newest
    from outlast.writer import Save, Writer

    folder = Path("restored")
    writer = Writer(folder, job="test", attempt=1)
    writer.submit(Save(1, "cadence", {}, arrays))
    assert writer.flush(10)
    loaded = load_newest(folder)
    assert loaded is not None
    return loaded


def in_their_own_memory() -> None:
    """What shares memory with a variable stays as it was; the variable is written in place."""
    import tensorflow as tf

    from outlast.keras_fit import own_memory, restoring
    from outlast.keras_fit.capture import Variable

    value = tf.random.normal(SHAPE)
    makes = {
        "alone": lambda: tf.Variable(tf.zeros(SHAPE)),
        "one": lambda: tf.Variable(value),
        "other": lambda: tf.Variable(value),
        "held": lambda: tf.Variable(value + 1),
        "sparse": lambda: tf.Variable(value + 2),
        "half": lambda: tf.Variable(tf.zeros((1200, 1200), tf.bfloat16)),
        "eighth": lambda: tf.Variable(tf.cast(tf.zeros((1200, 1200)), "float8_e4m3fn")),
        "flags": lambda: tf.Variable(tf.zeros((1200, 1200), tf.bool)),
        "small": lambda: tf.Variable(1.0),
    }
    made = {name: make() for name, make in makes.items()}
    made["sparse"].scatter_nd_update([[0]], tf.ones((1, SHAPE[1])))
    variables = [Variable(name, each) for name, each in made.items()]
    held, first = own_memory.read(made["held"]), value.numpy().copy()
    address = own_memory.read(made["alone"]).ctypes.data

    random = np.random.default_rng(3)
    wanted = {
        name: random.integers(0, 2, each.shape).astype(each.dtype.as_numpy_dtype)
        for name, each in made.items()
    }

    def right() -> bool:
        return all(np.array_equal(each.numpy(), wanted[name]) for name, each in made.items())

    stored = _saved(wanted).arrays
    for saved in (stored, wanted):
        kept = restoring.assign(variables, saved)
        assert right()
        assert len(kept) == 7, "all but the type without a kernel and the small one"
        assert own_memory.read(made["alone"]).ctypes.data == address, "not in its place"
        assert np.array_equal(held, first + 1)
        assert np.array_equal(value.numpy(), first)
        made["one"].assign_add(tf.ones(SHAPE))
        assert np.array_equal(made["other"].numpy(), wanted["other"])
        made["sparse"].scatter_nd_update([[1]], tf.ones((1, SHAPE[1])) * 9)
        made["alone"].assign(value)
        again = restoring.assign(variables, saved, kept)
        assert right()
        assert len(again) == 3, "the others had not changed"
        del kept, again
        address = own_memory.read(made["alone"]).ctypes.data


def altered_while_restoring() -> None:
    """A bit flips after the checkpoint was verified: told, not trained on."""
    import tensorflow as tf

    from outlast.checkpoint import AlteredError
    from outlast.keras_fit import restoring
    from outlast.keras_fit.capture import Variable

    for shape in (SHAPE, ()):
        loaded = _saved({"it": np.full(shape, 2.5, np.float32)})
        path = Path("restored") / loaded.manifest.objects[0].key
        with path.open("r+b") as file:
            file.seek(loaded.arrays.info()[0].pieces[0].offset + 2)
            file.write(b"\x21")
        variable = Variable("it", tf.Variable(tf.zeros(shape)))
        with pytest.raises(AlteredError, match="start again"):
            restoring.assign([variable], loaded.arrays)
