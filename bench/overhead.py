"""What the callback adds to a training epoch: blocks with and without, in turn, one process.

A block is as many epochs of the digits example as take about twelve seconds, so that a save every
ten seconds falls into each block with the callback. The ratio is taken pair by pair, so a machine
whose speed drifts does not decide it. Writes ``bench/out/overhead.json``::

    {"overhead_percent": median of the pairs, "interval_95": [low, high], "pairs": [...],
     "epoch_seconds": ..., "saves": ..., "steps_per_epoch": ...}
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out"


def bootstrap_interval(values: list[float], rounds: int = 4000) -> tuple[float, float]:
    """The 95 % interval of the median, by resampling with a fixed seed."""
    generator = random.Random(0)
    medians = sorted(
        statistics.median(generator.choices(values, k=len(values))) for _ in range(rounds)
    )
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--block-seconds", type=float, default=12.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two saves")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = tempfile.TemporaryDirectory(prefix="outlast-overhead-")

    import keras

    import outlast

    sys.path.insert(0, str(ROOT / "examples/digits"))
    import train as digits

    keras.utils.set_random_seed(1)
    train, _ = digits.build_data(32)
    model = digits.build_model(steps=100_000)

    class Clock(keras.callbacks.Callback):
        """Seconds of each epoch; no hook for a batch, which would slow Keras down."""

        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self.start)

    def block(epochs: int, *extra: Any) -> float:
        """Mean seconds of an epoch; the first, in which tracing and warming up fall, left out."""
        clock = Clock()
        model.fit(train, epochs=epochs + 1, callbacks=[clock, *extra], verbose=0)
        return statistics.fmean(clock.seconds[1:])

    once = block(6)
    epochs = max(3, round(options.block_seconds / once))
    saves_folder = Path(folder.name) / "scratch"
    pairs = []
    for number in range(options.pairs):
        resume = outlast.Resume(folder=saves_folder, every=options.every)
        # The order changes from pair to pair: what a block leaves behind hits both kinds alike.
        if number % 2:
            without, with_callback = block(epochs), block(epochs, resume)
        else:
            with_callback, without = block(epochs, resume), block(epochs)
        pairs.append(100 * (with_callback / without - 1))
        print(f"pair {number + 1}: {pairs[-1]:+.2f} %", file=sys.stderr, flush=True)
    low, high = bootstrap_interval(pairs)
    figures = {
        "overhead_percent": round(statistics.median(pairs), 3),
        "interval_95": [round(low, 3), round(high, 3)],
        "pairs": [round(value, 3) for value in pairs],
        "epoch_seconds": round(once, 4),
        "epochs_per_block": epochs,
        "every_seconds": options.every,
        "steps_per_epoch": len(train),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "overhead.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    folder.cleanup()
    return 0


if __name__ == "__main__":
    sys.exit(main())
