"""What a save costs the steps around it: the step of the snapshot and the three that follow."""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path
from typing import Any

import limits
import models

BETWEEN = 12
"""Steps from one save to the next."""
FIRST = 8


def measure(size: str, folder: Path, *, saves: int = 20) -> dict[str, Any]:
    """``stall_ms`` and the others of :func:`around_saves` for the state of ``size``."""
    made, steps = models.model(size), FIRST + saves * BETWEEN
    return around_saves(made, models.batches(size, steps), folder, epochs=1, steps=steps)


def around_saves(made: Any, data: Any, folder: Path, *, epochs: int, steps: int) -> dict[str, Any]:
    """``stall_ms``: the longest of all saves, the first of the process among them.

    ``control_ms`` is the same figure for as many places without a save: what the machine's own
    unrest makes of it. ``data`` have ``steps`` batches for each epoch; where one ends, and a
    buffer is filled anew, nothing is saved.
    """
    import keras

    import outlast
    from outlast.run import Run

    began: list[float] = []
    saved: list[int] = []

    class Watch(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            began.append(time.perf_counter())

    def due(run: Run) -> bool:
        now = len(began)
        if now < FIRST or (now - FIRST) % BETWEEN or not run._saving.idle:
            return False
        if epochs > 1 and not FIRST <= now % steps < steps - FIRST:
            return False
        saved.append(now - 1)
        return True

    original, Run.due = Run.due, due  # type: ignore[method-assign,assignment]
    try:
        callbacks = [Watch(), outlast.Resume(folder=folder / "ours")]
        made.fit(data, epochs=epochs, verbose=0, callbacks=callbacks)
        Run.current().flush(600)
    finally:
        Run.due = original  # type: ignore[method-assign]
    took = [after - before for before, after in itertools.pairwise(began)]
    near = {index for place in saved for index in range(place, place + 6)}
    median = statistics.median(
        each for index, each in enumerate(took) if index >= FIRST and index not in near
    )

    def excess(place: int) -> float:
        return (sum(took[place : place + 4]) - 4 * median) * 1e3

    state = models.state_bytes(made)
    each = [excess(place) for place in saved if place + 4 <= len(took)]
    return {
        "stall_ms": max(each),
        "stall_median_ms": statistics.median(each),
        "stall_each_ms": [round(one, 1) for one in each],
        "control_ms": max(excess(place - 4) for place in saved if place - 4 >= FIRST),
        "snapshot_step_ms": statistics.median(
            (took[place] - median) * 1e3 for place in saved[: len(each)]
        ),
        "step_ms": median * 1e3,
        "warm_copy_ms": limits.warm_copy(state) * 1e3,
        "saves": len(each),
    }
