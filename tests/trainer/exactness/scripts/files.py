"""Scripts whose callbacks write files; each is what a user would write."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from trainer.exactness.scripts.pieces import BATCH, SAMPLES, Trained, compiled, samples

Resume = list[Any]
"""``[outlast.Resume()]``, or nothing for the twin without the callback."""


def _outputs() -> Path:
    return Path(os.environ.get("OUTLAST_OUTPUTS", "outputs"))


def _fit(resume: Resume, *others: Any, epochs: int = 3, model: Any = None) -> Trained:
    data = tf.data.Dataset.from_tensor_slices(samples()).shuffle(SAMPLES).batch(BATCH)
    held = tf.data.Dataset.from_tensor_slices(samples(20, seed=4)).batch(BATCH)
    model = compiled() if model is None else model
    history = model.fit(
        data, epochs=epochs, verbose=0, validation_data=held, callbacks=[*others, *resume]
    )
    return Trained([model], [history], samples(8, seed=9)[0])


def csv_logger(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, keras.callbacks.CSVLogger(_outputs() / "log.csv"))


def csv_logger_appending(resume: Resume) -> Trained:
    """Two fits into one file."""
    keras.utils.set_random_seed(7)
    logger = keras.callbacks.CSVLogger(_outputs() / "log.csv", separator=";", append=True)
    first = _fit(resume, logger, epochs=2)
    second = _fit(resume, logger, epochs=2, model=first.models[0])
    return Trained(first.models, first.histories + second.histories, first.inputs)


def model_checkpoint(resume: Resume) -> Trained:
    """The best model, the weights of every epoch, and those of every fourth batch."""
    keras.utils.set_random_seed(7)
    checkpoint = keras.callbacks.ModelCheckpoint
    best = checkpoint(_outputs() / "best.keras", monitor="val_loss", save_best_only=True)
    trained = _fit(
        resume,
        best,
        checkpoint(_outputs() / "weights" / "{epoch:02d}.weights.h5", save_weights_only=True),
        checkpoint(
            _outputs() / "batches" / "{epoch:02d}-{batch:03d}.weights.h5",
            save_weights_only=True,
            save_freq=4,
        ),
        model=compiled(optimizer=keras.optimizers.SGD(0.3)),
    )
    trained.more = {"best": float(best.best)}
    return trained


def best_by_accuracy(resume: Resume) -> Trained:
    """The first best is a threshold that the user gave."""
    keras.utils.set_random_seed(7)
    best = keras.callbacks.ModelCheckpoint(
        _outputs() / "best.keras",
        monitor="order",
        mode="max",
        save_best_only=True,
        initial_value_threshold=10.0,
    )
    return _fit(resume, best)


def tensorboard(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, keras.callbacks.TensorBoard(_outputs() / "board", histogram_freq=1))


def tensorboard_by_batch(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    board = keras.callbacks.TensorBoard(_outputs() / "board", update_freq=1, write_graph=False)
    return _fit(resume, board)


class OwnLog(keras.callbacks.Callback):
    """A user's callback that keeps a file open: a line for each batch, flushed by nobody."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_train_begin(self, logs: Any = None) -> None:
        self.file = self.path.open("a", newline="")
        self.writer = csv.writer(self.file)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.writer.writerow([batch, repr(float(logs["loss"]))])

    def on_train_end(self, logs: Any = None) -> None:
        self.file.close()


def own_log(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    _outputs().mkdir(exist_ok=True)
    return _fit(resume, OwnLog(_outputs() / "own.csv"))


def everything(resume: Resume) -> Trained:
    """As people use them together; Resume stands first."""
    keras.utils.set_random_seed(7)
    return _fit(
        [],
        *resume,
        keras.callbacks.ModelCheckpoint(_outputs() / "best.keras", save_best_only=True),
        keras.callbacks.CSVLogger(_outputs() / "log.csv"),
        keras.callbacks.TensorBoard(_outputs() / "board"),
        keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        epochs=4,
    )


def backup_and_restore(resume: Resume) -> Trained:
    """Somebody had it before; it may stay, and does no harm."""
    keras.utils.set_random_seed(7)
    return _fit(resume, keras.callbacks.BackupAndRestore(_outputs() / "backup", save_freq=4))


def swap_ema(resume: Resume) -> Trained:
    """Validation sees other weights than training does."""
    keras.utils.set_random_seed(7)
    model = compiled(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8))
    return _fit(resume, keras.callbacks.SwapEMAWeights(swap_on_epoch=True), model=model)


def progress_bar(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    model = compiled()
    data = tf.data.Dataset.from_tensor_slices(samples()).shuffle(SAMPLES).batch(BATCH)
    history = model.fit(data, epochs=3, verbose=1, callbacks=[*resume])
    return Trained([model], [history], samples(8, seed=9)[0])


def terminate_on_nan(resume: Resume) -> Trained:
    """The loss is not a number from the eleventh step on, and the fit ends there."""
    keras.utils.set_random_seed(7)

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if int(self.model.optimizer.iterations) == 10:
                self.model.optimizer.learning_rate.assign(float("nan"))

    return _fit(resume, Spoil(), keras.callbacks.TerminateOnNaN(), epochs=3)
