"""No bit that is not as it was saved is handed out, whenever it changed."""

from __future__ import annotations

import numpy as np
import pytest

from outlast.checkpoint import AlteredError, load, load_newest
from outlast.writer import Save, Writer

ARRAYS = {
    "large": np.arange(3 << 18, dtype=np.float32),
    "small": np.arange(5, dtype=np.int64),
    "none": np.zeros((0, 3), np.float32),
    "equal": np.arange(5, dtype=np.int64),
}


@pytest.fixture
def scratch(tmp_path):
    writer = Writer(tmp_path, job="test", attempt=1)
    for step in (1, 2):
        arrays = {name: array + step for name, array in ARRAYS.items()}
        writer.submit(Save(step, "cadence", {}, arrays))
        assert writer.flush(10)
    return tmp_path


def flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 16]))


def filled(loaded, name):
    there = np.zeros_like(ARRAYS[name] + loaded.step)
    loaded.arrays.fill({name: there.reshape(-1).view(np.uint8)})
    return there


@pytest.mark.parametrize("read", [lambda loaded, name: loaded.arrays[name], filled])
def test_a_flipped_bit_is_found_before_and_after_the_first_look(scratch, read):
    newest = load_newest(scratch)
    for ref in newest.manifest.objects:
        path = scratch / ref.key
        for at in [*range(0, ref.size, ref.size // 7), ref.size - 1]:
            touched = {
                each.name
                for each in newest.arrays.info()
                for piece in each.pieces
                if newest.manifest.objects[piece.object] == ref
                and piece.offset <= at < piece.offset + piece.length
            }
            flip(path, at)
            for name, array in ARRAYS.items():
                if name in touched:
                    with pytest.raises(AlteredError, match="changed on disk after it was verified"):
                        read(newest, name)
                else:
                    assert np.array_equal(read(newest, name), array + 2)
            told = []
            before = load_newest(scratch, on_damaged=lambda id_, why, told=told: told.append(why))
            assert before.step == 1
            assert len(told) == 1
            flip(path, at)
    assert all(np.array_equal(read(newest, name), array + 2) for name, array in ARRAYS.items())


def test_a_long_array_in_many_objects_is_read_into_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr("outlast.objects.OBJECT_BYTES", 1 << 20)
    writer = Writer(tmp_path, job="test", attempt=1)
    array = np.random.default_rng(1).random(700_000)
    writer.submit(Save(1, "cadence", {}, {"a": array, "b": array[:9]}))
    assert writer.flush(10)
    loaded = load(tmp_path, load_newest(tmp_path).id)
    there = np.zeros_like(array)
    loaded.arrays.fill({"a": there.view(np.uint8)})
    assert np.array_equal(there, array)
    assert np.array_equal(loaded.arrays["a"], array)
    assert list(loaded.arrays.below("b")) == ["b"]
