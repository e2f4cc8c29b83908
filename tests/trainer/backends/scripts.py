"""What runs in the forked processes."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import signal
import sys
from typing import Any

import keras
import numpy as np

import outlast
from outlast.keras_fit import backends, capture
from outlast.run import Run
from trainer.exactness.scripts.pieces import compiled, samples


class _Kill(keras.callbacks.Callback):
    def __init__(self, after: int | None) -> None:
        super().__init__()
        self._after = after
        self._done = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._done += 1
        if self._after is not None:
            Run.current().flush(20.0)
            if self._done > self._after:
                os.kill(os.getpid(), signal.SIGKILL)


def _model(units: int = 5) -> Any:
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dropout(0.3), _last()]
    )


def _last() -> Any:
    return keras.layers.Dense(1)


def _told(model: Any) -> None:
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    print(digest.hexdigest())


def trained(
    *,
    kill: int | None = None,
    units: int = 5,
    version: str | None = None,
    saved_by: str | None = None,
    without: list[str] | None = None,
) -> None:
    """``saved_by``: what the checkpoint says of it. ``without``: modules that may not be there."""
    if version is not None:
        keras.__version__ = version
    if saved_by is not None:
        Run.current().resumed.state["of"] = saved_by
    keras.utils.set_random_seed(7)
    model = compiled(_model(units))
    resume = outlast.Resume(every=0.001)
    model.fit(*samples(), batch_size=16, epochs=3, verbose=0, callbacks=[_Kill(kill), resume])
    assert not {*(without or ())} & {*sys.modules}
    _told(model)


def distributed() -> None:
    """On one device that is there; refused all the same."""
    if backends.name() == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    else:  # Keras has none there yet that could be made without a second device
        kind = type("DataParallel", (), {})
        keras.distribution.distribution = functools.partial(kind)
    trained()


def of_flax() -> None:
    """As if Flax were there."""
    keras.config.is_nnx_enabled = lambda: True
    trained()


def held() -> None:
    """What is read stays as it is, unless it may be live; then nothing is copied."""
    model = compiled(_model())
    x, y = samples()

    def read(**options: Any) -> np.ndarray[Any, Any]:
        return next(iter(capture.read(capture.variables_of(model), "", **options).values()))

    first = read()
    was = first.copy()
    model.fit(x, y, verbose=0)
    assert np.array_equal(first, was)
    assert not np.array_equal(read(), was)
    one, other = read(live=True), read(live=True)
    assert one.ctypes.data == other.ctypes.data
    assert np.array_equal(one, read())


def own_loop(*, kill: int | None = None) -> None:
    keras.utils.set_random_seed(7)
    model = compiled(_model())
    x, y = samples()
    model.train_on_batch(x[:8], y[:8])
    session = outlast.Session(every=0.0001)
    session.track(model=model)
    with session:
        while (step := session.steps_done) < 6:
            model.train_on_batch(x[step : step + 8], y[step : step + 8])
            session.step()
            if session.steps_done == kill:
                Run.current().flush(20.0)
                os.kill(os.getpid(), signal.SIGKILL)
    _told(model)


def forgotten() -> None:
    """No checkpoint is left."""
    shutil.rmtree(".outlast")
