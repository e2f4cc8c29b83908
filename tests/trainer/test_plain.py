"""Plain data goes through strict JSON and comes back exactly."""

from __future__ import annotations

import contextlib
import json
import math
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from outlast.plain import PREFIX, PlainError, decode, encode


def through_json(value):
    told, arrays = encode(value)
    assert all(name.startswith(PREFIX) for name in arrays)
    text = json.dumps(told, allow_nan=False)
    copies = {name: np.ascontiguousarray(array).copy() for name, array in arrays.items()}
    shaped = {name: copies[name].reshape(array.shape) for name, array in arrays.items()}
    return decode(json.loads(text), shaped)


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True)
        return len(a) == len(b) and all(same(k, m) and same(v, w) for (k, v), (m, w) in pairs)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


numbers = st.one_of(
    npst.integer_dtypes(),
    npst.floating_dtypes(),
    npst.complex_number_dtypes(),
    npst.boolean_dtypes(),
)
keys = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.tuples(st.integers())
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.binary(),
    st.sets(st.one_of(st.integers(), st.text())),
    st.frozensets(st.integers()),
    npst.arrays(numbers, npst.array_shapes(min_dims=0, max_dims=3, min_side=0)),
    numbers.flatmap(npst.from_dtype),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(keys, inner),
        st.dictionaries(st.just("$"), inner),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_comes_back_exactly(value):
    assert same(through_json(value), value)


@pytest.mark.parametrize(
    "bits", ["0000000000000080", "000000000000f87f", "010000000000f07f", "000000000000f0ff"]
)
def test_floats_keep_their_bits(bits):
    value = struct.unpack("<d", bytes.fromhex(bits))[0]
    assert struct.pack("<d", through_json([value])[0]).hex() == bits


def test_memory_order_text_and_dates_come_back():
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    back = through_json(
        {"a": fortran, "t": np.array(["é", "b"]), "d": np.array(["2026-01-01"], "M8[D]")}
    )
    assert back["a"].flags.f_contiguous
    assert not back["a"].flags.c_contiguous
    assert (back["a"] == fortran).all()
    assert back["t"].tolist() == ["é", "b"]
    assert back["d"].dtype == np.dtype("M8[D]")


def test_small_float_types_of_frameworks():
    back = through_json([np.array([1.5, math.nan], ml_dtypes.bfloat16)])[0]
    assert back.dtype == ml_dtypes.bfloat16


def test_random_generators_go_on_where_they_were():
    import random

    rng = np.random.default_rng(3)
    rng.normal()
    state = through_json(
        {"np": rng.bit_generator.state, "py": random.getstate(), "old": np.random.get_state()}
    )
    other = np.random.default_rng()
    other.bit_generator.state = state["np"]
    assert rng.normal() == other.normal()
    expected = random.random()
    random.setstate(state["py"])
    assert random.random() == expected
    np.random.set_state(state["old"])


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, object()]}, "a/1 is a builtins.object"),
        ({"model": {"loss": lambda: 0}}, "model/loss is a builtins.function"),
        ({"x": np.array([object()])}, "x is an array of object"),
        ({"s": np.zeros(2, [("a", int)])}, "s is an array of"),
    ],
)
def test_what_cannot_be_saved_is_named(value, path):
    with pytest.raises(TypeError, match=path):
        encode(value)


def test_a_list_in_itself_is_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(TypeError, match="nested more than"):
        encode(loop)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.text(), inner),
        st.fixed_dictionaries(
            {
                "$": st.sampled_from(
                    ["int", "float", "bytes", "scalar", "array", "dict", "tuple", "set", "?"]
                ),
                "v": inner,
            },
            optional={"dtype": inner, "view": inner, "shape": inner},
        ),
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(json_values)
def test_damaged_json_raises_only_plain_error(value):
    with contextlib.suppress(PlainError):
        decode(value, {})


def test_long_bytes_lie_beside_the_json():
    value = {"data": {"state": bytes(range(256)) * 40, "short": b"ab"}}
    told, arrays = encode(value)
    assert len(json.dumps(told)) < 200
    assert [array.nbytes for array in arrays.values()] == [10240]
    assert decode(json.loads(json.dumps(told)), arrays) == value
