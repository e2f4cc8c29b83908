"""The step log that the demo's script writes: one line for each step really done. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One optimizer step, as the training script saw it."""

    attempt: int
    number: int
    """1 is the first step of the job."""
    at: float
    """CLOCK_MONOTONIC at its end, seconds."""
    loss: str
    """``repr`` of the running loss: equal text is an equal float."""


def parse_steps(lines: Iterable[str]) -> list[Step]:
    """Read whole lines; a line cut short by a kill is passed over."""
    steps = []
    for line in lines:
        fields = line.split()
        if not line.endswith("\n") or len(fields) != 4:
            continue
        attempt, number, at, loss = fields
        steps.append(Step(int(attempt), int(number), float(at), loss))
    return steps


def repeated(steps: Sequence[Step], attempt: int) -> int:
    """How many steps of ``attempt`` an earlier attempt had done already."""
    done = {step.number for step in steps if step.attempt < attempt}
    return sum(step.number in done for step in steps if step.attempt == attempt)


def skipped(steps: Sequence[Step]) -> int:
    """How many steps between the first and the last were done by no attempt; 0 when all is well."""
    numbers = {step.number for step in steps}
    return max(numbers, default=0) - len(numbers)


def different_losses(steps: Sequence[Step], reference: Sequence[Step]) -> int:
    """How many steps have another running loss than the same step of ``reference``.

    Steps that only one of the two has count as different.
    """
    mine = {(step.number, step.loss) for step in steps}
    other = {(step.number, step.loss) for step in reference}
    return len({number for number, _ in mine ^ other})
