"""Keras without ``fit``: a loop of one's own with ``GradientTape``, Dropout and shuffled data."""

import hashlib

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import outlast

EPOCHS = 6

keras.utils.set_random_seed(7)
images, labels = load_digits(return_X_y=True)
images = (images / 16.0).astype("float32")

model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10),
    ]
)
optimizer = keras.optimizers.AdamW(1e-3)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(2000).batch(32)

session = outlast.Session()
batches = session.track(model=model, optimizer=optimizer, dataset=dataset)


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    return loss


with session:
    for epoch in range(batches.passes, EPOCHS):  # noqa: B007 - the epochs that are left
        for x, y in batches:
            loss = train_step(x, y)
            session.step(loss=float(loss))

digest = hashlib.sha256(b"".join(np.asarray(weight).tobytes() for weight in model.get_weights()))
print("accuracy", float((model.predict(images, verbose=0).argmax(1) == labels).mean()))
print("sha256", digest.hexdigest())
