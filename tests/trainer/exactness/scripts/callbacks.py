"""Scripts that differ in what their callbacks keep, and where."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

from trainer.exactness.scripts.pieces import Trained, compiled
from trainer.exactness.scripts.training import Resume, _fit


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
