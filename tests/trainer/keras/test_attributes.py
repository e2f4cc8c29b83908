"""Attributes of objects as plain data and back."""

from __future__ import annotations

import collections
import os
import random

import numpy as np
import pytest

from outlast.keras_fit import attributes
from outlast.keras_fit.held_variables import Lost
from outlast.plain import decode, encode


class Thing:
    """Something with attributes."""

    def __init__(self, **values) -> None:
        self.__dict__.update(values)


def moved(state):
    """Through a checkpoint and back."""
    plain, arrays = encode(state)
    return decode(plain, arrays)


def test_everything_that_can_be_saved_comes_back() -> None:
    def make() -> Thing:
        return Thing(
            number=1,
            text="a",
            values=[1.0, float("nan")],
            nested={"a": (1, {2})},
            array=np.arange(3.0),
            many=[np.zeros(2), np.ones(2)],
            python=random.Random(1),
            generator=np.random.default_rng(1),
            state=np.random.RandomState(1),
            queue=collections.deque([1, 2], maxlen=2),
            counts=collections.defaultdict(int, a=1),
            ordered=collections.OrderedDict(b=2),
            inner=Thing(deep=Thing(value=3)),
        )

    old, new = make(), make()
    old.number, old.text = 2, "b"
    old.values.append(2.0)
    old.array += 1
    old.many[0] += 5
    drawn = [old.python.random(), old.generator.random(), old.state.rand()]
    old.queue.append(3)
    old.counts["z"] += 1
    old.inner.deep.value = 4
    attributes.restore(new, moved(attributes.capture(old)))
    assert (new.number, new.text, new.values[2]) == (2, "b", 2.0)
    assert new.array.tolist() == [1, 2, 3]
    assert new.many[0].tolist() == [5, 5]
    assert new.queue == collections.deque([2, 3], maxlen=2)
    assert new.queue.maxlen == 2
    assert new.counts == {"a": 1, "z": 1}
    assert new.counts["new"] == 0
    assert isinstance(new.ordered, collections.OrderedDict)
    assert new.inner.deep.value == 4
    again = [old.python.random(), old.generator.random(), old.state.rand()]
    assert [new.python.random(), new.generator.random(), new.state.rand()] == again != drawn


def test_named_tuples_come_back_as_what_they_are() -> None:
    Point = collections.namedtuple("Point", "x y")
    old = Thing(point=Point(1, 2.5), path=[Point(1, 2)])
    new = Thing(point=Point(0, 0), path=[Point(0, 0)])
    attributes.restore(new, attributes.capture(old))
    assert (new.point, new.path) == (Point(1, 2.5), [Point(1, 2)])
    assert type(new.point) is type(new.path[0]) is Point


def test_variables_of_the_trained_model_are_not_saved_again() -> None:
    import keras

    shared, own = keras.layers.Dense(1), keras.layers.Dense(1)
    trained = keras.Sequential([keras.Input((2,)), shared])
    other = keras.Sequential([keras.Input((2,)), shared, own])
    assert attributes.capture(Thing(it=shared), model=trained) == {}
    state = attributes.capture(Thing(it=other), model=trained)
    assert [each is None for each in state["it"][1]] == [True, True, False, False]
    own.kernel.assign([[5.0]])
    shared.bias.assign([7.0])
    attributes.restore(Thing(it=other), state)
    assert float(own.kernel[0, 0]) == float(state["it"][1][2][0, 0]) != 5.0
    assert float(shared.bias[0]) == 7.0


def test_what_finds_no_place_is_said_and_the_rest_comes_back() -> None:
    Point = collections.namedtuple("Point", "x y")
    old = Thing(first=Thing(value=1), path=[Point(1, 2)], count=3)
    new = Thing(first=None, path=[], count=0)
    with pytest.raises(Lost, match=r"first: .*; path: .*"):
        attributes.restore(new, attributes.capture(old))
    assert new.count == 3


def test_a_list_that_the_script_holds_too_is_filled_in_place() -> None:
    seen: list[int] = []
    table: dict[str, int] = {}
    attributes.restore(
        Thing(seen=seen, table=table), {"seen": ("plain", [1]), "table": ("plain", {"a": 1})}
    )
    assert seen == [1]
    assert table == {"a": 1}


def test_what_was_captured_does_not_change_later() -> None:
    thing = Thing(array=np.zeros(2), values=[[1]], table={"a": [1]})
    state = attributes.capture(thing)
    thing.array += 1
    thing.values[0].append(2)
    thing.table["a"].append(2)
    assert state["array"][1].tolist() == [0, 0]
    assert state["values"][1] == [[1]]
    assert state["table"][1] == {"a": [1]}


def test_only_what_changed_since_the_baseline_is_state() -> None:
    thing = Thing(attempt=1, descriptor=7, path="/a", count=0, seen=[], data=np.arange(1000))
    baseline = attributes.Baseline(thing)
    assert baseline.changed() == {}
    thing.count += 1
    thing.seen.append("x")
    thing.added = True
    assert set(baseline.changed()) == {"count", "seen", "added"}
    thing.data[5] = 0
    assert "data" in baseline.changed()
    new = Thing(attempt=2, descriptor=3, path="/b", count=0, seen=[], data=np.arange(1000))
    attributes.restore(new, moved(baseline.changed()))
    assert (new.attempt, new.descriptor, new.path) == (2, 3, "/b")
    assert (new.count, new.seen, new.data[5]) == (1, ["x"], 0)


def test_of_an_object_too_only_what_changed_is_state() -> None:
    thing = Thing(held=Thing(data=np.zeros(9), path="/a", deep=Thing(count=0, pid=1), seen=[]))
    baseline = attributes.Baseline(thing)
    assert baseline.changed() == {}
    thing.held.deep.count = 4
    thing.held.seen.append(2)
    changed = baseline.changed()
    assert changed == {
        "held": ("object", {"deep": ("object", {"count": ("plain", 4)}), "seen": ("plain", [2])})
    }
    new = Thing(held=Thing(data=np.ones(9), path="/b", deep=Thing(count=0, pid=2), seen=[]))
    attributes.restore(new, moved(changed))
    assert (new.held.path, new.held.deep.count, new.held.deep.pid) == ("/b", 4, 2)
    assert (new.held.seen, new.held.data[0]) == ([2], 1)


@pytest.mark.parametrize(
    "value",
    [print, len, Thing, os, random.random, lambda: 1, None, "text", np.float32(1), {"a": [1]}],
)
def test_what_can_hold_no_progress_is_not_strange(value) -> None:
    assert attributes.strange(Thing(value=value)) == []


def test_what_cannot_be_saved_is_named(tmp_path) -> None:
    with (tmp_path / "file").open("w") as file:
        thing = Thing(file=file, items=iter([1]), deep=Thing(well=1, lock=object()), many=[1, file])
        found = attributes.strange(thing)
    assert found == ["file", "items", "deep.lock", "many[1]"]
    assert set(attributes.capture(thing)) == {"deep"}
