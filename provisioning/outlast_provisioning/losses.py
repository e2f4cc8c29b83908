"""How often a job loses what was not saved, from what its controller saw of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from outlast.cadence import BETWEEN_LOSSES
from outlast_provisioning.world import AttemptView


def between_losses(attempts: Iterable[AttemptView]) -> float:
    """Seconds from one loss to the next, at most a week.

    The time that this controller saw attempts live, over their losses: for evictions of a mean
    time M between them, of which the save at the notice fails with probability q, that is M/q.
    To both the usual is added once, so that a few lucky or unlucky hours are not taken for the
    rule. An attempt whose life was not seen counts for neither.
    """
    lived, losses = BETWEEN_LOSSES, 1
    for view in attempts:
        seen = view.age - (view.end_age if view.end is not None else 0.0)
        if seen > 0:
            lived += seen
            losses += _lost(view)
    return min(lived / losses, 7 * 86400.0)


def _lost(view: AttemptView) -> bool:
    """Whether it ended by no fault of its program, with steps done that were not durable."""
    end = view.end
    if end is None or end.outcome not in ("lost", "yielded"):
        return False
    return end.outcome == "lost" or (end.durable_step or 0) < (end.step or 0)
