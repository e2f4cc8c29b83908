"""What the callback adds to a training epoch of the digits example with a save every ten seconds.

Two things add time, and each is measured against epochs beside it, in one process:

- *watching*: epochs with the callback that save nothing, against epochs without it, a few of each
  in turn. The first epoch of every ``fit`` is left out: in it the training step is traced.
- *saving*: epochs in which one save falls against the epochs beside them in which none does.

The callback's part of an epoch's time is then ``watching + saving / every``. The ratios are taken
neighbour by neighbour, so a machine whose speed drifts does not decide them. Writes
``bench/out/overhead.json``, intervals by resampling with a fixed seed::

    {"overhead_percent": ..., "interval_95": [low, high],
     "watching_percent": ..., "watching_interval_95": [low, high],
     "saving_seconds": ..., "saving_interval_95": [low, high], ...}
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out"
EPOCHS = 4
"""Epochs of a ``fit`` that count, after one that does not."""


def medians(values: list[float], rounds: int = 4000) -> list[float]:
    """The median of ``values``, then of ``rounds`` samples from them, sorted."""
    generator = random.Random(0)
    resampled = (
        statistics.median(generator.choices(values, k=len(values))) for _ in range(rounds)
    )
    return [statistics.median(values), *sorted(resampled)]


def interval(found: list[float]) -> list[float]:
    """The 95 % interval of what :func:`medians` found."""
    _, *resampled = found
    return [resampled[int(len(resampled) * 0.025)], resampled[int(len(resampled) * 0.975)]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60, help="of fits with and without")
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

    class Clock(keras.callbacks.Callback):
        """Seconds of each epoch; no hook for a batch, which would slow Keras down."""

        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []
            self.saves: list[int] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.count, self.start = saved(), time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self.start)
            self.saves.append(saved() - self.count)

    def fit(*extra: Any) -> Clock:
        clock = Clock()
        model.fit(train, epochs=EPOCHS + 1, callbacks=[clock, *extra], verbose=0)
        del clock.seconds[0], clock.saves[0]
        return clock

    saved: Callable[[], int] = lambda: 0  # noqa: E731 - replaced once there is a run
    plain = fit().seconds

    # Watching. No save is due within this process's life.
    watched = []
    for number in range(pairs):
        resume = outlast.Resume(folder=folder, every=1e9)
        if number == 0:
            fit(resume)  # makes the run, its threads and folders
            resume = outlast.Resume(folder=folder, every=1e9)
        # The order changes from pair to pair: what a fit leaves behind hits both kinds alike.
        first, second = ((), (resume,)) if number % 2 else ((resume,), ())
        seconds = [statistics.median(fit(*extra).seconds) for extra in (first, second)]
        without, with_callback = seconds if number % 2 else reversed(seconds)
        plain.append(without)
        watched.append(with_callback / without - 1)
        progress("watching", number + 1, pairs, f"{watched[-1]:+.2%}")

    # Saving. Every second epoch or so saves.
    run = Run.current()
    run._saving._schedule._every = 2 * statistics.median(plain)
    count = 0

    def counting(*arguments: Any, own: Callable[..., None] = run.save) -> None:
        nonlocal count
        count += arguments[-1:] != ("fit",)
        own(*arguments)

    run.save = counting  # type: ignore[method-assign]
    run._saving._schedule._next = 0.0
    saved = lambda: count  # noqa: E731
    took: list[float] = []
    while len(took) < saves:
        clock = fit(outlast.Resume(folder=folder))
        beside = [s for s, n in zip(clock.seconds, clock.saves, strict=True) if n == 0]
        within = [s for s, n in zip(clock.seconds, clock.saves, strict=True) if n == 1]
        if beside:
            took.extend(seconds - statistics.median(beside) for seconds in within)
        progress("saving", len(took), saves, f"{1000 * took[-1]:.1f} ms" if took else "")

    run.flush()
    watching, saving = medians(watched), medians(took)
    shuffled = random.Random(1).sample(saving[1:], len(saving) - 1)
    together = [watching[0] + saving[0] / every]
    together += sorted(w + s / every for w, s in zip(watching[1:], shuffled, strict=True))
    return {
        "overhead_percent": round(100 * together[0], 3),
        "interval_95": [round(100 * value, 3) for value in interval(together)],
        "watching_percent": round(100 * watching[0], 3),
        "watching_interval_95": [round(100 * value, 3) for value in interval(watching)],
        "saving_seconds": round(saving[0], 5),
        "saving_interval_95": [round(value, 5) for value in interval(saving)],
        "every_seconds": every,
        "epoch_seconds": round(statistics.median(plain), 4),
        "steps_per_epoch": len(train),
        "pairs": len(watched),
        "saves": len(took),
    }


def progress(what: str, done: int, total: int, value: str) -> None:
    print(f"{what} {done} of {total}: {value}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
