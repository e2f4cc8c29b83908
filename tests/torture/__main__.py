"""Kill -9 of the program, of the daemon, of both, before exact system calls; then what is left.

``python -m torture --points N --seed S``: jobs of ten points or so, two at a time, the seed
printed: the same seed gives the same points (not the same interleaving of the processes). What is
checked after each: every checkpoint that has a manifest, in scratch and in the store, loads with
the bytes of its step (else torn, or wrong); none that was said to be durable is lost, and the
next attempt goes on from it in empty folders. Last line: ``N points, 0 torn, 0 lost, 0 wrong``;
exit code 0 only then. Writes ``bench/out/torture.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torture import keras_chain
from torture.chain import Chain
from torture.gate import works
from torture.tally import Tally

OUT = Path(__file__).resolve().parents[2] / "bench" / "out"
POINTS_A_CHAIN = 12
KERAS_POINTS_A_CHAIN = 6
LIMIT = 1140.0
"""Seconds: what was not begun by then is not; too few points fail."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument(
        "--keras", type=int, default=24, help="points with Keras, beside the others"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not works():
        print("torture stops processes by the numbers of system calls on x86-64 Linux")
        return 1
    if options.worker is not None:
        return _work(options)
    print(f"seed {options.seed}", flush=True)
    begun = time.monotonic()
    tally = Tally()
    for line in _lines(options):
        found = json.loads(line)
        each = Tally(**found["tally"])
        each.kinds = Counter(each.kinds)
        tally.add(each)
        print(_told(found["seed"], found["seconds"], each), flush=True)
    seconds = time.monotonic() - begun
    figures = {
        "seed": options.seed,
        "asked": options.points,
        "seconds": round(seconds, 1),
        "seconds_a_point": round(seconds / max(1, tally.points), 3),
        **vars(tally),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "torture.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    for kind, count in sorted(tally.kinds.items()):
        print(f"{count:5} {kind}")
    print(f"{seconds:.0f} s, {tally.missed} points were not reached")
    print(f"{tally.points} points, {tally.torn} torn, {tally.lost} lost, {tally.wrong} wrong")
    bad = tally.torn or tally.lost or tally.wrong or tally.points < options.points + options.keras
    return 1 if bad else 0


def _lines(options: argparse.Namespace) -> Iterator[str]:
    """What the workers say, a line a chain."""
    command = [
        sys.executable, "-m", "torture", "--points", str(options.points),
        "--seed", str(options.seed), "--workers", str(options.workers),
        "--keras", str(options.keras), "--worker",
    ]  # fmt: skip
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OUTLAST_")}
    read, write = os.pipe()
    environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    workers = [
        subprocess.Popen([*command, str(number)], stdout=write, env=environ)
        for number in range(options.workers + bool(options.keras))
    ]
    os.close(write)
    with os.fdopen(read) as lines:
        yield from lines
    for worker in workers:
        if worker.wait():
            raise SystemExit(f"a worker ended with {worker.returncode}")


def _work(options: argparse.Namespace) -> int:
    """This worker's share of the chains; one more worker has those with Keras."""
    if options.worker == options.workers:
        keras_chain.imported()
        return _chains(options, keras_chain.KerasChain, options.keras, KERAS_POINTS_A_CHAIN)
    share = options.points // options.workers
    share += options.worker < options.points % options.workers
    return _chains(options, Chain, share, POINTS_A_CHAIN)


def _chains(options: argparse.Namespace, kind: Any, left: int, most: int) -> int:
    until = time.monotonic() + LIMIT
    number = options.worker
    while left > 0 and time.monotonic() < until:
        seed = options.seed * 10_000 + number
        number += options.workers + 1
        folder = Path(tempfile.mkdtemp(prefix=f"outlast-torture-{seed}-"))
        begun = time.monotonic()
        tally = kind(folder, seed, min(left, most)).run()
        if tally.faults:
            tally.faults.append(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
        left -= tally.points
        told = {"seed": seed, "seconds": time.monotonic() - begun, "tally": vars(tally)}
        os.write(1, json.dumps(told).encode() + b"\n")
    return 0


def _told(seed: int, seconds: float, tally: Tally) -> str:
    what = "; ".join(tally.faults) or "all whole"
    return f"chain {seed}: {tally.points} points in {seconds:.1f} s: {what}"


if __name__ == "__main__":
    sys.exit(main())
