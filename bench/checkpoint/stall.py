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
"""Steps from one save to the next, at least."""
FIRST = 8
SECONDS = 100.0
"""After which no more is saved."""
EPOCHS = 10_000
"""More than there will be."""


def measure(size: str, folder: Path) -> dict[str, Any]:
    """``stall_ms`` and the others of :func:`around_saves` for the state of ``size``."""
    return around_saves(models.model(size), models.batches(size, 1 << 20), folder)


def around_saves(
    made: Any, data: Any, folder: Path, *, epoch: int | None = None, saves: int = 20
) -> dict[str, Any]:
    """``stall_ms``: the longest of all saves, the first of the process among them.

    ``control_ms`` is the same figure for as many places without a save: what the machine's own
    unrest makes of it. ``epoch`` is how many batches ``data`` have; where they end, and a buffer
    is filled anew, nothing is saved. A save begins when the one before is written.
    """
    import keras

    import outlast
    from outlast.run import Run

    began: list[float] = []
    note = began.append  # not the list: what a callback changes is saved, and this one grows
    saved: list[int] = []

    until = time.monotonic() + SECONDS

    def over() -> bool:
        enough = len(saved) >= saves or time.monotonic() > until
        return enough and bool(saved) and len(began) > saved[-1] + BETWEEN

    class Watch(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            note(time.perf_counter())

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = over()

    def due(run: Run) -> bool:
        now = len(began)
        if now < FIRST or (saved and now < saved[-1] + BETWEEN) or not run._saving.idle:
            return False
        if epoch is not None and not FIRST <= now % epoch < epoch - FIRST:
            return False
        saved.append(now - 1)
        return True

    original, Run.due = Run.due, due  # type: ignore[method-assign,assignment]
    try:
        callbacks = [Watch(), outlast.Resume(folder=folder / "ours")]
        made.fit(data, epochs=EPOCHS, verbose=0, callbacks=callbacks)
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
        "control_ms": max(excess(place - 5) for place in saved[1:]),
        "snapshot_step_ms": statistics.median(
            (took[place] - median) * 1e3 for place in saved[: len(each)]
        ),
        "step_ms": median * 1e3,
        "warm_copy_ms": limits.warm_copy(state) * 1e3,
        "saves": len(each),
    }
