"""The state of Keras' own callbacks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from outlast.keras_fit import callbacks_state
from outlast.plain import decode, encode


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def moved(records):
    plain, arrays = encode(records)
    return decode(plain, arrays)


def test_min_delta_is_negated_once(keras) -> None:
    def make():
        callback = keras.callbacks.EarlyStopping("loss", min_delta=0.25, patience=2)
        callback.set_model(SimpleNamespace(metrics=[], stop_training=False))
        callback.on_train_begin()
        return callback

    old = make()
    baselines = callbacks_state.Baselines([old])
    old.on_epoch_end(0, {"loss": 1.0})
    old.on_epoch_end(1, {"loss": 0.9})
    assert (old.min_delta, old.wait, old.best) == (-0.25, 1, 1.0)
    new = make()
    callbacks_state.restore([new], moved(baselines.capture()))
    assert (new.min_delta, new.wait, new.best) == (-0.25, 1, 1.0)
    for each in (old, new):
        each.on_epoch_end(2, {"loss": 0.8})
    assert new.min_delta == old.min_delta
    assert new.model.stop_training
    assert old.model.stop_training


def logger(keras, path, *rows):
    callback = keras.callbacks.CSVLogger(path)
    callback.on_train_begin()
    baselines = callbacks_state.Baselines([callback])
    for epoch, value in enumerate(rows):
        callback.on_epoch_end(epoch, {"loss": value})
    return callback, baselines


def test_a_csv_is_cut_and_continued(keras, tmp_path) -> None:
    path = tmp_path / "log.csv"
    callback, baselines = logger(keras, path, 1.0, 2.0)
    records = moved(baselines.capture())
    callback.on_epoch_end(2, {"loss": 3.0})  # of an epoch that will be trained again
    new = keras.callbacks.CSVLogger(path)
    assert callbacks_state.prepare([new], records) == []
    new.on_train_begin()
    callbacks_state.restore([new], records)
    new.on_epoch_end(2, {"loss": 4.0})
    new.on_train_end()
    assert path.read_text().split() == [
        "epoch,loss,val_loss",
        "0,1.0,NA",
        "1,2.0,NA",
        "2,4.0,NA",
    ]


def test_a_csv_that_lost_rows_is_told(keras, tmp_path) -> None:
    path = tmp_path / "log.csv"
    _, baselines = logger(keras, path, 1.0, 2.0)
    records = moved(baselines.capture())
    path.write_text("")
    (trouble,) = callbacks_state.prepare([keras.callbacks.CSVLogger(path)], records)
    assert "write it below the outputs folder" in trouble


def test_a_passed_fit_leaves_files_alone(keras, tmp_path) -> None:
    path = tmp_path / "log.csv"
    _, baselines = logger(keras, path, 1.0)
    records = moved(baselines.capture())
    path.write_text(path.read_text() + "later\n")
    callbacks_state.prepare([keras.callbacks.CSVLogger(path)], records, passed=True)
    assert path.read_text().endswith("later\n")


def test_callbacks_are_found_by_kind_and_order(keras) -> None:
    old = [keras.callbacks.History(), keras.callbacks.TerminateOnNaN(), keras.callbacks.History()]
    baselines = callbacks_state.Baselines(old)
    old[0].history["a"] = [1.0]
    old[2].history["b"] = [2.0]
    records = moved(baselines.capture())
    new = [keras.callbacks.History(), keras.callbacks.ProgbarLogger(), keras.callbacks.History()]
    assert callbacks_state.restore(new, records) == ["TerminateOnNaN"]
    assert new[0].history == {"a": [1.0]}
    assert new[2].history == {"b": [2.0]}
