"""What callbacks and data keep that is not theirs: saved, or told."""
# ruff: noqa: PLW0603, PTH123, RUF012, SIM115 - written as scripts are

from __future__ import annotations

import collections
import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from outlast.keras_fit.outside import Outside, emptied, generators, lost
from outlast.keras_fit.script_names import _not_its_own

losses: list[float] = []
by_name: dict[str, list[float]] = collections.defaultdict(list)
table = np.zeros(3)
names = ["loss"]
draw = np.random.default_rng(3)
best: Any = None


class Progress:
    count = 0


progress = Progress()


def _note(value: float) -> None:
    by_name["loss"].append(value)


class Keeper:
    """Stands for a callback."""

    of_all: list[int] = []
    model = SimpleNamespace(stop_training=False)

    def on_epoch_end(self, epoch: int) -> None:
        global best
        best = epoch
        progress.count += 1
        table[epoch] = draw.normal()
        self.of_all.append(epoch)
        self.model.stop_training = True
        _note(0.5)
        list(map(lambda value: losses.append(value), (1.0, 2.0)))  # noqa: C417, PLW0108


class Reader:
    def on_epoch_end(self, epoch: int) -> None:
        print(names, table, epoch)


class Careless:
    def on_epoch_end(self, epoch: int) -> None:
        global best
        best = self
        self.model.patience += epoch


def everything() -> Any:
    state = draw.bit_generator.state
    return best, progress.count, table.tolist(), Keeper.of_all, losses, dict(by_name), state


def reset() -> None:
    global best
    best, progress.count, table[:] = None, 0, 0
    for each in (Keeper.of_all, losses, by_name):
        each.clear()
    draw.bit_generator.state = np.random.default_rng(3).bit_generator.state


@pytest.fixture(autouse=True)
def _as_at_first():
    reset()
    yield
    reset()


def test_plain_data_of_the_script_that_a_callback_changes_comes_back_in_place() -> None:
    callback, held = Keeper(), losses
    before = Outside(callback)
    callback.on_epoch_end(0)
    callback.on_epoch_end(1)
    saved, there = before.changed(), repr(everything())
    assert losses == [1.0, 2.0, 1.0, 2.0]
    reset()
    assert repr(everything()) != there
    Outside(Keeper()).restore(saved)
    assert repr(everything()) == there
    assert losses is held
    assert isinstance(by_name, collections.defaultdict)
    assert list(lost([callback])) == []


class Tally:
    """Of the script, and no container."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def add(self, value: int) -> None:
        self.values = [*self.values, value]

    def take(self, epoch: int) -> None:
        self.add(epoch)


def _wrapped(calls: list[int]) -> Any:
    @functools.wraps(_note)
    def wrapper(value: float) -> None:
        calls.append(1)

    return wrapper


def _callback(tally: Tally, into: list[int], calls: list[int]) -> Any:
    def put(out: list[int], *, epoch: int) -> None:
        out.append(epoch)

    return SimpleNamespace(
        first=functools.partial(put, into), second=tally.take, third=_wrapped(calls)
    )


def test_partial_bound_and_decorated_functions_are_looked_into() -> None:
    old, new = (Tally(), [], []), (Tally(), [], [])
    callback = _callback(*old)
    before = Outside(callback)
    callback.first(epoch=5)
    callback.second(3)
    callback.third(0.5)
    Outside(_callback(*new)).restore(before.changed())
    assert (new[0].values, new[1], new[2]) == ([3], [5], [1])
    assert list(lost([callback])) == []


def test_layers_that_a_callback_changes_are_named() -> None:
    class Thaws:
        model: Any = None

        def on_epoch_begin(self, epoch: int) -> None:
            for layer in self.model.layers[epoch:]:
                layer.trainable = True
            self.model.get_layer("dropout").rate = 0.1
            self.model.compile("sgd")

    names = ["model.compile()", "model.layers[...].rate", "model.layers[...].trainable"]
    assert list(lost([Thaws()])) == [("Thaws", names)]


def test_an_attribute_of_the_callback_is_none_of_a_layer() -> None:
    class Counts:
        model: Any = None

        def on_epoch_begin(self, epoch: int) -> None:
            self.epoch = epoch
            self.count = len(self.model.layers)

    assert list(lost([Counts()])) == []
    code = Counts.on_epoch_begin.__code__
    two = SimpleNamespace(opname="LOAD_FAST_LOAD_FAST", argval=("epoch", "self"))
    assert not _not_its_own(two, code)  # as Python 3.13 writes it
    assert _not_its_own(SimpleNamespace(opname="LOAD_FAST", argval="epoch"), code)


def test_what_is_only_read_is_not_saved() -> None:
    before = Outside(Reader())
    names.append("more")
    table[0] = 1.0
    try:
        assert before.changed() == {}
    finally:
        names.pop()


def test_a_name_that_the_callback_does_not_write_to_is_left_alone() -> None:
    Outside(Keeper()).restore({"names": ("plain", []), "Careless": ("plain", 3)})
    assert names == ["loss"]
    assert isinstance(Careless, type)


def test_two_functions_may_close_over_different_values_of_one_name() -> None:
    def counter() -> Any:
        count = 0

        def more() -> int:
            nonlocal count
            count += 1
            return count

        return more

    callback = SimpleNamespace(first=counter(), second=counter())
    before = Outside(callback)
    callback.first(), callback.second(), callback.second()
    other = SimpleNamespace(first=counter(), second=counter())
    Outside(other).restore(before.changed())
    assert (other.first(), other.second()) == (2, 3)


def test_what_cannot_be_saved_is_named() -> None:
    global best
    best = test_what_cannot_be_saved_is_named
    assert list(lost([Careless()])) == [("Careless", ["best", "model.patience"])]


def test_a_file_that_a_run_from_the_start_empties_is_named(tmp_path) -> None:
    with open(tmp_path / "own.log", "w") as emptied_file, open(tmp_path / "more.log", "a") as more:
        callback = SimpleNamespace(
            log=lambda: emptied_file.write("x"), more=more, on_epoch_end=lambda: more.write("x")
        )
        assert list(emptied([callback])) == [("SimpleNamespace", str(tmp_path / "own.log"))]
    assert list(emptied([callback])) == []


def test_random_generators_of_the_script_are_found() -> None:
    assert generators(Keeper()) == ["draw"]
    assert generators(Reader()) == []


def told() -> None:
    """Callbacks and data that keep what cannot be brought back."""
    import keras
    import tensorflow as tf

    import outlast

    class Careful(keras.callbacks.Callback):
        def __init__(self, data: Any) -> None:
            super().__init__()
            self.data = data

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.patience = epoch
            self.model.evaluate(self.data, verbose=0)

    class Items(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return draw.normal(size=(4, 3)), np.ones((4, 1))

    rows = tf.data.Dataset.from_tensor_slices((tf.ones((8, 3)), tf.ones((8, 1))))
    callbacks = [
        Careful(rows.shuffle(8, seed=1).batch(4)),
        Careful(rows.shuffle(8, seed=1, reshuffle_each_iteration=False).batch(4)),
        outlast.Resume(),
    ]
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    keras.utils.set_random_seed(1)
    model.fit(Items(), epochs=1, verbose=0, callbacks=callbacks)


def test_it_is_told_before_the_first_step(scripts) -> None:
    scripts.run("test_outside:told")
    assert "Careful writes to model.patience, which cannot be saved" in scripts.log
    assert scripts.log.count("Careful has the dataset self.data, which shuffles anew") == 1
    assert "Items draws from draw, a random generator of the script" in scripts.log


def script() -> None:
    """The first lines of Keras' own example of LambdaCallback."""
    import keras

    import outlast

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    log = open("own.log", mode="w", buffering=1)
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: log.write(f"{epoch}\n")),
        outlast.Resume(),
    ]
    model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=2, verbose=0, callbacks=callbacks)


def test_a_file_that_the_script_opens_anew_is_told(scripts) -> None:
    scripts.run("test_outside:script")
    assert "LambdaCallback writes to own.log, which the script opens anew" in scripts.log
