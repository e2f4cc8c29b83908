"""A program that trains with the library's run, and what it printed."""

from __future__ import annotations

TRAIN = """
    import os, sys, time
    import numpy as np
    from outlast.run import Run
    from outlast.snapshot import Snapshot

    run = Run.current()
    rng = np.random.default_rng(0)
    x, step = np.zeros(100), 0
    if run.resumed:
        x, step = run.resumed.arrays["x"], run.resumed.step
        rng.bit_generator.state = run.resumed.state["rng"]

    def snapshot():
        return Snapshot(step, {"rng": rng.bit_generator.state}, {"x": x.copy()})

    def train(total=60, seconds=0.01):
        global x, step
        while step < total:
            run.step_begin()
            x += rng.normal(size=100)
            time.sleep(seconds)
            step += 1
            run.step_end(step)
            print(step, flush=True)
            if run.stop_requested:
                run.stop(snapshot())
            if run.due():
                run.save(snapshot())
        run.save(snapshot(), "end")
        run.finish()
        print("result", x.sum().hex(), flush=True)
"""


def steps(out: str) -> list[int]:
    return [int(line) for line in out.splitlines() if line.isdigit()]


def result(out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith("result"))


def at_step(process, number: int) -> list[str]:
    """Lines of output up to step ``number``."""
    lines = []
    while (line := process.stdout.readline()) and line.strip() != str(number):
        lines.append(line)
    assert line, process.stderr.read()
    return [*lines, line]
