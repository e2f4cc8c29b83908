"""What each loss of a machine cost, from the step log and the times of the store. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from outlast_provisioning.demo.compare import Comparison
from outlast_provisioning.demo.steplog import Step, different_losses, repeated, skipped


@dataclass(frozen=True)
class Loss:
    """A machine that the demo took away. Times are CLOCK_MONOTONIC, seconds."""

    kind: Literal["notice", "kill"]
    attempt: int
    asked_at: float
    """When the provider was told to."""


@dataclass(frozen=True)
class StoreTimes:
    """When things appeared in the store, by attempt. CLOCK_MONOTONIC, seconds."""

    noticed: Mapping[int, float]
    """The attempt's notice was seen."""
    durable: Mapping[int, float]
    """The attempt's last checkpoint."""


@dataclass(frozen=True)
class LossCost:
    """What one loss cost. Durations in seconds; None: not applicable to a kill."""

    kind: Literal["notice", "kill"]
    attempt: int
    stopped_step: int
    """The last step that the lost attempt did."""
    resumed_step: int
    """The first step that its successor did."""
    repeated_steps: int
    notice_seen_seconds: float | None
    """From the eviction being asked for to the daemon having seen its notice."""
    flush_seconds: float | None
    """From the notice to the last checkpoint being durable."""
    recovery_seconds: float
    """From the last step before to the first step after."""
    recovery_over_start_seconds: float
    """Recovery minus what a plain start takes until the end of its first step."""


@dataclass(frozen=True)
class Report:
    """The demo's outcome; :meth:`to_json` is what ``--json`` writes."""

    losses: tuple[LossCost, ...]
    comparison: Comparison
    reference_again_equal: bool | None
    """Whether two uninterrupted runs were equal; None: not asked for."""
    steps_total: int
    steps_skipped: int
    different_losses: int
    plain_start_seconds: float
    reference_seconds: float
    job_seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing differs, nothing is missing, and no noticed eviction repeated a step."""
        return (
            self.comparison.equal
            and self.reference_again_equal is not False
            and self.steps_skipped == 0
            and self.different_losses == 0
            and all(cost.repeated_steps == 0 for cost in self.losses if cost.kind == "notice")
        )

    def to_json(self) -> dict[str, Any]:
        """Flat figures first, then one entry for each loss. Durations in seconds."""
        noticed = [cost for cost in self.losses if cost.kind == "notice"]
        killed = [cost for cost in self.losses if cost.kind == "kill"]
        return {
            "passed": self.passed,
            "evictions": len(noticed),
            "kills": len(killed),
            "steps_total": self.steps_total,
            "steps_repeated_noticed": sum(cost.repeated_steps for cost in noticed),
            "steps_repeated_killed": sum(cost.repeated_steps for cost in killed),
            "steps_skipped": self.steps_skipped,
            "variables": self.comparison.variables,
            "mismatching_variables": len(self.comparison.mismatching_variables),
            "history_equal": self.comparison.history_equal,
            "log_equal": self.comparison.log_equal,
            "different_losses": self.different_losses,
            "reference_again_equal": self.reference_again_equal,
            "notice_seen_seconds": [_round(cost.notice_seen_seconds) for cost in noticed],
            "flush_seconds": [_round(cost.flush_seconds) for cost in noticed],
            "recovery_seconds": [_round(cost.recovery_seconds) for cost in self.losses],
            "recovery_over_start_seconds": [
                _round(cost.recovery_over_start_seconds) for cost in self.losses
            ],
            "plain_start_seconds": _round(self.plain_start_seconds),
            "reference_seconds": _round(self.reference_seconds),
            "job_seconds": _round(self.job_seconds),
            "losses": [asdict(cost) for cost in self.losses],
        }


def loss_costs(
    losses: Sequence[Loss], steps: Sequence[Step], times: StoreTimes, plain_start_seconds: float
) -> tuple[LossCost, ...]:
    """The cost of each loss. Raises ValueError if an attempt or its successor did no step."""
    costs = []
    for loss in losses:
        before = [step for step in steps if step.attempt == loss.attempt]
        after = [step for step in steps if step.attempt > loss.attempt]
        if not before or not after:
            raise ValueError(f"attempt {loss.attempt} or its successor did no step")
        successor = min(after, key=lambda step: (step.attempt, step.at))
        noticed = times.noticed.get(loss.attempt) if loss.kind == "notice" else None
        durable = times.durable.get(loss.attempt)
        recovery = successor.at - before[-1].at
        costs.append(
            LossCost(
                kind=loss.kind,
                attempt=loss.attempt,
                stopped_step=before[-1].number,
                resumed_step=successor.number,
                repeated_steps=repeated(steps, successor.attempt),
                notice_seen_seconds=None if noticed is None else noticed - loss.asked_at,
                flush_seconds=None if noticed is None or durable is None else durable - noticed,
                recovery_seconds=recovery,
                recovery_over_start_seconds=recovery - plain_start_seconds,
            )
        )
    return tuple(costs)


def build_report(
    costs: tuple[LossCost, ...],
    steps: Sequence[Step],
    reference: Sequence[Step],
    comparison: Comparison,
    *,
    reference_again_equal: bool | None,
    plain_start_seconds: float,
    reference_seconds: float,
    job_seconds: float,
) -> Report:
    """Put the figures together."""
    return Report(
        losses=costs,
        comparison=comparison,
        reference_again_equal=reference_again_equal,
        steps_total=max((step.number for step in steps), default=0),
        steps_skipped=skipped(steps),
        different_losses=different_losses(steps, reference),
        plain_start_seconds=plain_start_seconds,
        reference_seconds=reference_seconds,
        job_seconds=job_seconds,
    )


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
