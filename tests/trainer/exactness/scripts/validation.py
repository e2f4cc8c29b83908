"""Scripts that differ in their validation data; each is what a user would write."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.exactness.scripts.data import Resume, _fit, _slices
from trainer.exactness.scripts.pieces import BATCH, SAMPLES, Trained, compiled, samples


def plain(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    held = tf.data.Dataset.from_tensor_slices(samples(20, seed=4)).batch(BATCH)
    return _fit(resume, _slices().shuffle(SAMPLES).batch(BATCH), validation_data=held)


def shuffled(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    held = tf.data.Dataset.from_tensor_slices(samples(20, seed=4)).shuffle(20).batch(BATCH)
    return _fit(resume, _slices().shuffle(SAMPLES).batch(BATCH), validation_data=held)


def shuffled_then_cached(resume: Resume) -> Trained:
    """As Keras' ``..._dataset_from_directory`` make them: shuffled, and then the script caches."""
    keras.utils.set_random_seed(7)
    held = tf.data.Dataset.from_tensor_slices(samples(20, seed=4)).shuffle(20).batch(BATCH)
    data = _slices().shuffle(SAMPLES).batch(BATCH)
    return _fit(resume, data, validation_data=held.cache().prefetch(1))


def arrays_every_other(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(
        resume,
        _slices().shuffle(SAMPLES).batch(BATCH),
        epochs=4,
        validation_data=samples(20, seed=4),
        validation_batch_size=BATCH,
        validation_freq=2,
    )


def steps(resume: Resume) -> Trained:
    """Validation goes on through a repeated dataset, epoch after epoch."""
    keras.utils.set_random_seed(7)
    held = tf.data.Dataset.from_tensor_slices(samples(20, seed=4)).batch(BATCH).repeat()
    return _fit(
        resume,
        _slices().shuffle(SAMPLES).batch(BATCH),
        validation_data=held,
        validation_steps=2,
    )


def split(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    x, y = samples()
    model = compiled()
    history = model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=3,
        verbose=0,
        validation_split=0.25,
        callbacks=[*resume],
    )
    return Trained([model], [history], x[:8])
