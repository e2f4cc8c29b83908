"""What the callback adds to a training epoch of the digits example with a save every ten seconds.

Two things add time, and each is measured in one process, against what lies beside it:

- *saving*: epochs in which one save falls against the two epochs around them, in which none does;
- *watching*: the time between two steps, when ``fit`` calls its callbacks and everything of ours
  runs that is no save, in epochs with the callback against epochs without it, in turn. A whole
  epoch takes five percent more or less than the one before it, with or without a callback, so the
  ratio of whole epochs (``epochs_percent``) is told with its interval, but shows less.

The callback's part of an epoch's time is then ``watching + saving / every``. Writes
``bench/out/overhead.json``, all intervals of 95 %, by resampling with a fixed seed::

    {"overhead_percent": ..., "interval_95": [low, high],
     "watching_percent": ..., "watching_interval_95": [low, high],
     "saving_seconds": ..., "saving_interval_95": [low, high],
     "epochs_percent": ..., "epochs_interval_95": [low, high], ...}
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out"
EPOCHS = 4
"""Epochs of a ``fit`` that count, after one in which the step is traced and before a last one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40, help="of fits with and without")
    parser.add_argument("--saves", type=int, default=60)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two saves")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    with tempfile.TemporaryDirectory(prefix="outlast-overhead-") as folder:
        figures = measure(Path(folder), options.pairs, options.saves, options.every)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "overhead.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    return 0


def measure(folder: Path, pairs: int, saves: int, every: float) -> dict[str, Any]:
    """All figures; checkpoints go below ``folder``."""
    import keras
    import tensorflow as tf

    import outlast
    from outlast.run import Run

    sys.path.insert(0, str(ROOT / "examples/digits"))
    import train as digits

    keras.utils.set_random_seed(1)
    train, _ = digits.build_data(32)
    # Leaving an epoch waits for tf.data's tuning thread to wake, 10, 30, 70, 150, 310 or 630 ms
    # after the epoch began: a millisecond more or less in between may read as 300.
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    train = train.with_options(untuned)
    model = digits.build_model(steps=1_000_000)

    times = Times(model)

    class Clock(keras.callbacks.Callback):
        """Marks the epochs; no hook for a batch, which would slow Keras down."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            times.begin()

    def fit(epochs: int, *extra: Any) -> list[Epoch]:
        times.clear()
        model.fit(train, epochs=epochs + 2, callbacks=[Clock(), *extra], verbose=0)
        if extra:
            Run.current().flush()
        return times.epochs[1:]

    # Saving: in one fit, every second epoch has one save, after a batch chosen at random.
    fit(1, outlast.Resume(folder=folder, every=1e9))  # makes the run, its threads and folders
    run = Run.current()
    order = random.Random(0)
    within = [order.randrange(len(train)) if epoch % 2 else None for epoch in range(2 * saves + 4)]
    asked = iter(batch == at for at in within for batch in range(len(train) + 1))
    run.due = lambda now=None: next(asked)  # type: ignore[method-assign] # noqa: ARG005
    seconds = [epoch.seconds for epoch in fit(2 * saves + 1, outlast.Resume(folder=folder))]
    del run.due  # type: ignore[method-assign]
    took = [
        seconds[index] - (seconds[index - 1] + seconds[index + 1]) / 2
        for index in range(2, len(seconds) - 1, 2)
    ]
    progress("saving", len(took), saves, f"{1000 * statistics.median(took):.1f} ms")

    # Watching: no save is due within this process's life.
    without, with_callback = [], []
    for number in range(pairs):
        # The order changes from pair to pair: what a fit leaves behind hits both kinds alike.
        for watched in (False, True) if number % 2 else (True, False):
            if watched:
                with_callback.append(fit(EPOCHS, outlast.Resume(folder=folder, every=1e9)))
            else:
                without.append(fit(EPOCHS))
        more = loop_seconds(with_callback[-1:]) - loop_seconds(without[-1:])
        progress("watching", number + 1, pairs, f"{1000 * more:+.2f} ms an epoch")
    epoch_seconds = statistics.median(epoch.seconds for fit_ in without for epoch in fit_)

    def watching(chosen: list[int]) -> float:
        more = loop_seconds([with_callback[i] for i in chosen])
        return (more - loop_seconds([without[i] for i in chosen])) / epoch_seconds

    def saving(chosen: list[int]) -> float:
        return statistics.median(took[i] for i in chosen)

    def ratio(chosen: list[int]) -> float:
        pairs_ = [(with_callback[i], without[i]) for i in chosen]
        return statistics.median(median_seconds(a) / median_seconds(b) - 1 for a, b in pairs_)

    watch, save, whole = (
        resampled(figure, count)
        for figure, count in ((watching, pairs), (saving, len(took)), (ratio, pairs))
    )
    together = [a + b / every for a, b in zip(watch, save, strict=True)]
    return {
        "overhead_percent": percent(together[0]),
        "interval_95": [percent(value) for value in interval(together)],
        "watching_percent": percent(watch[0]),
        "watching_interval_95": [percent(value) for value in interval(watch)],
        "saving_seconds": round(save[0], 5),
        "saving_interval_95": [round(value, 5) for value in interval(save)],
        "epochs_percent": percent(whole[0]),
        "epochs_interval_95": [percent(value) for value in interval(whole)],
        "every_seconds": every,
        "epoch_seconds": round(epoch_seconds, 4),
        "steps_per_epoch": len(train),
        "pairs": pairs,
        "saves": len(took),
    }


@dataclass
class Epoch:
    """One epoch, from its beginning to the beginning of the next."""

    seconds: float
    between: list[float]
    """Seconds before the first step, between every two, and after the last."""


class Times:
    """Takes the time of a model's epochs and of what lies between its steps."""

    def __init__(self, model: Any) -> None:
        self.epochs: list[Epoch] = []
        self._marks: list[float] = []
        make = model.make_train_function

        def make_timed(force: bool = False) -> None:
            made = model.train_function
            make(force)
            if model.train_function is not made:
                model.train_function = self._timed(model.train_function)

        model.make_train_function = make_timed

    def clear(self) -> None:
        """A fit begins."""
        self.epochs, self._marks = [], []

    def begin(self) -> None:
        """An epoch begins. The last one of a fit has no end, so it is not told."""
        now, marks = time.perf_counter(), self._marks
        if len(marks) > 1:
            marks.append(now)
            between = [end - start for start, end in zip(marks[::2], marks[1::2], strict=True)]
            self.epochs.append(Epoch(now - marks[0], between))
        self._marks = [now]

    def _timed(self, function: Any) -> Any:
        names = function.__code__.co_freevars
        cell = function.__closure__[names.index("multi_step_on_iterator")]
        multi_step_on_iterator = cell.cell_contents  # by this name the callback finds the graph

        def timed(iterator: Any) -> Any:
            assert multi_step_on_iterator
            self._marks.append(time.perf_counter())
            logs = function(iterator)
            self._marks.append(time.perf_counter())
            return logs

        return timed


def loop_seconds(fits: list[list[Epoch]]) -> float:
    """Of an epoch between its steps: the median at each place, added up."""
    places = zip(*(epoch.between for fit in fits for epoch in fit), strict=True)
    return sum(statistics.median(place) for place in places)


def median_seconds(fit: list[Epoch]) -> float:
    return statistics.median(epoch.seconds for epoch in fit)


def resampled(figure: Callable[[list[int]], float], count: int, rounds: int = 1000) -> list[float]:
    """``figure`` of all numbers below ``count``, then of ``rounds`` samples from them."""
    generator = random.Random(0)
    samples = (generator.choices(range(count), k=count) for _ in range(rounds))
    return [figure(list(range(count))), *(figure(sample) for sample in samples)]


def interval(found: list[float]) -> list[float]:
    """The 95 % interval of what :func:`resampled` found."""
    values = sorted(found[1:])
    return [values[int(len(values) * 0.025)], values[int(len(values) * 0.975)]]


def percent(part: float) -> float:
    return round(100 * part, 3)


def progress(what: str, done: int, total: int, value: str) -> None:
    print(f"{what} {done} of {total}: {value}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
