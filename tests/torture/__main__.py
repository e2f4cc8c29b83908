"""A job that everything is done to, point by point; then what is left of it.

``python -m torture --seed S``: chains of ten points or so, some at a time, the seed printed: the
same seed gives the same points (not the same interleaving of the processes). The families are in
:data:`FAMILIES`: kills before exact system calls, a store that fails, attempts that go on beside
their successor, hostile programs, restarts of a real daemon, Keras. What is checked after each:
every checkpoint that has a manifest, in scratch and in the store, loads with the bytes of its step
(else torn, or wrong); none that was said to be durable is lost, and the next attempt goes on from
it in empty folders. Last line: ``N points, 0 torn, 0 lost, 0 wrong``; exit code 0 only then.
Writes ``bench/out/torture.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.stores import servers
from torture import keras_chain, places
from torture.chain import Chain
from torture.gate import works
from torture.hostile_chain import HostileChain
from torture.restart_chain import RestartChain
from torture.store_chain import StoreChain
from torture.tally import Tally
from torture.zombie_chain import ZombieChain

OUT = Path(__file__).resolve().parents[2] / "bench" / "out"
FOREIGN = ("OUTLAST_", "AWS_", "AZURE_", "GOOGLE_")


@dataclass(frozen=True)
class Family:
    """A kind of chains."""

    kind: Any
    """Called with a folder, a seed, a number of points; and a place, if it is of a store."""
    points: int
    """Of all its chains, where nothing is said."""
    a_chain: int
    what: str


FAMILIES = {
    "hostile": Family(HostileChain, 400, 12, "a program that does in scratch whatever it likes"),
    "store": Family(StoreChain, 240, 8, "a store that fails: S3 and Azure servers, a full disk"),
    "zombies": Family(ZombieChain, 80, 10, "attempts that go on, stopped collectors among them"),
    "restarts": Family(RestartChain, 24, 4, "a real daemon started again while its program runs"),
    "kills": Family(Chain, 1000, 12, "kill -9 of the program, the daemon, both, at a system call"),
    "keras": Family(keras_chain.KerasChain, 24, 6, "kill -9 of a fit at a system call"),
}
"""In the order in which they are run."""
LIMIT = 1140.0
"""Seconds: what was not begun by then is not; too few points fail."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, family in FAMILIES.items():
        parser.add_argument(f"--{name}", type=int, default=family.points, help="points")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--endpoints", type=json.loads, default={}, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not works():
        print("torture stops processes by the numbers of system calls on x86-64 Linux")
        return 1
    if options.worker is not None:
        return _work(options)
    print(f"seed {options.seed}", flush=True)
    begun = time.monotonic()
    tallies = {name: Tally() for name in FAMILIES}
    with ExitStack() as running:
        for line in _lines(options, _endpoints(running)):
            found = json.loads(line)
            each = Tally(**found["tally"])
            each.kinds = Counter(each.kinds)
            tallies[found["family"]].add(each)
            print(_told(found["family"], found["seed"], found["seconds"], each), flush=True)
    return _report(options, tallies, time.monotonic() - begun)


def _report(options: argparse.Namespace, tallies: dict[str, Tally], seconds: float) -> int:
    tally = Tally()
    short = []
    for name, each in tallies.items():
        tally.add(each)
        if each.points < vars(options)[name]:
            short.append(f"{name}: {each.points} of {vars(options)[name]} points")
    figures = {
        "seed": options.seed,
        "asked": {name: vars(options)[name] for name in FAMILIES},
        "families": {name: each.points for name, each in tallies.items()},
        "seconds": round(seconds, 1),
        **vars(tally),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "torture.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    for name, each in tallies.items():
        print(f"{each.points:5} {name}: {FAMILIES[name].what}")
        for kind, count in sorted(each.kinds.items()):
            print(f"{count:11} {kind}")
    for line in short:
        print(f"too few of {line}")
    print(f"{seconds:.0f} s, {tally.missed} points were not reached")
    print(f"{tally.points} points, {tally.torn} torn, {tally.lost} lost, {tally.wrong} wrong")
    return 1 if tally.torn or tally.lost or tally.wrong or short else 0


def _endpoints(running: ExitStack) -> dict[str, str]:
    """Real servers that are started here, by the scheme of their stores."""
    folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="outlast-servers-")))
    missing = []
    found = {}
    if importlib.util.find_spec("moto") and importlib.util.find_spec("flask"):
        found["s3"] = running.enter_context(servers.moto(folder / "moto.log"))
    else:
        missing.append("no moto: pip install 'moto[server,s3]'")
    if shutil.which("azurite-blob"):
        data = folder / "azurite"
        data.mkdir()
        found["az"] = running.enter_context(servers.azurite(data, folder / "azurite.log"))
    else:
        missing.append("no azurite-blob: npm install --global azurite")
    for line in missing:
        if os.environ.get("CI_REQUIRE_ALL"):
            raise SystemExit(line)
        print(f"{line}; that store is left out", flush=True)
    return found


def _lines(options: argparse.Namespace, endpoints: dict[str, str]) -> Iterator[str]:
    """What the workers say, a line a chain."""
    command = [sys.executable, "-m", "torture", "--endpoints", json.dumps(endpoints)]
    for name in (*FAMILIES, "seed", "workers"):
        command += [f"--{name}", str(vars(options)[name])]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    read, write = os.pipe()
    environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    workers = [
        subprocess.Popen([*command, "--worker", str(number)], stdout=write, env=environ)
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
    until = time.monotonic() + LIMIT
    told = os.dup(1)
    os.dup2(2, 1)  # what is printed here is for people
    found = places.places(options.endpoints) if options.store and options.worker < 2 else []
    for index, (name, family) in enumerate(FAMILIES.items()):
        points = vars(options)[name]
        if name == "keras":
            if options.worker != options.workers or not points:
                continue
            keras_chain.imported()
            share = points
        elif options.worker == options.workers:
            continue
        else:
            share = points // options.workers + (options.worker < points % options.workers)
        first = (options.seed * 100 + index) * 1000 + options.worker
        for number in itertools.count(first, options.workers):
            if share <= 0 or time.monotonic() > until:
                break
            place = found[number // options.workers % len(found)] if name == "store" else None
            done = _chain(name, number, min(share, family.a_chain), place, told)
            if not done:
                break  # it cannot even begin, and told why
            share -= done
    return 0


def _chain(name: str, seed: int, points: int, place: places.Place | None, told: int) -> int:
    folder = Path(tempfile.mkdtemp(prefix=f"outlast-torture-{name}-{seed}-"))
    begun = time.monotonic()
    more = () if place is None else (place,)
    tally = FAMILIES[name].kind(folder, seed, points, *more).run()
    if tally.faults:
        tally.faults.append(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    seconds = time.monotonic() - begun
    line = {"family": name, "seed": seed, "seconds": seconds, "tally": vars(tally)}
    os.write(told, json.dumps(line).encode() + b"\n")
    return tally.points


def _told(name: str, seed: int, seconds: float, tally: Tally) -> str:
    what = "; ".join(tally.faults) or "all whole"
    return f"{name} {seed}: {tally.points} points in {seconds:.1f} s: {what}"


if __name__ == "__main__":
    sys.exit(main())
