"""What saving on cadence adds to the training time: alternating blocks in one ``fit``.

In every second block a save is made at its begin, and as often as the cadence says; in the others
there is none. A block is as long as the cadence, so what a save leaves to be done behind it falls
into its own block. Each block with saves is compared with the two around it.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import models

EVERY = {"small": 10.0, "big": 60.0}
"""Seconds from save to save."""
BLOCKS = {"small": 61, "big": 21}
"""How many count: they begin and end with one without saves."""
WARM = 4
"""Blocks that do not count: the first save touches its memory, and files are made."""


def measure(size: str, folder: Path) -> dict[str, Any]:
    """``overhead_percent`` with its 95 % interval."""
    return at(size, folder, EVERY[size], BLOCKS[size], "overhead")


def at(size: str, folder: Path, every: float, blocks: int, name: str) -> dict[str, Any]:
    """The same for any cadence, its fields named ``name`` and more."""
    rates = _rates(size, folder, every, WARM + blocks)[WARM:]
    return {f"{name}_{key}": value for key, value in _figures(rates, every).items()}


class Blocks:
    """Cuts the time of a training into blocks that begin with a step."""

    def __init__(self, every: float) -> None:
        self._every = every
        self.begun: list[float] = []
        self.steps: list[int] = []
        """Done at the begin of each."""
        self._done = 0
        self._saved = 0

    def step(self) -> None:
        """A step begins."""
        now = time.perf_counter()
        if not self.begun or now >= self.begun[-1] + self._every:
            self.begun.append(now)
            self.steps.append(self._done)
            print(f"block {len(self.begun)}, step {self._done}", file=sys.stderr, flush=True)
        self._done += 1

    def due(self) -> bool:
        """Whether to save: once in the second, fourth, ... of them."""
        now = len(self.begun)
        if now % 2 or self._saved == now:
            return False
        self._saved = now
        return True

    def rates(self) -> list[float]:
        """Steps a second, of each that has ended."""
        return [
            (there - here) / (end - begin)
            for (begin, end), (here, there) in zip(
                itertools.pairwise(self.begun), itertools.pairwise(self.steps), strict=True
            )
        ]


def _rates(size: str, folder: Path, every: float, count: int) -> list[float]:
    import keras

    import outlast
    from outlast.run import Run

    blocks = Blocks(every)
    step, begun = blocks.step, blocks.begun.__len__  # no more than a callback needs: it is saved

    class Watch(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            step()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = begun() > count

    def due(run: Run) -> bool:
        return run._saving.idle and blocks.due()

    made = models.model(size)
    original, Run.due = Run.due, due  # type: ignore[method-assign,assignment]
    try:
        callbacks = [Watch(), outlast.Resume(folder=folder / "ours", every=every)]
        made.fit(models.batches(size, 1 << 20), epochs=1, verbose=0, callbacks=callbacks)
        Run.current().flush(600)
    finally:
        Run.due = original  # type: ignore[method-assign]
    return blocks.rates()[:count]


def _figures(rates: list[float], every: float) -> dict[str, Any]:
    """Of rates that begin and end with a block without saves; by resampling, with a fixed seed."""
    excess = [
        statistics.mean((rates[index - 1], rates[index + 1])) / rates[index] - 1
        for index in range(1, len(rates) - 1, 2)
    ]
    generator = random.Random(0)
    means = sorted(statistics.mean(generator.choices(excess, k=len(excess))) for _ in range(10_000))
    return {
        "percent": round(100 * statistics.mean(excess), 3),
        "interval_95": [round(100 * means[int(len(means) * at)], 3) for at in (0.025, 0.975)],
        "each_percent": [round(100 * each, 2) for each in excess],
        "every_seconds": every,
        "blocks": len(rates),
    }
