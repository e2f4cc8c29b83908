"""How much of the promised notice a pool's machines really had. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from outlast_provisioning.world import AttemptView

LATEST = 5
"""So many of a pool's latest notices count: what a cloud does may get better again."""


def notices_given(attempts: Iterable[tuple[str, AttemptView]]) -> dict[str, float]:
    """The shortest of the latest eviction notices, in seconds, by name of pool.

    ``attempts``: with the names of their pools, oldest first. A notice gave what was left of it
    when the daemon saw it, or less, if the machine went sooner than it said.
    """
    seen: dict[str, list[float]] = {}
    for pool, view in attempts:
        if view.notice is None or view.notice.reason != "preempt":
            continue
        given = view.notice.seconds_left
        if view.end is not None and view.end.given_seconds is not None:
            given = min(given, view.end.given_seconds)
        seen.setdefault(pool, []).append(given)
    return {pool: min(notices[-LATEST:]) for pool, notices in seen.items()}
