"""When to save, and what to do about the step under way when a notice comes. Pure.

The interval between saves weighs what a save costs against what a loss costs: J. T. Daly, "A
higher order estimate of the optimum checkpoint interval for restart dumps", Future Generation
Computer Systems 22(3), 2006, equation 37; for a save that takes little of the time between two
losses that is J. W. Young's sqrt(2 * cost * time between losses), from "A first order
approximation to the optimum checkpoint interval", CACM 17(9), 1974. Above both stands a bound:
saves take no more than a given part of the training time.
"""

from __future__ import annotations

import math
from typing import Literal

MAX_OVERHEAD = 0.01
"""Saves take at most this part of the training time, if the job says nothing else."""
BETWEEN_LOSSES = 5400.0
"""Seconds between two losses of what was not saved, where nothing better is known.

The mean time between evictions M, divided by the probability q that a save at the notice fails:
spot V100s lived 1.4 to 2.9 hours in the mean (Wu and others, "Can't Be Late", NSDI 2024, its
published traces); of the lesser, and reckoned as if no save at a notice were in time."""
SHORTEST, LONGEST = 5.0, 600.0
"""Seconds; bounds of the interval where the cost of a save does not ask for more."""
INTERFERENCE = 0.1
"""Of the time that a save is written or sent behind training: it takes memory bandwidth and CPU."""


def daly(cost: float, between_losses: float) -> float:
    """The interval between two saves that loses least, in seconds; ``between_losses`` > 0.

    Of work alone, without the save. For ``cost`` << ``between_losses`` that is Young's.
    """
    if cost >= 2 * between_losses:
        return between_losses
    part = cost / (2 * between_losses)
    higher = 1 + math.sqrt(part) / 3 + part / 9
    return math.sqrt(2 * cost * between_losses) * higher - cost


def interval(
    blocked: float,
    background: float = 0.0,
    *,
    every: float | None = None,
    max_overhead: float = MAX_OVERHEAD,
    between_losses: float = BETWEEN_LOSSES,
    shortest: float = SHORTEST,
) -> float:
    """Seconds from one save to the next.

    ``blocked`` is how long training stood still for the latest save, ``background`` how long
    its writing took meanwhile, both in seconds. ``every`` is the user's wish; None: chosen.
    ``max_overhead`` > 0 is the part of the training time that saves may take.
    """
    if every is not None:
        return every
    cost = blocked + INTERFERENCE * background
    chosen = min(max(daly(cost, between_losses), shortest), LONGEST)
    return max(chosen, cost / max_overhead, 2 * background)


def at_notice(
    *,
    left: float,
    elapsed: float | None,
    expected: float | None,
    save_seconds: float | None,
) -> Literal["wait", "give-up"]:
    """Whether to wait for the step under way, so that it is saved too, or give it up.

    All in seconds: ``left`` until the deadline, ``elapsed`` since the step began (None: no step
    is under way, the program is between two), ``expected`` for the whole step (None: none was
    seen yet), ``save_seconds`` for a save from snapshot to whole in scratch (None: unknown).

    Giving up means: the newest save is what counts, and the machine may go. It is undone by the
    step that ends in time after all.
    """
    # The daemon needs about as long again to make the save durable.
    needed = 0.5 + 2.0 * (save_seconds if save_seconds is not None else 1.0)
    if elapsed is None or expected is None or elapsed > expected:
        return "wait" if left > needed else "give-up"
    return "wait" if left > needed + (expected - elapsed) else "give-up"
