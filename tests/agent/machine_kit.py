"""A machine's life written down: what it is told, and what it does about it."""

from __future__ import annotations

from outlast.notice import Notice
from outlast_agent import claim, effects, events, machine

LIFETIME = 10_000.0


def notice(now: float, seconds: float = 30.0, reason: str = "preempt", id_: str = "n1") -> Notice:
    return Notice(id_, reason, seconds, now + seconds, "")


def run(*sequence: events.Event) -> tuple[machine.State, list[effects.Effect]]:
    """The state and all effects after ``sequence``."""
    state, todo = machine.begin(0.0, lifetime_left=LIFETIME)
    done = list(todo)
    for event in sequence:
        state, todo = machine.step(state, event)
        done += todo
    return state, done


TRAINING = (
    events.Judged(claim.Free(1), 0.0), events.Ready(0.0), events.ClaimWon(1, 0.0),
    events.Restored(), events.Started(0.0),
)  # fmt: skip
