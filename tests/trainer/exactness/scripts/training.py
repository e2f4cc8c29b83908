"""Scripts that differ in how they train; each is what a user would write."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.exactness.scripts.pieces import (
    BATCH,
    SAMPLES,
    Order,
    Trained,
    compiled,
    mark,
    samples,
    tiny,
)

Resume = list[Any]
"""``[outlast.Resume()]``, or nothing for the twin without the callback."""


def _data() -> Any:
    return tf.data.Dataset.from_tensor_slices(samples()).shuffle(SAMPLES).batch(BATCH)


def _held() -> Any:
    return tf.data.Dataset.from_tensor_slices(samples(20, seed=4)).batch(BATCH)


def _fit(model: Any, resume: Resume, *others: Any, epochs: int = 3, **options: Any) -> Trained:
    callbacks = [*others, *resume]
    history = model.fit(_data(), epochs=epochs, verbose=0, callbacks=callbacks, **options)
    return Trained([model], [history], samples(8, seed=9)[0])


def functional(resume: Resume) -> Trained:
    """Every layer that draws random numbers or keeps statistics."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.RandomFlip()(inputs)
    x = keras.layers.RandomTranslation(0.2, 0.2)(x)
    x = keras.layers.Conv2D(3, 2)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GaussianNoise(0.1)(keras.layers.Flatten()(x))
    model = compiled(keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dropout(0.3)(x))))
    x, y = samples(SAMPLES * 4)
    images, y = x.reshape(SAMPLES, 4, 4, 1), y[:SAMPLES]
    data = tf.data.Dataset.from_tensor_slices((images, y)).shuffle(SAMPLES).batch(BATCH)
    history = model.fit(data, epochs=3, verbose=0, callbacks=[*resume])
    return Trained([model], [history], images[:8])


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(5, activation="tanh")
        self.dropout = keras.layers.Dropout(0.3)
        self.out = keras.layers.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.out(self.dropout(self.hidden(x), training=training))


def subclassed(resume: Resume) -> Trained:
    """Has no variables before its first batch."""
    keras.utils.set_random_seed(7)
    return _fit(compiled(Subclassed()), resume)


class OwnStep(Subclassed):
    """Its own loss tracker, a raw tf.Variable, a tf.random.Generator and noise from it."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = keras.metrics.Mean(name="own_loss")
        self.momentum = tf.Variable(0.0, trainable=False)
        self.noise = tf.random.Generator.from_seed(11)

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        x = x + self.noise.normal(tf.shape(x), stddev=0.05)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            scaled = loss * (1.0 + self.momentum)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self.momentum.assign(0.9 * self.momentum + 0.1 * loss)
        self.tracker.update_state(loss)
        return {"own_loss": self.tracker.result()}


def own_train_step(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    model = OwnStep()
    model.compile(keras.optimizers.Adam(0.01))
    trained = _fit(model, resume)
    trained.more = {"momentum": model.momentum.numpy(), "noise": model.noise.state.numpy()}
    return trained


class StatefulRandomStep(Subclassed):
    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        return super().train_step((x + tf.random.normal(tf.shape(x), stddev=0.05), y))


def stateful_random_step(resume: Resume) -> Trained:
    """``tf.random.normal`` inside the step keeps its state where nobody can read it."""
    keras.utils.set_random_seed(7)
    return _fit(compiled(StatefulRandomStep()), resume)


class Gan(keras.Model):
    """Two networks, two optimizers, noise from a seed generator."""

    def __init__(self) -> None:
        super().__init__()
        self.discriminator = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)]
        )
        self.generator = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(4)]
        )
        self.seeds = keras.random.SeedGenerator(5)
        self.d_loss = keras.metrics.Mean(name="d_loss")
        self.g_loss = keras.metrics.Mean(name="g_loss")

    def compile(self, d_optimizer: Any, g_optimizer: Any) -> None:  # type: ignore[override]
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        self.loss_of = keras.losses.BinaryCrossentropy(from_logits=True)

    @property
    def metrics(self) -> list[Any]:
        return [self.d_loss, self.g_loss]

    def call(self, x: Any) -> Any:
        return self.discriminator(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        real = data[0] if isinstance(data, tuple) else data
        count = tf.shape(real)[0]
        noise = keras.random.normal((count, 2), seed=self.seeds)
        both = tf.concat([self.generator(noise), real], 0)
        labels = tf.concat([tf.ones((count, 1)), tf.zeros((count, 1))], 0)
        with tf.GradientTape() as tape:
            d_loss = self.loss_of(labels, self.discriminator(both))
        weights = self.discriminator.trainable_weights
        self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights, strict=True))
        noise = keras.random.normal((count, 2), seed=self.seeds)
        with tf.GradientTape() as tape:
            fooled = self.discriminator(self.generator(noise))
            g_loss = self.loss_of(tf.zeros((count, 1)), fooled)
        weights = self.generator.trainable_weights
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights, strict=True))
        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}


def gan(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    model = Gan()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.RMSprop(0.01))
    return _fit(model, resume)


def jit(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(compiled(jit_compile=True), resume)


def eager(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(compiled(run_eagerly=True), resume)


def several_steps_per_execution(resume: Resume) -> Trained:
    """Six batches, four at a time: the second execution of an epoch is short."""
    keras.utils.set_random_seed(7)
    return _fit(compiled(steps_per_execution=4), resume, validation_data=_held())


def mixed_float16(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    keras.mixed_precision.set_global_policy("mixed_float16")
    scaled = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.05, momentum=0.9), initial_scale=1024.0, dynamic_growth_steps=4
    )
    return _fit(compiled(optimizer=scaled), resume)


def mixed_bfloat16(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    return _fit(compiled(), resume)


def pure_bfloat16(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("bfloat16")
    return _fit(compiled(), resume)


def accumulation(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    optimizer = keras.optimizers.AdamW(0.01, gradient_accumulation_steps=4)
    return _fit(compiled(optimizer=optimizer), resume)


def ema(resume: Resume) -> Trained:
    """Averages overwrite the weights every five steps, and once at the end of ``fit``."""
    keras.utils.set_random_seed(7)
    optimizer = keras.optimizers.SGD(
        0.05, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=5
    )
    return _fit(compiled(optimizer=optimizer), resume)


def ema_at_end(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    optimizer = keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9)
    return _fit(compiled(optimizer=optimizer), resume)


def schedule(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    rate = keras.optimizers.schedules.CosineDecay(
        0.05, decay_steps=12, warmup_steps=4, warmup_target=0.1
    )
    optimizer = keras.optimizers.AdamW(rate, clipnorm=1.0)
    return _fit(compiled(optimizer=optimizer), resume)


def unfreezing(resume: Resume) -> Trained:
    """A second phase after unfreezing and compiling anew."""
    keras.utils.set_random_seed(7)
    model = tiny()
    model.layers[0].trainable = False
    compiled(model)
    first = model.fit(_data(), epochs=2, verbose=0, callbacks=[*resume], validation_data=_held())
    model.layers[0].trainable = True
    compiled(model, keras.optimizers.Adam(0.005))
    second = model.fit(_data(), epochs=2, verbose=0, callbacks=[*resume])
    return Trained([model], [first, second], samples(8, seed=9)[0])


def going_on(resume: Resume) -> Trained:
    """Three fits of one compiled model and one dataset, counted on by ``initial_epoch``."""
    keras.utils.set_random_seed(7)
    model, data = compiled(), _data()
    histories = [
        model.fit(data, initial_epoch=start, epochs=start + 2, verbose=0, callbacks=[*resume])
        for start in (0, 2, 4)
    ]
    return Trained([model], histories, samples(8, seed=9)[0])


def two_models(resume: Resume) -> Trained:
    """Cross-validation: a fresh model for each fold, judged between the fits."""
    keras.utils.set_random_seed(7)
    x, y = samples()
    models, histories, scores = [], [], []
    for fold in range(2):
        keep = np.arange(SAMPLES) % 2 != fold
        model = compiled()
        histories.append(
            model.fit(x[keep], y[keep], batch_size=4, epochs=2, verbose=0, callbacks=[*resume])
        )
        scores.append(model.evaluate(x[~keep], y[~keep], verbose=0))
        models.append(model)
    return Trained(models, histories, x[:8], {"scores": scores})


def random_between(resume: Resume) -> Trained:
    """User code between the fits draws random numbers that shape the second."""
    keras.utils.set_random_seed(7)
    model = compiled()
    first = model.fit(_data(), epochs=2, verbose=0, callbacks=[*resume])
    x, y = samples()
    x = x + np.random.normal(size=x.shape).astype("float32") * 0.1
    y = y * random.uniform(0.9, 1.1) + keras.random.normal(y.shape, stddev=0.01).numpy()
    second = model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0, callbacks=[*resume])
    return Trained([model], [first, second], x[:8])


def mirrored(resume: Resume) -> Trained:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.utils.set_random_seed(7)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = compiled()
    return _fit(model, resume, validation_data=_held())


def embedding_and_recurrence(resume: Resume) -> Trained:
    """Sparse gradients, dropout inside a recurrent cell."""
    keras.utils.set_random_seed(7)
    x, y = samples()
    words = (np.abs(x) * 10).astype("int32") % 20
    model = compiled(
        keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                keras.layers.Embedding(20, 3),
                keras.layers.GRU(3, dropout=0.2, recurrent_dropout=0.2),
                keras.layers.Dense(1),
            ]
        ),
        keras.optimizers.Adam(0.01),
    )
    data = tf.data.Dataset.from_tensor_slices((words, y)).shuffle(SAMPLES).batch(BATCH)
    history = model.fit(data, epochs=3, verbose=0, callbacks=[*resume])
    return Trained([model], [history], words[:8])


def metrics_of_many_kinds(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    model = compiled(
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[Order(), "accuracy", keras.metrics.AUC(num_thresholds=20, from_logits=True)],
        weighted_metrics=[keras.metrics.Precision(thresholds=0.0)],
    )
    labels = (y > 0).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, labels)).shuffle(SAMPLES).batch(BATCH)
    history = model.fit(data, epochs=3, verbose=0, callbacks=[*resume], validation_data=_held())
    return Trained([model], [history], x[:8])


class SlowEpochEnd(keras.callbacks.Callback):
    """Uploads a report after each epoch, say."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        time.sleep(float(os.environ.get("SLOW", "0")))


def slow_epoch_end(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(compiled(), resume, SlowEpochEnd())


class LongStep(Subclassed):
    """A step that takes long, and tells when it is under way."""

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            count = tf.cast(self.optimizer.iterations, tf.int32)
            waited = tf.numpy_function(self.wait, [count], tf.float32)
            with tf.control_dependencies([waited]):
                x = tf.identity(x)
        return super().call(x, training=training)

    @staticmethod
    def wait(count: Any) -> Any:
        mark(int(count))
        time.sleep(float(os.environ.get("SLOW", "0")))
        return np.float32(0)


def long_step(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(compiled(LongStep(), jit_compile=False), resume)


def long_execution(resume: Resume) -> Trained:
    """A whole epoch in one execution: nobody can stop in between."""
    keras.utils.set_random_seed(7)
    return _fit(compiled(LongStep(), jit_compile=False, steps_per_execution=1000), resume)


def saves_at_the_end(resume: Resume) -> Trained:
    """``try/finally: model.save`` runs at a stop, too, and does not disturb the resume."""
    keras.utils.set_random_seed(7)
    model = compiled()
    try:
        history = model.fit(_data(), epochs=3, verbose=0, callbacks=[*resume])
    finally:
        model.save("model.keras")
    return Trained([model], [history], samples(8, seed=9)[0])
