"""From the first read to a built model with all its variables, from a disk that has to be read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import limits
import models
import numpy as np
import writing


def measure(size: str, folder: Path, *, times: int = 5) -> dict[str, Any]:
    """Ratios of medians, each to a plain read of the files that were just restored from.

    All take turns; before each read the page cache is dropped, and before each restore the
    variables change. What was restored is compared to the bit; the ``weights_h5`` has no optimizer.
    """
    if not limits.drop_page_cache():
        return {"restore_ratio": None, "restore_note": "only root can drop the page cache"}
    made = models.model(size)
    models.change(made)
    before = [variable.numpy() for variable in models.variables(made)]
    restores = {"outlast": _ours(made, folder / "outlast"), **_peers(made, folder)}
    took: dict[str, list[float]] = {name: [] for name in restores}
    raw: dict[str, list[float]] = {name: [] for name in restores}
    for _ in range(times):
        for name, restore in restores.items():
            files = sorted(path for path in (folder / name).rglob("*") if path.is_file())
            models.change(made)
            limits.drop_page_cache()
            raw[name].append(limits.raw_read(files))
            limits.drop_page_cache()
            began = time.perf_counter()
            there = restore()
            took[name].append(time.perf_counter() - began)
            after = models.variables(there) if name != "weights_h5" else there.variables
            equal = (np.array_equal(a.numpy(), b) for a, b in zip(after, before, strict=False))
            assert all(equal), name
            del after, there
    ratios = {name: statistics.median(took[name]) / statistics.median(raw[name]) for name in took}
    return {
        "restore_ratio": ratios.pop("outlast"),
        "peer_restore_ratios": ratios,
        "restore_seconds": [round(each, 3) for each in took["outlast"]],
        "raw_read_seconds": [round(each, 3) for each in raw["outlast"]],
    }


def _ours(made: Any, folder: Path) -> Callable[[], Any]:
    from outlast.checkpoint import load_newest
    from outlast.keras_fit import capture, restoring

    writing.Ours(folder).save(made)

    def restore() -> Any:
        loaded = load_newest(folder)
        assert loaded is not None
        restoring.assign(capture.variables_of(made), loaded.arrays)
        return made

    return restore


def _peers(made: Any, folder: Path) -> dict[str, Callable[[], Any]]:
    import keras
    import tensorflow as tf

    ways = writing.peers(made)
    for name in ("keras", "weights_h5", "checkpoint"):
        (folder / name).mkdir()
        ways[name](made, folder / name)
    checkpoint = tf.train.Checkpoint(model=made, optimizer=made.optimizer)

    def weights() -> Any:
        made.load_weights(folder / "weights_h5" / "model.weights.h5")
        return made

    def checkpointed() -> Any:
        checkpoint.read(str(folder / "checkpoint" / "checkpoint")).assert_consumed()
        return made

    return {
        "keras": lambda: keras.models.load_model(folder / "keras" / "model.keras"),
        "weights_h5": weights,
        "checkpoint": checkpointed,
    }
