"""When a place in data is found by reading, and what is said meanwhile."""

from __future__ import annotations

import re

import pytest

from outlast.keras_fit.replay import Held, Replay, keeps_state


@pytest.mark.parametrize(
    ("held", "again", "reading", "kept"),
    [
        (Held(), True, 0.0, True),
        (Held(100, 100 * 4096), True, 0.0, True),
        (Held(10_000, 10_000 * 4096), True, 0.0, False),
        (Held(50_000, 50_000 * 8), True, 0.0, False),  # each place costs, however small
        (Held(1, 4 << 20), True, 0.0, False),
        (Held(seen=0.5), True, 0.0, False),
        # Reading would take too long, or not give the same.
        (Held(10_000, 10_000 * 4096), True, 121.0, True),
        (Held(10_000, 10_000 * 4096), False, 0.0, True),
        # Never.
        (Held(cache=True), True, 1e6, False),
        (Held(cache=True), False, 0.0, False),
        (Held(10_000, 1 << 30), False, 1e6, False),
    ],
)
def test_a_state_is_saved_if_it_is_quick(held, again, reading, kept) -> None:
    assert keeps_state(held, again=again, reading=reading) == kept


class Slow:
    """Batches on a clock: the first takes ``first`` seconds, the others ``each``."""

    def __init__(self, count: int, each: float, first: float = 0.0) -> None:
        self.now, self.told, self.stop_at = 0.0, [], None
        self._count, self._each, self._first = count, each, first
        self.read = 0
        self.replay = Replay(self.told.append, self.stopping, lambda: self.now)

    def stopping(self) -> bool:
        return self.stop_at is not None and self.read >= self.stop_at

    def __iter__(self):
        return self

    def __next__(self) -> int:
        if self.read == self._count:
            raise StopIteration
        self.now += self._each if self.read else self._first
        self.read += 1
        return self.read


def test_how_long_it_takes_is_said_before() -> None:
    data = Slow(2000, each=0.02)
    data.replay.batch_seconds = 0.025  # of the checkpoint
    assert data.replay.drop(data, 1200) == 0
    assert data.read == 1200
    assert data.told == [
        "finding the place in the data: 1,200 batches are read again and dropped, which takes "
        "about 30 seconds.",
        "finding the place in the data: 502 of 1,200 batches were read again, about 14 seconds "
        "left.",
        "finding the place in the data: 1,004 of 1,200 batches were read again, about 4 seconds "
        "left.",
    ]
    assert data.replay.batch_seconds == pytest.approx(0.02)


def test_nothing_is_said_of_what_is_quick() -> None:
    data = Slow(100, each=0.009)
    assert data.replay.drop(data, 100) == 0
    assert data.told == []


def test_of_what_was_never_measured_it_is_said_soon() -> None:
    data = Slow(10_000, each=0.1, first=0.5)
    data.replay.drop(data, 3000)
    assert data.told[0].endswith("7 of 3,000 batches were read again, about 5 minutes left.")
    assert len(data.told) == 6, data.told  # less and less often
    rest = Slow(100, each=1.0)
    assert rest.replay.drop(rest) == 0
    assert rest.told[-1].endswith("batches were read again so far.")


def test_a_notice_stops_it_and_it_can_go_on() -> None:
    data = Slow(100, each=0.1)
    data.stop_at = 30
    assert data.replay.drop(data, 80, leave_off=True) == 50
    data.stop_at = None
    assert data.replay.drop(data, 50, leave_off=True) == 0
    assert data.read == 80


def test_data_that_end_before_have_nothing_left() -> None:
    data = Slow(10, each=0.1)
    assert data.replay.drop(data, 80, leave_off=True) == 0


def test_training_says_how_long_reading_takes_at_most() -> None:
    data = Slow(100, each=0.01)
    for seconds in (7.0, 0.5, 0.7):  # the first step is traced
        data.now += seconds
        data.replay.trained(1)
    assert data.replay.batch_seconds == pytest.approx(0.6)
    data.replay.drop(data, 50)
    data.now += 1.0
    data.replay.trained(1)
    assert data.replay.batch_seconds == pytest.approx(0.01)


def slow_source(*, kill: int | None = None, stop_after: int | None = None) -> None:
    """Data that come slowly and are kept in a cache, which no checkpoint holds."""
    import json
    import os
    import signal
    import time

    import keras
    import numpy as np
    import tensorflow as tf

    import outlast
    from trainer.keras.scripts import _kill_at

    read = []

    def load(number):
        read.append(int(number))
        if len(read) == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.004)
        return np.full((3,), number / 200, np.float32)

    keras.utils.set_random_seed(1)

    def row(number):
        return tf.ensure_shape(tf.numpy_function(load, [number], tf.float32), (3,))

    data = tf.data.Dataset.range(200).map(row).cache().map(lambda x: (x, x[:1])).batch(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    code = 0
    try:
        model.fit(data, epochs=2, verbose=0, callbacks=[_kill_at(kill), outlast.Resume(every=0.0)])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    weights = [value.tolist() for value in model.get_weights()]
    print(json.dumps({"read": len(read), "weights": weights}), flush=True)
    # Now and then it hangs otherwise: TensorFlow waits for its thread that is in ``load``, and that
    # one for the interpreter, which is ending.
    os._exit(code)


def test_a_notice_is_obeyed_while_data_are_read_again(scripts, tmp_path) -> None:
    scripts.run("test_replay:slow_source", kill=150, code=9)
    told = scripts.run("test_replay:slow_source", stop_after=20, code=75)
    assert 20 <= told["read"] < 100
    stopped = re.search(r"stopped at step (\d+) \(sigterm\), saved", scripts.log)
    assert stopped is not None, scripts.log
    assert 100 < int(stopped[1]) <= 150
    last = scripts.run("test_replay:slow_source")
    assert last["read"] == 200
    whole = type(scripts)(tmp_path / "whole")
    whole.folder.mkdir()
    assert whole.run("test_replay:slow_source")["weights"] == last["weights"]
