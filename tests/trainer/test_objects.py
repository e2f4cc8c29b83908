"""Objects are safetensors files, and what did not change is not written again."""

from __future__ import annotations

import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from outlast.checkpoint import Arrays, DamagedError, Objects
from outlast.file_source import FileSource
from outlast.objects import ObjectWriter

MB = 1 << 20


def write(root, arrays, files=(), known=None, *, attempt=1, object_bytes=4 * MB, **more):
    writer = ObjectWriter(root, attempt, known=known or {}, object_bytes=object_bytes, **more)
    return writer.write(arrays.items(), files)


def after(root, arrays, before):
    """The save of ``arrays`` that follows ``before``."""
    return write(
        root, arrays, known=before.index, changing=before.changed, sketches=before.sketches
    )


def read(root, written):
    return Arrays(written.arrays, Objects(root, written.objects))


def noise(seed, size):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


ALL_TYPES = {
    # Each other bytes: equal ones would be held once.
    name: np.roll(np.arange(20) % 7, shift).astype(name)
    for shift, name in enumerate(
        (
            *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
            *("float16", "float32", "float64", "complex64", "complex128"),
            *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
        )
    )
}
ALL_TYPES = {array.dtype.name: array for array in ALL_TYPES.values()}


def test_all_types_and_shapes_come_back(tmp_path):
    arrays = {
        **ALL_TYPES,
        "scalar": np.array(1.5, np.float32),
        "empty": np.zeros((0, 3)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::2],
        "big-endian": np.arange(3, dtype=">i4"),
    }
    back = read(tmp_path, write(tmp_path, arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].shape == array.shape, name
        expected = array.astype(array.dtype.newbyteorder("<"))
        assert back[name].dtype == expected.dtype
        assert back[name].tobytes() == expected.tobytes()
        back[name][...] = 0  # a copy of one's own


def test_the_real_safetensors_library_reads_them(tmp_path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    written = write(tmp_path, {**ALL_TYPES, "matrix": matrix})
    (ref,) = written.objects
    found = dict(safetensors.deserialize((tmp_path / ref.key).read_bytes()))
    assert {name: bytes(entry["data"]) for name, entry in found.items()} == {
        name: array.tobytes() for name, array in {**ALL_TYPES, "matrix": matrix}.items()
    }
    assert found["matrix"]["dtype"] == "F32"
    assert found["bfloat16"]["dtype"] == "BF16"
    assert found["float8_e4m3fn"]["dtype"] == "F8_E4M3"
    assert found["complex128"]["dtype"] == "U8"


def test_a_big_array_is_split_into_readable_objects(tmp_path):
    big = np.random.default_rng(0).normal(size=(3 * MB // 8 * 3,))
    written = write(tmp_path, {"small": np.ones(3), "big": big})
    assert all(ref.size <= 5 * MB + 4096 for ref in written.objects)
    assert len(written.objects) == 3
    assert (read(tmp_path, written)["big"] == big).all()
    parts = [safetensors.numpy.load_file(tmp_path / ref.key) for ref in written.objects]
    joined = np.concatenate(
        [part[name] for part in parts for name in part if name.startswith("big")]
    )
    assert (joined == big).all()


def test_frozen_arrays_are_written_once(tmp_path):
    frozen = {f"frozen-{i}": noise(i, MB) for i in range(6)}
    known, totals = {}, []
    for save in range(4):
        arrays = {}
        for i, (name, array) in enumerate(frozen.items()):
            arrays[name] = array
            arrays[f"trained-{i}"] = noise(100 * save + i, MB // 2)
        written = write(tmp_path, arrays, known=known)
        back = read(tmp_path, written)
        assert all((back[name] == array).all() for name, array in arrays.items())
        totals.append(written.bytes_written)
        known = written.index
    assert totals[0] > 9 * MB
    assert max(totals[1:]) < 3.1 * MB  # what is trained alone
    assert max(totals[1:]) > 2.9 * MB


def test_what_is_large_shares_no_object(tmp_path):
    arrays = {name: noise(number, 3 * MB // 2) for number, name in enumerate("abc")}
    first = write(tmp_path, arrays)
    assert len(first.objects) == 3
    second = write(tmp_path, {**arrays, "b": noise(9, 3 * MB // 2)}, known=first.index)
    assert round(second.bytes_written / MB, 1) == 1.5


def test_frozen_arrays_that_share_an_object_with_much_else_move_out_once(tmp_path):
    frozen = {name: noise(number, 3 * MB // 4) for number, name in enumerate("ac")}
    known, totals = {}, []
    for save in range(4):
        arrays = {name: noise(100 * ord(name) + save, 3 * MB // 4) for name in "abcde"} | frozen
        written = write(tmp_path, arrays, known=known)
        assert (read(tmp_path, written)["c"] == frozen["c"]).all()
        totals.append(round(written.bytes_written / MB, 1))
        known = written.index
    assert totals == [3.8, 3.8, 2.3, 2.3]


def test_nothing_changed_writes_nothing(tmp_path):
    arrays = {"a": noise(1, 3 * MB), "b": noise(2, 100)}
    first = write(tmp_path, arrays)
    again = write(tmp_path, arrays, known=first.index)
    assert again.bytes_written == 0
    assert again.objects == first.objects


def test_what_changed_before_is_written_without_a_look(tmp_path):
    arrays = {"w": noise(1, 9 * MB), "v": noise(2, MB), "best": noise(3, MB), "same": noise(4, MB)}
    first = write(tmp_path, arrays)
    arrays.update(w=noise(5, 9 * MB), v=noise(6, MB), best=arrays["w"][:MB])
    second = write(tmp_path, arrays, known=first.index)
    assert second.changed == {"w[0:4194304]", "w[4194304:8388608]", "w[8388608:9437184]", "v"} | {
        "best"
    }
    arrays.update(w=noise(7, 9 * MB), best=noise(8, MB))  # v stays, which nobody could expect
    third = after(tmp_path, arrays, second)
    # ``v`` has an object of its own, which is there already.
    assert third.bytes_written == pytest.approx(10 * MB, rel=0.01)
    assert {name[0] for name in third.changed} == {"w", "b", "v"}
    back = read(tmp_path, third)
    assert all((back[name] == array).all() for name, array in arrays.items())
    assert after(tmp_path, arrays, third).changed == frozenset()


def test_what_no_longer_changes_is_seen_and_written_no_more(tmp_path):
    fixed, written = noise(0, 2 * MB), []
    latest = write(tmp_path, {"w": noise(1, 3 * MB), "v": noise(2, 2 * MB)})
    for save in range(3, 10):
        arrays = {"w": noise(save, 3 * MB), "v": fixed}
        latest = after(tmp_path, arrays, latest)
        written.append(round(latest.bytes_written / MB))
        assert (read(tmp_path, latest)["v"] == fixed).all()
    assert written[0] == 5
    assert written[-3:] == [3, 3, 3]
    latest = after(tmp_path, {"w": noise(1, 3 * MB), "v": noise(99, 2 * MB)}, latest)
    assert (read(tmp_path, latest)["v"] == noise(99, 2 * MB)).all()


def test_equal_arrays_are_held_once(tmp_path):
    weights = noise(1, 2 * MB)
    written = write(tmp_path, {"weights": weights, "best": weights.copy()})
    assert written.bytes_written < 2.1 * MB


def test_an_object_that_is_gone_is_written_again(tmp_path):
    arrays = {"a": noise(1, 3 * MB)}
    first = write(tmp_path, arrays)
    (tmp_path / first.objects[0].key).unlink()
    again = write(tmp_path, arrays, known=first.index)
    assert (read(tmp_path, again)["a"] == arrays["a"]).all()


def test_a_resumed_attempt_points_into_the_objects_of_the_one_before(tmp_path):
    arrays = {"a": noise(1, 3 * MB)}
    first = write(tmp_path, arrays, attempt=1)
    second = write(tmp_path, {**arrays, "b": noise(2, 10)}, known=first.index, attempt=2)
    assert {ref.attempt for ref in second.objects} == {1, 2}


def test_files_are_raw_and_only_their_new_end_is_written(tmp_path):
    log = noise(3, 9 * MB).tobytes()

    def source(data, contents=None):
        return FileSource("log", len(data), lambda start, n: data[start : start + n], contents)

    first = write(tmp_path, {}, [source(log)], object_bytes=64 * MB)
    (ref,) = first.objects
    assert (tmp_path / ref.key).read_bytes() == log
    longer = log + b"one more line\n"
    second = write(tmp_path, {}, [source(longer)], known=first.index, object_bytes=64 * MB)
    assert second.bytes_written < 1.1 * MB + 20
    objects = Objects(tmp_path, second.objects)
    assert b"".join(objects.runs(second.outputs[0].pieces)) == longer


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match="array 'words' is of"):
        write(tmp_path, {"words": np.array(["a"])})


def test_a_failing_write_leaves_nothing(tmp_path, monkeypatch):
    def full(_descriptor):  # patched: a full disk is tried for real in test_disk
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, {"a": np.ones(3)})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_damage_is_found_before_anything_is_read(tmp_path):
    written = write(tmp_path, {"a": noise(1, 100)})
    path = tmp_path / written.objects[0].key
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedError, match="was altered"):
        read(tmp_path, written)
    path.write_bytes(data[:-1])
    with pytest.raises(DamagedError, match="was cut"):
        read(tmp_path, written)
    path.unlink()
    with pytest.raises(DamagedError, match="is gone"):
        read(tmp_path, written)
    path.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        read(tmp_path, written)


def test_the_header_is_aligned(tmp_path):
    written = write(tmp_path, {"a": np.ones(3, np.float32)})
    data = (tmp_path / written.objects[0].key).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    assert json.loads(data[8 : 8 + length])["a"]["dtype"] == "F32"
