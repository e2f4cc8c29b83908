"""How often a job loses something: what was seen, and the usual once."""

from __future__ import annotations

import pytest

from outlast.cadence import BETWEEN_LOSSES
from outlast_agent.records import AttemptEnd, Claim
from outlast_provisioning.losses import between_losses
from outlast_provisioning.world import AttemptView

HOUR = 3600.0


def attempt(
    hours: float, outcome: str | None = None, durable: int | None = 100, *, ended_ago: float = 0.0
) -> AttemptView:
    claim = Claim(attempt=1, launch=1, machine="m", boot_id="b", nonce="n")
    end = None
    if outcome is not None:
        end = AttemptEnd(attempt=1, by="daemon", outcome=outcome, step=100, durable_step=durable)  # type: ignore[arg-type]
    return AttemptView(claim=claim, end=end, age=hours * HOUR + ended_ago, end_age=ended_ago)


def test_the_usual_where_nothing_was_seen() -> None:
    assert between_losses([]) == BETWEEN_LOSSES
    assert between_losses([attempt(0, "lost"), attempt(0, "lost")]) == BETWEEN_LOSSES


def test_saves_in_time_are_no_losses() -> None:
    evicted = [attempt(10, "yielded") for _ in range(3)]
    assert between_losses(evicted) == 30 * HOUR + BETWEEN_LOSSES
    assert between_losses([*evicted, attempt(10, "failed", 0)]) == 40 * HOUR + BETWEEN_LOSSES
    assert between_losses([*evicted, attempt(10)]) == 40 * HOUR + BETWEEN_LOSSES
    assert between_losses([attempt(10_000)]) == 7 * 24 * HOUR


@pytest.mark.parametrize(
    "lost", [("lost", 100), ("lost", None), ("yielded", 99), ("yielded", None)]
)
def test_what_was_not_durable_is_a_loss(lost: tuple[str, int | None]) -> None:
    seen = [attempt(1, *lost, ended_ago=5 * HOUR), attempt(2, *lost)]
    assert between_losses(seen) == (3 * HOUR + BETWEEN_LOSSES) / 3
