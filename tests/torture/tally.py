"""What came of the points."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What came of the points."""

    points: int = 0
    torn: int = 0
    lost: int = 0
    wrong: int = 0
    missed: int = 0
    """Points that were never reached; not among the ``points``."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Points by who was killed where."""
    faults: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in another one's."""
        self.points += other.points
        self.torn += other.torn
        self.lost += other.lost
        self.wrong += other.wrong
        self.missed += other.missed
        self.kinds.update(other.kinds)
        self.faults += other.faults

    def count(self, kind: str) -> None:
        """One more point, of this kind."""
        self.points += 1
        self.kinds[kind] += 1

    def fault(self, what: str, text: str) -> None:
        """Something is ``torn``, ``lost`` or ``wrong``."""
        setattr(self, what, getattr(self, what) + 1)
        self.faults.append(f"{what}: {text[:600]}")
