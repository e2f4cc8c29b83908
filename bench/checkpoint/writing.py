"""Making a state durable on the local disk: ours and others', against the disk itself."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import limits
import models
import numpy as np

NEW = 4
"""So many saves, the first ones, make new files; each after them writes over old ones."""
TIMES = {"small": 15, "big": 9}
PEER_TIMES = 5


def measure(size: str, folder: Path) -> dict[str, Any]:
    """Ratios of medians; the peers' are those that Keras and TensorFlow users have.

    All take turns, and the variables change before each turn. What none of the peers does is
    added to them: the files are made durable before the clock stops. The saves of a training that
    go on for hours count; ``write_new_ratio`` is that of the first :data:`NEW`.
    """
    made = models.model(size)
    state = models.state_bytes(made)
    ours = Ours(folder / "ours")
    others = {name: _durable(way, folder / name) for name, way in peers(made).items()}
    late = {name: others.pop(name) for name in ("orbax",) if name in others}
    first = _turns({"outlast": ours.save}, made, folder, NEW)
    took = _turns({"outlast": ours.save, **others}, made, folder, TIMES[size])
    ratios = _ratios(took)
    # It leaves threads behind that would work beside the others.
    ratios |= _ratios(_turns(late, made, folder, PEER_TIMES))
    processor = took.pop("processor")
    return {
        "state_bytes": state,
        "write_ratio": ratios.pop("outlast"),
        "write_new_ratio": _ratios(first)["outlast"],
        "write_seconds": [round(each, 3) for each in took["outlast"]],
        "direct_seconds": [round(each, 3) for each in took["direct"]],
        "write_cpu_seconds_per_gb": statistics.median(processor) / state * 1e9,
        "peer_write_ratios": ratios,
        "frozen_ratio": _frozen(size, folder / "frozen"),
    }


def _turns(
    ways: dict[str, Callable[[Any], None]], made: Any, folder: Path, times: int
) -> dict[str, list[float]]:
    """Seconds of each way, of a direct write, and of the processor in ours (``processor``)."""
    took: dict[str, list[float]] = {name: [] for name in ("direct", "processor", *ways)}
    for turn in range(times):
        took["direct"].append(limits.direct_write(folder / "direct", models.state_bytes(made)))
        for name, way in ways.items():
            if name != "outlast" and turn >= PEER_TIMES:
                continue  # seconds each
            models.change(made)
            used, began = _processor_seconds(), time.perf_counter()
            way(made)
            took[name].append(time.perf_counter() - began)
            if name == "outlast":
                took["processor"].append(_processor_seconds() - used)
    return took


def _ratios(took: dict[str, list[float]]) -> dict[str, float]:
    direct = statistics.median(took["direct"])
    return {
        name: statistics.median(each) / direct
        for name, each in took.items()
        if name not in ("direct", "processor")
    }


class Ours:
    """What a save of the callback is made of, from reading the variables to a durable manifest."""

    def __init__(self, folder: Path) -> None:
        from outlast.environment import Environment
        from outlast.saving import Saving

        here = Environment(folder, None, None, "bench", attempt=1, rank=0, world_size=1)
        self._saving = Saving(here, on_note=print, monotonic=time.monotonic)
        self._step = 0

    def save(self, made: Any) -> None:
        from outlast.keras_fit import capture
        from outlast.snapshot import Snapshot

        arrays = capture.read(capture.variables_of(made), "now/")
        if not self._step:
            self._saving.prepare(arrays)  # as before the first step
        self._step += 1
        self._saving.save(Snapshot(self._step, {}, arrays), "cadence")
        if not self._saving.flush(600):
            raise RuntimeError("not saved")

    @property
    def bytes_written(self) -> int:
        """Of the latest save."""
        assert self._saving.saved is not None
        return self._saving.saved.bytes


def _frozen(size: str, folder: Path) -> float:
    """Bytes written where one of twenty layers is trained, in parts of all."""
    made, ours = models.model(size, 20), Ours(folder)
    ours.save(made)
    whole = ours.bytes_written
    models.change(made, made.layers[-1].name + "/")
    for slot in made.optimizer.variables:
        if made.layers[-1].name + "_" in slot.path:
            slot.assign(slot + 1)
    ours.save(made)
    return ours.bytes_written / whole


def peers(made: Any) -> dict[str, Callable[[Any, Path], None]]:
    """What others offer: a function each, that writes the model below a folder."""
    import keras
    import tensorflow as tf
    from safetensors.numpy import save_file

    def safetensors(model: Any, path: Path) -> None:
        arrays = {str(n): np.asarray(v.numpy()) for n, v in enumerate(models.variables(model))}
        save_file(arrays, path / "model.safetensors")

    checkpoint = tf.train.Checkpoint(model=made, optimizer=made.optimizer)
    # Given a Keras 3 model it fails ("only supports singleton tf.Variables"), not so its variables.
    bare = tf.train.Checkpoint(all=[variable.value for variable in models.variables(made)])
    later = tf.train.CheckpointOptions(experimental_enable_async_checkpoint=True)

    def checkpoint_async(_model: Any, path: Path) -> None:
        bare.save(str(path / "checkpoint"), options=later)
        bare.sync()

    def backup(model: Any, path: Path) -> None:
        callback = keras.callbacks.BackupAndRestore(str(path))
        callback.set_model(model)
        callback.on_epoch_end(0)

    def orbax(model: Any, path: Path) -> None:
        callback = keras.callbacks.OrbaxCheckpoint(str(path))
        callback.set_model(model)
        callback.on_epoch_end(0)
        callback.on_train_end()

    return {
        "keras": lambda model, path: model.save(path / "model.keras"),
        "weights_h5": lambda model, path: model.save_weights(path / "model.weights.h5"),
        "checkpoint": lambda _model, path: checkpoint.write(str(path / "checkpoint")),
        "checkpoint_async": checkpoint_async,
        "backup_and_restore": backup,
        "safetensors": safetensors,
        **({"orbax": orbax} if importlib.util.find_spec("orbax") else {}),
    }


def _durable(way: Callable[[Any, Path], None], folder: Path) -> Callable[[Any], None]:
    def save(made: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        way(made, folder)
        for path in [*(each for each in folder.rglob("*") if not each.is_symlink()), folder]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    return save


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
