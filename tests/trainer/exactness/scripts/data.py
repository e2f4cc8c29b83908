"""Scripts that differ in where their batches come from; each is what a user would write."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.exactness.scripts.pieces import BATCH, SAMPLES, Trained, compiled, samples

Resume = list[Any]
"""``[outlast.Resume()]``, or nothing for the twin without the callback."""


def _fit(resume: Resume, data: Any, *, epochs: int = 3, **options: Any) -> Trained:
    model = compiled()
    history = model.fit(data, epochs=epochs, verbose=0, callbacks=[*resume], **options)
    return Trained([model], [history], samples(8, seed=9)[0])


def _slices() -> Any:
    return tf.data.Dataset.from_tensor_slices(samples())


def shuffled(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().shuffle(SAMPLES).batch(BATCH).prefetch(2))


def shuffled_small_buffer(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().shuffle(10, seed=5).batch(BATCH, drop_remainder=True), epochs=4)


def shuffled_after_batch(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().batch(BATCH).shuffle(4).prefetch(tf.data.AUTOTUNE))


def shuffled_once(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES, seed=5, reshuffle_each_iteration=False)
    return _fit(resume, data.batch(BATCH))


def parallel_map(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES)
    data = data.map(lambda x, y: (x * 2.0 - 1.0, y), num_parallel_calls=tf.data.AUTOTUNE)
    return _fit(resume, data.batch(BATCH, num_parallel_calls=2).prefetch(tf.data.AUTOTUNE))


def cached(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().map(lambda x, y: (x + 1.0, y)).cache().shuffle(SAMPLES)
    return _fit(resume, data.batch(BATCH).prefetch(1))


def filtered(resume: Resume) -> Trained:
    """Cardinality is unknown until the first epoch is over."""
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES).filter(lambda x, y: x[0] > -0.8)
    return _fit(resume, data.batch(BATCH))


def filtered_without_jit(resume: Resume) -> Trained:
    """Keras runs a phantom step at the end of each epoch here."""
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES).filter(lambda x, y: x[0] > -0.8).batch(BATCH)
    model = compiled(jit_compile=False)
    history = model.fit(data, epochs=3, verbose=0, callbacks=[*resume])
    return Trained([model], [history], samples(8, seed=9)[0])


def interleaved(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()

    def part(index: Any) -> Any:
        rows = tf.data.Dataset.from_tensor_slices((x, y))
        return rows.shard(4, index)

    data = tf.data.Dataset.range(4).interleave(part, cycle_length=2, num_parallel_calls=2)
    return _fit(resume, data.shuffle(SAMPLES).batch(BATCH))


def shuffled_inside_interleave(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()

    def part(index: Any) -> Any:
        return tf.data.Dataset.from_tensor_slices((x, y)).shard(4, index).shuffle(6)

    return _fit(resume, tf.data.Dataset.range(4).interleave(part, cycle_length=2).batch(BATCH))


def two_shuffles(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES).map(lambda x, y: (x, y * 2.0)).batch(BATCH).shuffle(3)
    return _fit(resume, data, epochs=4)


def three_shuffles(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(20).shuffle(10, seed=1).batch(BATCH).shuffle(3)
    return _fit(resume, data, epochs=4)


def listed_files(resume: Resume) -> Trained:
    """``list_files`` shuffles by itself; then lines of the files, shuffled again."""
    keras.utils.set_random_seed(7)
    x, y = samples()
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    for part in range(4):
        rows = np.concatenate([x, y], axis=1)[part::4]
        np.savetxt(folder / f"part-{part}.csv", rows, delimiter=",", fmt="%.6f")

    def parsed(line: Any) -> Any:
        row = tf.strings.to_number(tf.strings.split(line, ","))
        row = tf.ensure_shape(row, (5,))
        return row[:4], row[4:]

    data = tf.data.Dataset.list_files("data/*.csv").interleave(
        tf.data.TextLineDataset, cycle_length=2, num_parallel_calls=tf.data.AUTOTUNE
    )
    return _fit(resume, data.map(parsed).shuffle(SAMPLES).batch(BATCH).prefetch(1), epochs=4)


def image_folder(resume: Resume) -> Trained:
    """Keras shuffles the names of the files once, and a buffer of images in every epoch."""
    keras.utils.set_random_seed(7)
    draw = np.random.default_rng(5)
    for kind in ("cat", "dog"):
        folder = Path("images", kind)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(22):
            pixels = draw.integers(0, 255, (4, 4, 1), dtype="uint8")
            (folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    data = keras.utils.image_dataset_from_directory(
        "images", image_size=(4, 4), color_mode="grayscale", batch_size=BATCH, verbose=False
    )
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dropout(0.2)]
    model = compiled(
        keras.Sequential([keras.Input((4, 4, 1)), *layers, keras.layers.Dense(1)]),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    history = model.fit(data, epochs=3, verbose=0, callbacks=[*resume])
    return Trained([model], [history], draw.normal(size=(4, 4, 4, 1)).astype("float32"))


def timeseries(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples(SAMPLES + 3)
    data = keras.utils.timeseries_dataset_from_array(
        x[:, 0], y[3:], sequence_length=4, batch_size=BATCH, shuffle=True
    )
    return _fit(resume, data)


def shuffle_repeat(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES).repeat().batch(BATCH)
    return _fit(resume, data, epochs=4, steps_per_epoch=6)


def repeat_shuffle(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    data = _slices().repeat().shuffle(16).batch(BATCH)
    return _fit(resume, data, steps_per_epoch=6)


def shuffle_repeat_thrice(resume: Resume) -> Trained:
    """A finite repeat after a shuffle: three passes within each epoch."""
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().take(16).shuffle(16).repeat(3).batch(BATCH))


def plain_repeat(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().batch(BATCH).repeat(), steps_per_epoch=6)


def steps_across_passes(resume: Resume) -> Trained:
    """``steps_per_epoch`` is less than a pass: epochs begin in the middle of one."""
    keras.utils.set_random_seed(7)
    data = _slices().shuffle(SAMPLES).batch(BATCH)
    return _fit(resume, data, epochs=3, steps_per_epoch=4)


def unshuffled(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _slices().batch(BATCH))


def dictionaries(resume: Resume) -> Trained:
    """Two named inputs and a weight for each sample."""
    keras.utils.set_random_seed(7)
    x, y = samples()
    weight = np.linspace(0.5, 1.5, SAMPLES, dtype="float32")
    rows = ({"left": x[:, :2], "right": x[:, 2:]}, y, weight)
    data = tf.data.Dataset.from_tensor_slices(rows).shuffle(SAMPLES).batch(BATCH)
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    hidden = keras.layers.Dropout(0.2)(keras.layers.concatenate([left, right]))
    model = compiled(keras.Model({"left": left, "right": right}, keras.layers.Dense(1)(hidden)))
    history = model.fit(data, epochs=3, verbose=0, callbacks=[*resume])
    return Trained([model], [history], {"left": x[:8, :2], "right": x[:8, 2:]})


def arrays(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    model = compiled()
    history = model.fit(x, y, batch_size=BATCH, epochs=4, verbose=0, callbacks=[*resume])
    return Trained([model], [history], x[:8])


def arrays_in_order(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    model = compiled()
    history = model.fit(
        x, y, batch_size=BATCH, epochs=3, verbose=0, shuffle=False, callbacks=[*resume]
    )
    return Trained([model], [history], x[:8])


def tensors(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = (tf.constant(part) for part in samples())
    model = compiled()
    history = model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0, callbacks=[*resume])
    return Trained([model], [history], x[:8])


def arrays_by_batch(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    model = compiled()
    history = model.fit(
        x, y, batch_size=BATCH, epochs=3, verbose=0, shuffle="batch", callbacks=[*resume]
    )
    return Trained([model], [history], x[:8])


def class_weights(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    labels = (y[:, 0] > 0).astype("int32")
    model = compiled(
        keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.2), keras.layers.Dense(2)]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    history = model.fit(
        x,
        labels,
        batch_size=BATCH,
        epochs=3,
        verbose=0,
        class_weight={0: 1.0, 1: 2.5},
        callbacks=[*resume],
    )
    return Trained([model], [history], x[:8])


def sample_weights(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    weight = np.linspace(0.1, 2.0, SAMPLES, dtype="float32")
    model = compiled()
    history = model.fit(
        x, y, sample_weight=weight, batch_size=BATCH, epochs=3, verbose=0, callbacks=[*resume]
    )
    return Trained([model], [history], x[:8])


class Batches(keras.utils.PyDataset):
    """Shuffles itself after each epoch with Python's generator, as the documentation shows."""

    def __init__(self, *, reshuffle: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.x, self.y = samples()
        self.order = list(range(SAMPLES))
        self.reshuffle = reshuffle

    def __len__(self) -> int:
        return math.ceil(SAMPLES / BATCH)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * BATCH : (index + 1) * BATCH]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self) -> None:
        if self.reshuffle:
            random.shuffle(self.order)


def pydataset(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, Batches())


def pydataset_shuffled_by_keras(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, Batches(reshuffle=False), shuffle=True)


def pydataset_in_order(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, Batches(reshuffle=False), shuffle=False)


def pydataset_with_workers(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, Batches(workers=2, max_queue_size=4), shuffle=False)


def generator(resume: Resume) -> Trained:
    """A plain generator can only be read from its start."""
    keras.utils.set_random_seed(7)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        x, y = samples()
        while True:
            for start in range(0, SAMPLES, BATCH):
                yield x[start : start + BATCH], y[start : start + BATCH]

    return _fit(resume, batches(), steps_per_epoch=6)


def from_generator(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    signature = (tf.TensorSpec((4,), tf.float32), tf.TensorSpec((1,), tf.float32))
    data = tf.data.Dataset.from_generator(
        lambda: zip(x, y, strict=True), output_signature=signature
    )
    return _fit(resume, data.shuffle(SAMPLES).batch(BATCH))


def py_function(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)

    def doubled(x: Any, y: Any) -> Any:
        x = tf.ensure_shape(tf.numpy_function(lambda a: a * np.float32(2), [x], tf.float32), (4,))
        return x, y

    return _fit(resume, _slices().shuffle(SAMPLES).map(doubled).batch(BATCH))


def random_map(resume: Resume) -> Trained:
    """Augmentation by a stateful random operation, one element at a time."""
    keras.utils.set_random_seed(7)
    data = _slices().map(lambda x, y: (x + tf.random.normal((4,), stddev=0.1), y))
    return _fit(resume, data.shuffle(SAMPLES).batch(BATCH))


def parallel_random_map(resume: Resume) -> Trained:
    """As above in parallel: two uninterrupted runs differ already."""
    keras.utils.set_random_seed(7)
    data = _slices().map(
        lambda x, y: (x + tf.random.normal((4,), stddev=0.1), y), num_parallel_calls=4
    )
    return _fit(resume, data.shuffle(SAMPLES).batch(BATCH))


def stateless_random_map(resume: Resume) -> Trained:
    """Augmentation as it should be: the seed is a function of the element's place."""
    keras.utils.set_random_seed(7)

    def augmented(place: Any, row: Any) -> Any:
        x, y = row
        return x + tf.random.stateless_normal((4,), seed=(3, place)), y

    data = _slices().shuffle(SAMPLES).enumerate().map(augmented, num_parallel_calls=2)
    return _fit(resume, data.batch(BATCH))


def sampled_from(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    one, two = (_slices().shard(2, part).shuffle(SAMPLES).repeat() for part in (0, 1))
    data = tf.data.Dataset.sample_from_datasets([one, two], [0.3, 0.7], seed=5)
    return _fit(resume, data.batch(BATCH), steps_per_epoch=6)


def zipped(resume: Resume) -> Trained:
    """Inputs and targets read side by side, shuffled after."""
    keras.utils.set_random_seed(7)
    x, y = samples()
    inputs, targets = (tf.data.Dataset.from_tensor_slices(part) for part in (x, y))
    data = tf.data.Dataset.zip((inputs, targets)).shuffle(SAMPLES).batch(BATCH)
    return _fit(resume, data)


def unseeded(resume: Resume) -> Trained:
    """No seed anywhere: every process shuffles differently."""
    data = _slices().shuffle(SAMPLES).batch(BATCH)
    return _fit(resume, data)


def arrays_unseeded(resume: Resume) -> Trained:
    """The same, as most people write it; which samples an epoch sees must not depend on a stop."""
    x, y = samples()
    model = compiled()
    history = model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0, callbacks=[*resume])
    return Trained([model], [history], x[:8])


def pydataset_unseeded(resume: Resume) -> Trained:
    return _fit(resume, Batches())
