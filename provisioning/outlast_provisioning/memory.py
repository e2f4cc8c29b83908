"""What a controller remembers of one job between two looks. Losing it only makes it wait longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from outlast.cadence import BETWEEN_LOSSES
from outlast_agent.records import Beat, Record
from outlast_provisioning.placement import Experience

T = TypeVar("T", bound=Record)


@dataclass
class Memory:
    """Times are this controller's monotonic clock, seconds."""

    first_seen: dict[str, float] = field(default_factory=dict)
    """When each key of the store was first seen."""
    asked: dict[int, float] = field(default_factory=dict)
    """When the machine of a launch was got from its provider."""
    experience: dict[str, Experience] = field(default_factory=dict)
    """By name of pool."""
    given: dict[str, float] = field(default_factory=dict)
    """The notice that machines of a pool really had, by name of pool."""
    between_losses: float = BETWEEN_LOSSES
    """Seconds from one loss of what was not saved to the next, as far as it is known."""
    retry_ask: dict[int, float] = field(default_factory=dict)
    """Not to ask again for a launch before then."""
    failing: dict[int, float] = field(default_factory=dict)
    """Since when the machine of a launch could not be asked for."""
    undeleted: dict[str, str] = field(default_factory=dict)
    """Why a machine could not be deleted, as it was told."""
    _records: dict[str, Record] = field(default_factory=dict)
    _beat: tuple[int, str, int, float] | None = None

    def seen(self, key: str, now: float) -> float:
        """Seconds since ``key`` was first seen."""
        return now - self.first_seen.setdefault(key, now)

    def note(self, pool: str, change: Callable[[Experience], Experience]) -> None:
        """``change`` what is known of the pool of this name."""
        self.experience[pool] = change(self.experience.get(pool, Experience()))

    def record(self, key: str, kind: type[T], read: Callable[[], T]) -> T:
        """The record at ``key``, read once: what was created never changes."""
        found = self._records.get(key)
        if not isinstance(found, kind):
            found = read()
            self._records[key] = found
        return found

    def beat_age(self, beat: Beat, now: float) -> float:
        """Seconds since the beat last changed, for this reader."""
        known = self._beat
        seen = (beat.launch, beat.boot_id, beat.sequence)
        if known is None or known[:3] != seen:
            self._beat = (*seen, now)
            return 0.0
        return now - known[3]
