"""The daemon's half of a flush, in a process of its own: from scratch to the store.

It prints a line of JSON for each checkpoint that becomes durable: its step, the monotonic instant,
and the processor time of this process up to then.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from pathlib import Path

from outlast_agent.board import Board
from outlast_agent.journal import open_journal
from outlast_agent.stores.open import open_store
from outlast_agent.surely import Surely
from outlast_agent.sync.cadence import Cadence
from outlast_agent.sync.collect import Rule
from outlast_agent.sync.sweep import Sweeper
from outlast_agent.sync.upload import Durable, Uploader
from outlast_agent.sync.watching import watch
from outlast_agent.sync.whole import Lineage


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scratch", type=Path)
    parser.add_argument("memory", type=Path)
    parser.add_argument("store")
    options = parser.parse_args()
    store, lineage = open_store(options.store), Lineage("bench", 1, None)
    roots = [options.scratch, options.memory]
    board, journal = Board(), open_journal()

    def surely(stop: threading.Event) -> Surely:
        return Surely(board, journal, "upload", stop)

    def durable(what: Durable) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        say(step=what.id.step, at=what.at, cpu=used.ru_utime + used.ru_stime)

    uploader = Uploader(
        store,
        roots,
        lineage,
        surely,
        cadence=Cadence(0.0),
        sweeper=Sweeper(store, lineage, Rule(3), lambda text: say(told=text)),
        on_durable=durable,
        on_refused=lambda text: say(refused=text),
        on_crash=lambda error: say(crashed=repr(error)),
    )

    for root in roots:
        (root / "checkpoints").mkdir(parents=True, exist_ok=True)
        (root / "objects" / "000001").mkdir(parents=True, exist_ok=True)
    watch(roots, 1, uploader.look)
    uploader.start()
    say(ready=True)
    for _line in sys.stdin:  # each is a notice
        uploader.rush(time.monotonic() + 600)
        say(rushing=True)


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
