"""What is told about the data of a ``fit`` call."""

from __future__ import annotations

import pytest

TOLD = "an earlier fit call read from the same endless shuffle().repeat()"


def two_fits(*, shared: bool, kill: int | None) -> None:
    """Two phases over endless data, which they share or make each for itself."""
    import keras
    import tensorflow as tf

    import outlast
    from trainer.keras.scripts import _kill_at

    keras.utils.set_random_seed(1)
    rows = tf.data.Dataset.from_tensor_slices((tf.ones((24, 3)), tf.ones((24, 1))))

    def endless() -> tf.data.Dataset:
        return rows.shuffle(24, seed=3).repeat()

    first = endless()
    second = first if shared else endless()
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for data, size, at in ((first, 2, None), (second, 4, kill)):
        print("fit", flush=True)
        callbacks = [_kill_at(at), outlast.Resume(every=0.0)]
        model.fit(data.batch(size), epochs=1, steps_per_epoch=5, callbacks=callbacks, verbose=0)
    print("{}")


@pytest.mark.parametrize("shared", [True, False])
def test_endless_data_that_two_fits_share_are_told_before_the_second(scripts, shared) -> None:
    # In the process that begins, and in one that passes over the first call.
    for kill, code in ((3, 9), (None, 0)):
        scripts.run("test_sources:two_fits", shared=shared, kill=kill, code=code)
        _, first, second = scripts.log.split("fit\n")
        assert TOLD not in first
        assert (TOLD in second) == shared


def one_fit(*, data: str, kill: int | None) -> None:
    import keras
    import tensorflow as tf

    import outlast
    from trainer.keras.scripts import _kill_at

    keras.utils.set_random_seed(1)
    x, y = tf.ones((24, 3)), tf.ones((24, 1))
    rows = tf.data.Dataset.from_tensor_slices((x, y))
    given = {
        "arrays": {"x": x, "y": y, "batch_size": 4},
        "fewer": {"x": x, "y": y, "batch_size": 8},
        "shuffled": {"x": rows.shuffle(24, seed=3).batch(4)},
        "in order": {"x": rows.batch(4)},
    }
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callbacks = [_kill_at(kill), outlast.Resume(every=0.0)]
    model.fit(**given[data], epochs=2, callbacks=callbacks, verbose=0)
    print("{}")


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("arrays", "shuffled", "it was arrays of 6 batches and is a tf.data pipeline of 6 batches"),
        ("arrays", "fewer", "it was arrays of 6 batches and is arrays of 3 batches"),
        ("shuffled", "in order", "the pipeline is made of other steps than it was"),
    ],
)
def test_other_data_are_refused_in_one_line(scripts, before, now, told) -> None:
    scripts.run("test_sources:one_fit", data=before, kill=3, code=9)
    saved = scripts.checkpoints()
    scripts.run("test_sources:one_fit", data=now, kill=None, code=1)
    line = scripts.log.splitlines()[-1]
    assert f" was taken in other training data: {told}; give fit the data that it had, or" in line
    assert "Traceback" not in scripts.log
    assert scripts.checkpoints().items() <= saved.items()
    # Given back, it goes on; over, it is told only.
    scripts.run("test_sources:one_fit", data=before, kill=None)
    scripts.run("test_sources:one_fit", data="fewer", kill=None)
    assert "is not trained on, though its data are others" in scripts.log


def validated() -> None:
    """Validation data that differ from run to run, then some that do not."""
    import keras
    import tensorflow as tf

    import outlast

    keras.utils.set_random_seed(1)
    rows = tf.data.Dataset.from_tensor_slices((tf.ones((24, 3)), tf.ones((24, 1))))
    noisy = rows.map(lambda x, y: (x + tf.random.normal([3]), y))
    endless, finite = rows.shuffle(24, seed=3).repeat(), rows.shuffle(24, seed=3)
    for held, steps in ((endless, 2), (noisy, None), (finite, None), (finite.take(9), None)):
        print("fit", flush=True)
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        given = {"validation_data": held.batch(4), "validation_steps": steps}
        model.fit(rows.batch(4), epochs=1, callbacks=[outlast.Resume()], verbose=0, **given)


def test_validation_data_that_no_two_runs_see_alike_are_told(scripts) -> None:
    scripts.run("test_sources:validated")
    _, endless, noisy, *others = scripts.log.split("fit\n")
    assert "the validation data come from an endless shuffle().repeat()" in endless
    assert "in the validation data, a map draws random numbers" in noisy
    assert not any("validation" in each for each in others)
