"""Orders of tf.data pipelines with several shuffles: each position of each epoch is found again."""

from __future__ import annotations

import pytest

from outlast.keras_fit import data_order, data_tensors, held_data, replay, sources
from outlast.keras_fit.data import NotHere
from outlast.keras_fit.data_tensors import Pipeline
from outlast.keras_fit.held_data import held_by
from outlast.keras_fit.replay import Held, Replay

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


def found_in(source, taken, state):
    iterator = source.find(taken, state)
    assert source.replay.drop(iterator, source.behind) == 0
    return iterator


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
        found = [rest(found_in(resumed, taken, state))]
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
    # Between two passes, of four batches, there is none; how far TensorFlow reads ahead of that on
    # a busy machine is chance.
    assert len(states) > 3
    for taken, state in list(states.items())[::3]:
        found = found_in(make(), taken, state)
        assert [plain(next(found)) for _ in range(29 - taken)] == seen[taken:], taken


@pytest.mark.parametrize("batch_first", [False, True])
def test_of_an_endless_repeat_whole_passes_are_not_read_again(tf, batch_first) -> None:
    def make():
        tf.random.set_seed(3)
        data = tf.data.Dataset.range(ROWS).shuffle(5, seed=2).cache().shuffle(30).shuffle(4)
        data = data.map(lambda x: x + 1, num_parallel_calls=2)
        data = data.batch(7).repeat() if batch_first else data.repeat().batch(7).prefetch(1)
        return Pipeline(data, draws=False)

    source = make()
    iterator = source.make()
    seen = [plain(next(iterator)) for _ in range(60)]
    for taken in (1, 4, 23, 24, 25, 50):
        position = source.position(iterator, taken)
        assert position["state"] is None
        resumed = make()
        found = resumed.find(taken, position)
        assert resumed.behind == taken % (4 if batch_first else 24)  # 7 passes, 24 batches
        resumed.replay.drop(found, resumed.behind)
        assert [plain(next(found)) for _ in range(60 - taken)] == seen[taken:], taken


def test_which_shuffle_begins_when(tf) -> None:
    rows = tf.data.Dataset.range(ROWS)
    once = rows.shuffle(3, reshuffle_each_iteration=False)
    data = once.shuffle(4).repeat(2).concatenate(rows.shuffle(5)).cache().shuffle(6).batch(2)
    kinds = [shuffle.when for shuffle in data_order.shuffles_of(data)]
    assert kinds == ["made", "cached", "cached"]


def cached_then_shuffled(tf, rows):
    return rows.cache().shuffle(10).batch(5)


def buffered(tf, rows):
    return rows.shuffle(4000).batch(5)


@pytest.mark.parametrize("make", [cached_then_shuffled, buffered], ids=lambda f: f.__name__)
def test_what_is_held_in_memory_is_read_again(tf, make, monkeypatch) -> None:
    def asked(iterator):
        raise AssertionError("training would wait for the state of the iterator")

    monkeypatch.setattr(data_order, "serialize", asked)
    source = made(tf, make)
    rest(source.make())
    iterator = source.make()
    for _ in range(2):
        next(iterator)
    position = source.position(iterator, 2)
    assert position["state"] is None
    expected = [rest(iterator), rest(source.make())]
    resumed = made(tf, make)
    resumed.repeat(made=1, drawn=1)
    assert [rest(found_in(resumed, 2, position)), rest(resumed.make())] == expected
    assert resumed.seeded_as(position)
    tf.random.set_seed(4)
    other = make(tf, tf.data.Dataset.range(ROWS))
    assert not Pipeline(other, draws=False).seeded_as(position)


def test_a_state_that_turns_out_large_is_not_saved_again(tf) -> None:
    def image(number):
        side = 2000 + tf.cast(number, tf.int32)  # not known beforehand
        return tf.random.stateless_uniform([side, 1000], (1, 2))

    data = tf.data.Dataset.range(5).map(image)
    source = Pipeline(data.prefetch(2), draws=False)
    iterator = source.make()
    next(iterator)
    first = source.position(iterator, 1)["state"]
    assert len(first) > 4 << 20
    assert source.position(iterator, 1)["state"] is None
    rest(iterator)


def test_what_a_state_would_hold_shows_in_the_pipeline(tf) -> None:
    rows = tf.data.Dataset.range(5000).map(lambda i: tf.zeros([1024]) + tf.cast(i, tf.float32))
    assert held_by(rows.batch(10)) == Held()
    assert held_by(rows.shuffle(700).batch(10)) == Held(700, 700 * 4096)
    assert held_by(rows.shuffle(9000)) == Held(9000, 5000 * 4096)
    assert held_by(rows.batch(10).prefetch(2)) == Held(0, 2 * 10 * 4096)
    assert held_by(rows.map(lambda x: x + 1, num_parallel_calls=3)) == Held(0, 3 * 4096)
    assert held_by(rows.cache().take(3)) == Held(cache=True)
    assert held_by(rows.cache("/tmp/file")) == Held()
    inner = tf.data.Dataset.range(9).interleave(
        lambda i: tf.data.Dataset.range(i).shuffle(50), cycle_length=3
    )
    assert held_by(inner) == Held(150)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_cache_below_an_unseeded_shuffle_is_told(tf, seed) -> None:
    tf.random.set_seed(None)
    rows = tf.data.Dataset.range(ROWS)
    for data, expected in (
        (rows.cache().shuffle(9, seed=seed), {"data-drawn-otherwise", "shuffle-unseeded"}),
        (rows.shuffle(4000, seed=seed), {"shuffle-unseeded"}),
    ):
        codes = {finding.code for finding in sources.pipeline(data, drains=True).findings}
        assert codes == (set() if seed else expected)
    before = {"state": None, "seeds": [(3, 4)]}
    found = sources.pipeline(rows.shuffle(9, seed=5), drains=True, before=before).findings
    assert [finding.code for finding in found] == ["shuffle-other-seeds"]


def test_what_grows_too_large_to_be_saved_is_told(tf, monkeypatch):
    monkeypatch.setattr(held_data, "_TEXT", 10)
    texts = tf.data.Dataset.range(40).map(lambda _: tf.repeat("x" * 100, 50))
    data = Pipeline(texts.shuffle(30), draws=False, can_draw=False)
    told = []
    data.replay = Replay(told.append)
    iterator = data.make()
    next(iterator)
    assert data.position(iterator, 1)["state"] is not None
    assert told == []
    monkeypatch.setattr(replay, "MOST_BYTES", 10_000)
    monkeypatch.setattr(data_tensors, "_LARGE_BYTES", 1000)
    for taken in (1, 2):
        data.position(iterator, taken)
    assert len(told) == 1
    assert "too much to save" in told[0]
    assert data.position(iterator, 2)["state"] is None
