"""Train a small convolutional network on scikit-learn's handwritten digits.

An ordinary Keras script. The one line that Outlast needs is ``outlast.Resume()`` at the end of
the callbacks; everything else is what you would write without it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import outlast


class StepLog(keras.callbacks.Callback):
    """Writes a line for every step, so that a repeated or skipped one cannot hide.

    Only the demo and the tests ask for it (``STEP_LOG`` in the environment). The file lies
    outside the outputs folder: it is not restored, every attempt appends to it.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_train_batch_end(self, batch, logs=None):
        attempt = os.environ.get("OUTLAST_ATTEMPT", "0")
        step = int(self.model.optimizer.iterations)
        with Path(self.path).open("a") as file:
            file.write(f"{attempt} {step} {time.monotonic():.6f} {float(logs['loss'])!r}\n")


def build_data(batch_size: int) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16.0
    split = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    train_x, test_x, train_y, test_y = split
    train = (
        tf.data.Dataset.from_tensor_slices((train_x, train_y))
        .shuffle(2048, seed=7)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )
    return train, tf.data.Dataset.from_tensor_slices((test_x, test_y)).batch(256)


def build_model(steps: int) -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
            layers.RandomRotation(0.04, fill_mode="constant"),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(48, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(24, activation="relu"),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.02)
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--plain", action="store_true", help="train without Outlast, to compare")
    options = parser.parse_args()
    outputs = Path(os.environ.get("OUTLAST_OUTPUTS", "outputs"))
    outputs.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(42)
    train, test = build_data(options.batch_size)
    model = build_model(options.epochs * len(train))
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", patience=30, restore_best_weights=True),
        keras.callbacks.CSVLogger(outputs / "log.csv"),
    ]
    if "STEP_LOG" in os.environ:
        callbacks.append(StepLog(os.environ["STEP_LOG"]))
    if not options.plain:
        callbacks.append(outlast.Resume())
    history = model.fit(
        train,
        validation_data=test,
        epochs=options.epochs,
        callbacks=callbacks,
        verbose=2,
    )

    model.save(outputs / "digits.keras")
    (outputs / "history.json").write_text(json.dumps(history.history))
    variables = [*model.variables, *model.optimizer.variables]
    named = {f"{index:03d} {v.path}": v.numpy() for index, v in enumerate(variables)}
    np.savez(outputs / "variables.npz", **named)
    print(f"best accuracy on the test set: {max(history.history['val_accuracy']):.4f}")


if __name__ == "__main__":
    main()
