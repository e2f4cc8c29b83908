"""Orders of tf.data pipelines with several shuffles: each position of each epoch is found again."""

from __future__ import annotations

import pytest

from outlast.keras_fit import data_order
from outlast.keras_fit.data import NotHere, drop
from outlast.keras_fit.data_tensors import Pipeline

EPOCHS = 3
ROWS = 24


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def single(tf, rows):
    return rows.shuffle(10).batch(5)


def series(tf, rows):
    return rows.shuffle(10).map(lambda x: x).shuffle(30).batch(5).prefetch(2)


def interleaved(tf, rows):
    inner = rows.shuffle(ROWS).interleave(
        lambda x: tf.data.Dataset.from_tensors(x).repeat(2).shuffle(2, seed=4), cycle_length=3
    )
    return inner.shuffle(12).batch(10)


def zipped(tf, rows):
    return tf.data.Dataset.zip(rows.shuffle(7), rows.shuffle(40)).shuffle(5).batch(5)


def joined(tf, rows):
    return rows.shuffle(10).concatenate(rows.shuffle(4)).shuffle(3).batch(10)


def cached(tf, rows):
    return rows.batch(4).shuffle(5).unbatch().batch(5, drop_remainder=True).cache()


def thrice(tf, rows):
    return rows.shuffle(30).batch(10).repeat(3)


DRAWS = {"joined", "cached", "thrice"}


def made(tf, make):
    tf.random.set_seed(3)
    data = make(tf, tf.data.Dataset.range(ROWS))
    return Pipeline(data, draws=make.__name__ in DRAWS)


def plain(element):
    import numpy as np

    parts = element if isinstance(element, tuple) else (element,)
    return [np.asarray(part).tolist() for part in parts]


def rest(pipeline):
    return [plain(element) for element in pipeline]


@pytest.mark.parametrize(
    "make", [single, series, interleaved, zipped, joined, cached, thrice], ids=lambda f: f.__name__
)
def test_every_position_is_found_again(tf, make) -> None:
    source = made(tf, make)
    expected = []
    states = {}
    for epoch in range(EPOCHS):
        iterator, seen = source.make(), []
        states[epoch, 0] = source.position(iterator, 0)
        for element in iterator:
            seen.append(plain(element))
            states[epoch, len(seen)] = source.position(iterator, len(seen))
        expected.append(seen)
        source.make()  # as Keras does
    assert all(expected[0] != order for order in expected[1:]) or make is cached
    for (epoch, taken), state in states.items():
        if epoch == 1 and 1 < taken < len(expected[0]) - 1:
            continue  # in the middle one is like the other
        resumed = made(tf, make)
        resumed.repeat(made=2 * epoch, drawn=epoch)
        found = [rest(resumed.find(taken, state))]
        for _ in range(epoch + 1, EPOCHS):
            resumed.make()
            found.append(rest(resumed.make()))
        assert found == [expected[epoch][taken:], *expected[epoch + 1 :]], (epoch, taken)


@pytest.mark.parametrize("batch_first", [False, True])
def test_an_endless_repeat_is_found_where_its_shuffle_is(tf, batch_first) -> None:
    def make():
        tf.random.set_seed(3)
        data = tf.data.Dataset.range(ROWS).shuffle(30)
        data = data.batch(7).repeat() if batch_first else data.repeat().batch(7)
        return Pipeline(data, draws=False)

    source = made_from = make()
    iterator, seen, states = source.make(), [], {}
    for taken in range(1, 30):
        seen.append(plain(next(iterator)))
        try:
            states[taken] = made_from.position(iterator, taken)
        except NotHere:
            assert batch_first
    # Between two passes, of four batches, there is none for a batch, seldom for two.
    assert len(states) > len(seen) // 2
    for taken, state in list(states.items())[::3]:
        found = make().find(taken, state)
        assert [plain(next(found)) for _ in range(29 - taken)] == seen[taken:], taken


def test_which_shuffle_begins_when(tf) -> None:
    rows = tf.data.Dataset.range(ROWS)
    once = rows.shuffle(3, reshuffle_each_iteration=False)
    data = once.shuffle(4).repeat(2).concatenate(rows.shuffle(5)).cache().shuffle(6).batch(2)
    kinds = [shuffle.when for shuffle in data_order.shuffles_of(data)]
    assert kinds == ["made", "cached", "cached"]


def test_a_large_state_is_not_saved(tf, monkeypatch) -> None:
    from outlast.keras_fit import data_tensors

    monkeypatch.setattr(data_tensors, "LARGE_BYTES", 100)  # a real one takes seconds to make
    source = made(tf, single)
    iterator = drop(source.make(), 2)
    assert source.position(iterator, 2) == {"state": None}
    expected = rest(iterator)
    resumed = made(tf, single)
    assert rest(resumed.find(2, {"state": None})) == expected
