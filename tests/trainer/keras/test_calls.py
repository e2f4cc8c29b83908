"""Calls of ``fit`` that do not simply end: with an exception, within another, after a stop."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from trainer.keras.scripts import _data, _kill_at, _model, _told


def _raise_at(batch: int) -> Any:
    import keras

    class Pruned(keras.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, index: int, logs: Any = None) -> None:
            self.seen += 1
            if self.seen == batch:
                raise LookupError("this trial is no good")

    return Pruned()


def trials(*, kill: int | None = None, prune: int = 4) -> None:
    """Two trials; the first is given up by an exception, as a search of parameters does."""
    import outlast

    x, y = _data(40)
    models, histories = [], []
    for trial, more in enumerate([_raise_at(prune), _kill_at(kill)]):
        models.append(_model(3 + trial))
        resume = outlast.Resume(every=0.0)
        try:
            histories.append(
                models[-1].fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[more, resume])
            )
        except LookupError as error:
            print(error)
    _told(models[1], *histories)
    print(json.dumps({"first": [np.asarray(each).tolist() for each in models[0].get_weights()]}))


def test_a_call_that_raised_is_trained_again_until_it_raises(scripts, tmp_path_factory) -> None:
    from trainer.keras.conftest import Scripts

    def outcome(of: Scripts) -> list[str]:
        return [line for line in of.log.splitlines() if line.startswith("{")]

    whole = Scripts(tmp_path_factory.mktemp("trials"))
    whole.run("test_calls:trials")
    assert "trains it again, from its beginning" in whole.log
    scripts.run("test_calls:trials", kill=9, code=9)
    scripts.run("test_calls:trials")
    assert "going on after step 1" in scripts.log
    assert "it is trained again, unsaved, until it does" in scripts.log
    assert scripts.log.count("this trial is no good") == 1
    assert outcome(scripts) == outcome(whole)
    # And once all is over.
    scripts.run("test_calls:trials")
    assert outcome(scripts) == outcome(whole)


def within(*, kill: int | None = None) -> None:
    """A callback that trains a model of its own."""
    import keras

    import outlast

    x, y = _data(16)

    class Helper(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            other = _model(2)
            other.fit(x, y, epochs=1, verbose=0, callbacks=[outlast.Resume()])

    model = _model()
    callbacks = [Helper(), _kill_at(kill), outlast.Resume(every=0.0)]
    history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
    _told(model, history)


def test_a_call_within_another_is_not_counted(scripts, tmp_path_factory) -> None:
    from trainer.keras.conftest import Scripts

    whole = Scripts(tmp_path_factory.mktemp("within")).run("test_calls:within")
    scripts.run("test_calls:within", kill=6, code=9)
    assert "that inner call is not saved" in scripts.log
    assert scripts.run("test_calls:within") == whole


def again() -> None:
    """Stops and calls fit again in the same process, as one does in a notebook."""
    import os
    import signal

    import keras

    import outlast

    class Stop(keras.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, index: int, logs: Any = None) -> None:
            Stop.seen += 1
            if Stop.seen == 6:
                os.kill(os.getpid(), signal.SIGINT)

    x, y = _data(40)
    resume = outlast.Resume()
    for _ in range(2):
        model = _model()
        try:
            history = model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[Stop(), resume])
        except SystemExit:
            print("stopped")
            model = None
    _told(model, history)


def test_after_a_stop_the_same_process_can_go_on(scripts, tmp_path_factory) -> None:
    from trainer.keras.conftest import Scripts

    whole = Scripts(tmp_path_factory.mktemp("whole")).run("test_calls:plain")
    assert scripts.run("test_calls:again") == whole
    assert scripts.log.count("stopped\n") == 1
    assert "going on after step 6" in scripts.log


def plain() -> None:
    x, y = _data(40)
    model = _model()
    _told(model, model.fit(x, y, batch_size=8, epochs=3, verbose=0))
