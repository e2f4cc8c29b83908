"""A GPU without room for a second copy: values come over in chunks. No GPU takes part here."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from outlast.keras_fit import capture, device_memory

GPU = "/job:localhost/replica:0/task:0/device:GPU:0"


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def variable(tf, device, *shape):
    spec = SimpleNamespace(as_list=lambda: list(shape))
    return SimpleNamespace(device=device, handle=1, dtype=tf.float32, shape=spec)


@pytest.mark.parametrize("free", [100, 99, 0])
def test_it_is_tried_once_beside_the_most_that_training_took(tf, monkeypatch, free):
    asked = []

    def take(device, size):
        asked.append((device, size))
        if sum(each for _, each in asked) > free:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    used = {"current": 30, "peak": 50}
    monkeypatch.setattr(device_memory, "_take", take)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda name: used)
    monkeypatch.setattr(device_memory, "_PIECE", 64)
    room = device_memory.Room()
    values = [variable(tf, GPU, 5, 2), variable(tf, GPU, 10), variable(tf, "CPU:0", 10**6)]
    for _ in range(2):
        assert room.crowded(values) == (frozenset() if free == 100 else {GPU})
    assert asked[:2] == [(GPU, 64), (GPU, 36)][: len(asked)]


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int64"])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (0, 4)])
def test_in_chunks_every_value_arrives(tf, kind, shape):
    size = int(np.prod(shape))
    held = tf.Variable(tf.cast(tf.reshape(tf.range(size) + 1, shape), kind))
    copy = device_memory.fetched(held, chunk=16)
    assert copy.dtype == held.dtype.as_numpy_dtype
    assert copy.shape == shape
    assert (copy == held.numpy()).all()
    held.assign(tf.zeros_like(held))
    assert size == 0 or copy.any()


def test_what_is_on_a_crowded_device_is_read_so(tf):
    held = tf.Variable([1.0, 2.0])
    variables = [capture.Variable("v", held)]
    plain = capture.read(variables, "p/")["p/00000 v"]
    copied = capture.read(variables, "p/", crowded={held.device})["p/00000 v"]
    assert isinstance(copied, np.ndarray)
    assert not isinstance(plain, np.ndarray)
    assert (copied == plain.numpy()).all()
