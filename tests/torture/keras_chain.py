"""The same with Keras' ``fit``: killed, resumed and killed again, and at its end not a bit differs.

Children are forked from a process that has imported TensorFlow and made no operation yet.
"""

from __future__ import annotations

import hashlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outlast.checkpoint import DamagedError, checkpoints_in, load
from outlast.manifest import ManifestError
from torture.children import saying
from torture.machine import ChildEndedError, Machine, Point
from torture.tally import Tally

EPOCHS = 60
SECONDS = 60.0
"""For one run, of which some two trace the model."""
MOST = {
    "": 150, "write": 20, "pwrite64": 8, "flock": 8, "fsync": 15, "ftruncate": 8, "rename": 15,
    "openat": 25, "unlink": 8,
}  # fmt: skip
"""Up to which occurrence of a call: it comes before the end of a whole run."""


def imported() -> None:
    """Import what children need not import again."""
    import keras  # noqa: F401
    import tensorflow  # noqa: F401


def train(folder: Path | None, say: Callable[..., None]) -> None:
    """A small ``fit`` with Dropout and a shuffle; ``folder`` for its checkpoints, None: none."""
    import keras
    import numpy as np
    import tensorflow as tf

    import outlast
    from outlast.run import Run

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(300, activation="tanh"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(300, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    x = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x.sum(1))).shuffle(64).batch(8)

    class Tells(keras.callbacks.Callback):
        told = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            time.sleep(0.003)  # there are more saves so
            saved = Run.current()._saving.saved
            if saved is not None and saved.step != self.told:
                self.told = saved.step
                say(whole=saved.step)

    callbacks = []
    if folder is not None:
        callbacks = [outlast.Resume(folder / "scratch", folder / "outputs", 0.0), Tells()]
        resumed = Run.current().resumed
        say(begun=0 if resumed is None else resumed.step, wrong=None)
    history = model.fit(data, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    if folder is not None:
        Run.current().end(True)
    digest = hashlib.sha256(repr(history.history).encode())
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(np.asarray(variable).tobytes())
    say(finished=digest.hexdigest())


class KerasChain:
    """So many points of one ``fit``, in a folder of its own."""

    def __init__(self, root: Path, seed: int, points: int) -> None:
        self.tally = Tally()
        self._seed, self._points = seed, points
        self._chance = random.Random(seed)
        self._machine = Machine(root, 0, seed)

    def run(self) -> Tally:
        """All of its points, its end, and the comparison with a run that nobody killed."""
        try:
            self._run()
        except ChildEndedError as error:
            self.tally.fault("wrong", f"{error} (chain {self._seed} with Keras)")
        finally:
            self._machine.kill("writer")
        return self.tally

    def _run(self) -> None:
        machine, folder = self._machine, self._machine.home
        whole = 0
        while self.tally.points + self.tally.missed < self._points:
            name = self._chance.choice(tuple(MOST))
            count = self._chance.randint(1, MOST[name])
            point = Point("writer", name, count, ("writer",), self._chance.random() < 0.5)
            where = f"{point}; chain {self._seed} with Keras"
            writer = self._start(folder)

            def over(said: list[dict[str, Any]] = writer.said) -> bool:
                return any("finished" in each for each in said)

            call = machine.run(over, point=point, seconds=SECONDS)
            machine.kill("writer")
            if isinstance(call, bool):
                self.tally.missed += 1
            else:
                self.tally.count(f"keras at {call.name}")
            finished = over()
            begun = next((each["begun"] for each in writer.said if "begun" in each), whole)
            if begun != whole:
                self.tally.fault("lost", f"went on from step {begun}, not {whole} ({where})")
            told = max([whole, *(each["whole"] for each in writer.said if "whole" in each)])
            whole = self._newest(machine.scratch, where)
            if whole < told:
                self.tally.fault("lost", f"step {told} was whole, {whole} is left ({where})")
            if finished:
                break
        ends = []
        for each in (folder, None):
            writer = self._start(each)
            machine.run(lambda: writer.last("finished") is not None, seconds=SECONDS)  # noqa: B023
            ends.append(writer.last("finished"))
            machine.kill("writer")
        if ends[0] is None or ends[0] != ends[1]:
            self.tally.fault("wrong", f"it ends otherwise: {ends} (chain {self._seed} with Keras)")

    def _start(self, folder: Path | None) -> Any:
        def main(channel: socket.socket) -> None:
            train(folder, saying(channel))

        return self._machine.start("writer", main)

    def _newest(self, scratch: Path, where: str) -> int:
        ids = checkpoints_in(scratch)
        for id_ in ids:
            try:
                load(scratch, id_)
            except (DamagedError, ManifestError) as error:
                self.tally.fault("torn", f"{id_}: {error} ({where})")
        return ids[0].step if ids else 0
