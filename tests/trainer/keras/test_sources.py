"""What is told about the data of a ``fit`` call."""

from __future__ import annotations

import pytest

TOLD = "an earlier fit call read from the same endless shuffle().repeat()"


def two_fits(*, shared: bool) -> None:
    """Two phases over endless data, which they share or make each for itself."""
    import keras
    import tensorflow as tf

    import outlast

    keras.utils.set_random_seed(1)
    rows = tf.data.Dataset.from_tensor_slices((tf.ones((24, 3)), tf.ones((24, 1))))

    def endless() -> tf.data.Dataset:
        return rows.shuffle(24, seed=3).repeat()

    first = endless()
    second = first if shared else endless()
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for data, size in ((first, 2), (second, 4)):
        print("fit")
        callbacks = [outlast.Resume()]
        model.fit(data.batch(size), epochs=1, steps_per_epoch=5, callbacks=callbacks, verbose=0)
    print("{}")


@pytest.mark.parametrize("shared", [True, False])
def test_endless_data_that_two_fits_share_are_told_before_the_second(scripts, shared) -> None:
    for _ in range(2):  # also where the first call is passed over
        scripts.run("test_sources:two_fits", shared=shared)
        first, second = scripts.log.split("fit\n")[1:]
        assert TOLD not in first
        assert (TOLD in second) == shared
        (scripts.folder / ".outlast").rename(scripts.folder / "gone") if not shared else None
        break
