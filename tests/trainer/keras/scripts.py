"""What the tests run in processes of their own; each is a small program of a user."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import numpy as np


def _data(rows: int = 40) -> tuple[Any, Any]:
    random = np.random.default_rng(5)
    return random.random((rows, 3), np.float32), random.random((rows, 1), np.float32)


def _model(units: int = 4, optimizer: str = "adam") -> Any:
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(units), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)  # quicker to trace
    return model


def _kill_at(batch: int | None, *, softly: bool = False) -> Any:
    """A callback that ends the process after this many batches, when all saves are whole.

    ``softly``: with SIGTERM, which stops it at the end of the next batch.
    """
    import keras

    class Kill(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seen = 0

        def on_train_batch_begin(self, index: int, logs: Any = None) -> None:
            from outlast.run import Run

            if self.seen == batch:
                Run.current().flush(10.0)
                if not softly:
                    os._exit(9)
                os.kill(os.getpid(), signal.SIGTERM)
            self.seen += 1

    return Kill()


def _told(model: Any, *histories: Any) -> None:
    weights = [np.asarray(value).tolist() for value in model.get_weights()]
    print(json.dumps({"history": [each.history for each in histories], "weights": weights}))


def trained(
    *,
    units: int = 4,
    version: str | None = None,
    kill: int | None = None,
    epochs: int = 4,
    built: bool = True,
    optimizer: str = "adam",
    softly: bool = False,
) -> None:
    import keras

    import outlast

    if version is not None:
        keras.__version__ = version
    model = _model(units, optimizer)
    if built:
        model.build((None, 3))
    stopping = keras.callbacks.EarlyStopping("loss", patience=3, restore_best_weights=True)
    logger = keras.callbacks.CSVLogger("log.csv")
    resume = outlast.Resume(every=0.001)
    counter = _kill_at(kill, softly=softly)
    x, y = _data()
    first = model.fit(x, y, epochs=epochs, verbose=0, callbacks=[stopping, logger, resume, counter])
    second = model.fit(x, y, epochs=3, verbose=0, callbacks=[stopping, resume, counter])
    _told(model, first, second)


def other_list() -> None:
    import keras

    import outlast

    model = _model()
    listed = keras.callbacks.CallbackList([outlast.Resume()], model=model, epochs=1)
    model.fit(*_data(), callbacks=listed)


def evaluated() -> None:
    """Resume given where it has nothing to do, then where it has."""
    import outlast

    model = _model()
    resume = outlast.Resume()
    x, y = _data()
    model.evaluate(x, y, verbose=0, callbacks=[resume])
    model.predict(x, verbose=0, callbacks=[resume])
    history = model.fit(x, y, verbose=0, callbacks=[resume, outlast.Resume()])
    _told(model, history)


def not_finite(version: str) -> None:
    import keras

    import outlast

    keras.__version__ = version
    model = _model()
    x, y = _data()
    model.fit(x * np.nan, y, epochs=3, verbose=0, callbacks=[outlast.Resume()])


def many_fits(count: int, kill: int | None = None, most: int = 64) -> None:
    """A loop of calls, as some write it; of at most ``most`` the model is kept."""
    import outlast
    from outlast.keras_fit import script

    script.KEPT_FITS, script.MOST_KEPT_FITS = min(most, script.KEPT_FITS), most

    model = _model()
    resume = outlast.Resume(every=0.001)
    killer = _kill_at(kill)
    x, y = _data(32)
    histories = [
        model.fit(x, y, epochs=1, verbose=0, callbacks=[resume, killer]) for _ in range(count)
    ]
    _told(model, *histories)


def with_callbacks(kill: int | None = None) -> None:
    """Callbacks of a user: one counts, one holds what belongs to its process, two more."""
    import keras

    import outlast

    class Counts(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.batches = 0
            self.losses: list[float] = []
            self.random = np.random.default_rng(3)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches += 1
            self.losses.append(float(self.random.random()))

    class Holds(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.pid = os.getpid()

        def on_train_begin(self, logs: Any = None) -> None:
            self.descriptor = os.open("held.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self.started_by = os.getpid()

    class Offers(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = iter(range(100))
            self.at = -1

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.at = next(self.hidden)

        def get_state(self) -> Any:
            return {"at": self.at}

        def set_state(self, state: Any) -> None:
            self.hidden = iter(range(state["at"] + 1, 100))

    class Strange(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.numbers = iter(range(100))

    counts, holds, offers = Counts(), Holds(), Offers()
    callbacks = [counts, outlast.Resume(every=0.001), holds, offers, Strange(), _kill_at(kill)]
    x, y = _data()
    _model().fit(x, y, epochs=3, verbose=0, callbacks=callbacks)
    os.write(holds.descriptor, b"x")
    mine = holds.pid == holds.started_by == os.getpid()
    values = {"batches": counts.batches, "losses": counts.losses, "at": offers.at, "mine": mine}
    print(json.dumps(values))


def custom_loop_variables() -> None:
    """Of a GAN's two optimizers, a raw variable and a model never compiled."""
    import keras
    import tensorflow as tf

    from outlast.keras_fit import capture, restoring

    class Gan(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = keras.layers.Dense(2)
            self.optimizers = {
                "d": keras.optimizers.SGD(momentum=0.9),
                "g": [keras.optimizers.Adam()],
            }

    gan = Gan()
    gan.first.build((None, 3))
    gan.built = True
    gan.optimizers["d"].build(gan.trainable_variables)
    gan.optimizers["g"][0].build(gan.trainable_variables)
    raw = [tf.Variable(1.0, name="later"), tf.Variable(2.0, name="earlier")]
    names = [each.name for each in capture.variables_of(gan, more=reversed(raw))]
    # SGD: iteration, rate, 2 momenta; Adam: iteration, rate, 2 x 2
    assert len(names) == 2 + 4 + 6 + 2, names
    assert names[-2:] == ["later", "earlier"], names

    variables = capture.variables_of(gan, more=raw)
    saved = capture.read(variables, "p/")
    raw[0].assign(7.0)
    gan.first.kernel.assign(tf.zeros((3, 2)))
    assert float(saved["p/00012 later"]) == 1.0, "a later update changed what was read"
    assert capture.mismatch(variables, saved, "p/") is None
    restoring.assign(variables, saved)
    assert float(raw[0]) == 1.0
    assert float(np.abs(gan.first.kernel).sum()) > 0

    fewer = dict(list(saved.items())[:-1])
    assert "earlier" in str(capture.mismatch(variables, fewer, "p/"))
    assert "earlier" in str(capture.mismatch(variables[:-1], saved, "p/"))
    other = {**saved, "p/00000 dense/kernel": np.zeros((4, 2), np.float32)}
    told = str(capture.mismatch(variables, other, "p/"))
    assert "dense/kernel of float32 (4, 2)" in told, told
    assert "float32 (3, 2)" in told, told


def global_generators() -> None:
    """Every generator goes on as it would have."""
    import random

    import keras
    import tensorflow as tf

    from outlast.keras_fit import randomness

    def draw() -> list[Any]:
        return [
            random.random(),
            float(np.random.rand()),
            float(tf.random.uniform(())),
            float(tf.random.get_global_generator().uniform(())),
            float(keras.random.uniform(())),
        ]

    keras.utils.set_random_seed(3)
    draw()
    state = randomness.capture()
    expected = [draw(), draw()]
    keras.utils.set_random_seed(3)
    randomness.restore(state)
    assert [draw(), draw()] == expected
