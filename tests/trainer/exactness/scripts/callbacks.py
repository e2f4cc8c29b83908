"""Scripts that differ in what their callbacks keep, and where."""

from __future__ import annotations

import functools
import math
import random
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.exactness.scripts.pieces import (
    Trained,
    compiled,
)
from trainer.exactness.scripts.training import Resume, _fit, _held


def early_stopping(resume: Resume) -> Trained:
    """Stops before its last epoch and brings back the best weights."""
    keras.utils.set_random_seed(7)
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=2, min_delta=0.02, restore_best_weights=True
    )
    model = compiled(optimizer=keras.optimizers.SGD(0.3, momentum=0.5))
    trained = _fit(model, resume, stopping, epochs=8, validation_data=_held())
    trained.more = {"stopped": stopping.stopped_epoch, "best": stopping.best_epoch}
    return trained


def resume_before_early_stopping(resume: Resume) -> Trained:
    """The line may stand anywhere in the list."""
    keras.utils.set_random_seed(7)
    stopping = keras.callbacks.EarlyStopping(monitor="loss", patience=1, start_from_epoch=1)
    return _fit(compiled(), [], *resume, stopping, epochs=4)


def reduce_on_plateau(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    plateau = keras.callbacks.ReduceLROnPlateau(
        monitor="val_loss", factor=0.5, patience=1, min_delta=0.05, cooldown=1
    )
    return _fit(compiled(), resume, plateau, epochs=4, validation_data=_held())


def rate_scheduler(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7)
    return _fit(compiled(), resume, scheduler)


class Counting(keras.callbacks.Callback):
    """A user's callback: counts, draws from Python's and numpy's generators, acts on the model."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.drawn: list[float] = []
        self.by_epoch: dict[int, float] = {}
        self.average = np.zeros(2)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        if batch % 2 == 0:
            self.drawn.append(random.random())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.by_epoch[epoch] = float(np.random.random())
        self.average = 0.5 * self.average + np.array([logs["loss"], self.seen])
        rate = self.model.optimizer.learning_rate
        rate.assign(rate * (0.9 + 0.1 * self.by_epoch[epoch]))


def user_callback(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    counting = Counting()
    trained = _fit(compiled(), resume, counting)
    trained.more = {
        "seen": counting.seen,
        "drawn": counting.drawn,
        "by_epoch": sorted(counting.by_epoch.items()),
        "average": counting.average,
    }
    return trained


def lambda_callback(resume: Resume) -> Trained:
    """What a callback keeps in names, lists, dicts and a generator of the script."""
    keras.utils.set_random_seed(7)
    seen: list[int] = []
    by_epoch: dict[str, list[float]] = {}
    draw = np.random.default_rng(5)
    batches, best = 0, math.inf

    def count(batch: int, logs: Any) -> None:
        nonlocal batches
        batches += 1

    def note(epoch: int, logs: Any) -> None:
        nonlocal best
        best = min(best, logs["loss"])
        for name, value in logs.items():
            by_epoch.setdefault(name, []).append(value * draw.normal())

    told = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
        on_train_batch_end=count,
        on_epoch_end=note,
    )
    trained = _fit(compiled(), resume, told)
    trained.more = {"seen": seen, "by_epoch": by_epoch, "batches": batches, "best": best}
    return trained


def ends_by_itself(resume: Resume) -> Trained:
    """TerminateOnNaN is there and never acts; ``stop_training`` ends the fit inside an epoch."""
    keras.utils.set_random_seed(7)

    class Enough(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if int(self.model.optimizer.iterations) == 15:
                self.model.stop_training = True

    return _fit(compiled(), resume, keras.callbacks.TerminateOnNaN(), Enough(), epochs=5)


class Teacher(keras.callbacks.Callback):
    """Averages of the weights: in a model of its own, and in variables."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.teacher = keras.models.clone_model(model)
        self.teacher.set_weights(model.get_weights())
        self.slow = [tf.Variable(weight) for weight in model.trainable_weights]
        self.losses: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        for average, weight in zip(self.teacher.weights, self.model.weights, strict=True):
            average.assign(average if "seed" in weight.path else 0.9 * average + 0.1 * weight)
        for average, weight in zip(self.slow, self.model.trainable_weights, strict=True):
            average.assign(0.99 * average + 0.01 * tf.convert_to_tensor(weight))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(tf.constant(logs["loss"]))


def teacher(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    model = compiled()
    mean = Teacher(model)
    trained = _fit(model, resume, mean)
    trained.more = {
        "teacher": [weight.numpy().tolist() for weight in mean.teacher.weights],
        "slow": [weight.numpy().tolist() for weight in mean.slow],
        "losses": [float(loss) for loss in mean.losses],
    }
    return trained


class Tracker:
    """An object of the script's own class."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.best: float | None = None

    def see(self, value: float) -> None:
        self.values.append(value)
        self.best = value if self.best is None else min(self.best, value)

    def see_batch(self, batch: int, logs: Any) -> None:
        self.see(logs["loss"] * batch)


def counted(into: list[int]) -> Any:
    """Decorates: how often it is called is noted."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **options: Any) -> Any:
            into.append(len(into))
            return function(*args, **options)

        return wrapper

    return decorate


def functions_of_many_kinds(resume: Resume) -> Trained:
    """Callbacks made of partial functions, bound methods, decorated ones, objects of the script."""
    keras.utils.set_random_seed(7)
    calls: list[int] = []
    noted: list[tuple[str, int]] = []
    tracker, bound = Tracker(), Tracker()

    def note(out: list[tuple[str, int]], tag: str, epoch: int, logs: Any) -> None:
        out.append((tag, epoch))

    class Told(keras.callbacks.Callback):
        @counted(calls)
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            tracker.see(logs["loss"])

    noting = keras.callbacks.LambdaCallback(
        on_epoch_begin=functools.partial(note, noted, "x"),
        on_train_batch_end=bound.see_batch,
    )
    trained = _fit(compiled(), resume, Told(), noting)
    trained.more = {"calls": calls, "noted": noted, "t": vars(tracker), "b": vars(bound)}
    return trained
