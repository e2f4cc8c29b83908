"""What can still be saved, and how long that would take, from what was measured. Pure.

All times are seconds, all instants on the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from outlast.manifest import CheckpointId
from outlast.progress import Progress
from outlast_agent import budget
from outlast_agent.budget import Candidate, Plan

FIRST_SAVE_SECONDS = 1.0
"""A save that was never seen is taken to need so long, as the library takes it."""


@dataclass(frozen=True)
class Outlook:
    """One attempt at one moment."""

    attempt: int
    progress: Progress | None
    """What the program says; None: nothing yet."""
    size: int
    """Bytes of a whole save, as far as known; 0: none was ever seen."""
    waiting: tuple[Candidate, ...] = ()
    """What is whole in scratch and not durable, the newest first."""
    under_way: int = 0
    """Bytes of requests that cannot be recalled."""
    rate: float | None = None
    """Of uploads."""

    def full(self, now: float) -> Candidate | None:
        """The save of the step under way: the rest of the step, the snapshot, writing it.

        None before the program runs, or before it is known how large a save is.
        """
        said = self.progress
        if said is None or (said.save_bytes is None and not self.size):
            return None
        rest = max(0.0, (said.rest_seconds or 0.0) - max(0.0, now - said.at_monotonic))
        ready_in = rest + (said.snapshot_seconds or 0.0) + self._save_seconds
        return Candidate(CheckpointId(self.attempt, said.step + 1), self._missing, False, ready_in)

    def plan(self, left: float, now: float) -> Plan:
        """What to make durable in ``left`` seconds."""
        begun = {each.id: each for each in (*self._being_written(now), *self.waiting)}
        return budget.plan(
            list(begun.values()),
            rate=self.rate,
            left=left,
            full=self.full(now),
            under_way=self.under_way,
        )

    def flush_seconds(self, now: float) -> float | None:
        """What making everything durable would take now, the step under way included.

        It is taken to need as much as the newest save that waits, if that is more. None before
        the rate of uploads and the size of a save are known.
        """
        full = self.full(now)
        if full is None:
            return None
        missing = max([full.missing, *(each.missing for each in self.waiting[:1])])
        seconds = budget.flush_seconds(missing, self.rate)
        return None if seconds is None else full.ready_in + seconds

    def _being_written(self, now: float) -> list[Candidate]:
        said = self.progress
        if said is None or said.saving_step is None:
            return []
        so_far = (said.saving_seconds or 0.0) + max(0.0, now - said.at_monotonic)
        # Never 0, which means that it is whole.
        ready_in = max(0.001, self._save_seconds - so_far)
        id_ = CheckpointId(self.attempt, said.saving_step)
        return [Candidate(id_, self._missing, False, ready_in)]

    @property
    def _missing(self) -> int:
        """What a save will have to upload: as much as the latest one wrote."""
        said = self.progress
        return self.size if said is None or said.save_bytes is None else said.save_bytes

    @property
    def _save_seconds(self) -> float:
        said = self.progress
        known = None if said is None else said.save_seconds
        return FIRST_SAVE_SECONDS if known is None else known
