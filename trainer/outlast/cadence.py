"""When to save, and what to do about the step under way when a notice comes. Pure.

The interval between saves is Young's, sqrt(2 * cost * time between losses), from J. W. Young, "A
first order approximation to the optimum checkpoint interval", CACM 17(9), 1974; bounded so that
saves never take more than one percent of the training time.
"""

from __future__ import annotations

import math
from typing import Literal

MAX_OVERHEAD = 0.01
"""Saves take at most this part of the training time."""
BETWEEN_LOSSES = 600.0
"""Seconds between two losses without notice that are reckoned with. Spot machines have fewer,
but a save that is cheap may be made often: its cost has a bound of its own."""
SHORTEST, LONGEST = 5.0, 600.0
"""Seconds; bounds of the interval where the cost of a save does not ask for more."""
_INTERFERENCE = 0.1  # of the time that the writer's thread works: it takes memory bandwidth


def interval(blocked: float, background: float, *, every: float | None = None) -> float:
    """Seconds from one save to the next.

    ``blocked`` is how long training stood still for the latest save, ``background`` how long
    its writing took meanwhile, both in seconds. ``every`` is the user's wish; None: chosen.
    """
    if every is not None:
        return every
    cost = blocked + _INTERFERENCE * background
    young = math.sqrt(2 * cost * BETWEEN_LOSSES)
    bounded = min(max(young, SHORTEST), LONGEST)
    return max(bounded, cost / MAX_OVERHEAD, 2 * background)


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
