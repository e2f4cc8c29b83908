"""What happens to a machine, as :mod:`outlast_agent.machine` hears of it.

``now`` is CLOCK_MONOTONIC in seconds when it happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from outlast.notice import Notice
from outlast_agent.claim import Verdict
from outlast_agent.outcome import Ending


@dataclass(frozen=True)
class Ready:
    """Image, code and inputs are here."""

    now: float


@dataclass(frozen=True)
class NotReady:
    """They will never be."""

    ending: Ending
    now: float


@dataclass(frozen=True)
class Judged:
    """The store was read."""

    verdict: Verdict
    now: float


@dataclass(frozen=True)
class ClaimWon:
    """The claim is this daemon's."""

    attempt: int
    now: float


@dataclass(frozen=True)
class ClaimLost:
    """Somebody else was first."""

    attempt: int


@dataclass(frozen=True)
class Adopted:
    """What this boot's earlier daemon started was looked for."""

    found: bool
    now: float


@dataclass(frozen=True)
class Restored:
    """The newest checkpoint is in scratch, or there is none, or it was broken off."""


@dataclass(frozen=True)
class Started:
    """The command runs."""

    now: float


@dataclass(frozen=True)
class Refused:
    """Adopting, restoring or starting will not work."""

    ending: Ending


@dataclass(frozen=True)
class Announced:
    """The program uses the library."""


@dataclass(frozen=True)
class SaidEnd:
    """The program has written its end file and still runs."""

    now: float


@dataclass(frozen=True)
class NoticeCame:
    """The cloud takes the machine away; also when the same notice's deadline moves closer."""

    notice: Notice
    now: float


@dataclass(frozen=True)
class NoticeWent:
    """The cloud took the notice back, or its event is over."""

    id: str
    now: float


@dataclass(frozen=True)
class Exited:
    """The command has ended and nothing of it lives. ``ending`` as judged from the exit."""

    ending: Ending


@dataclass(frozen=True)
class Flushed:
    """All that can be made durable is, or the time for it is over."""


@dataclass(frozen=True)
class Recorded:
    """The attempt's end is in the store."""

    now: float


@dataclass(frozen=True)
class Tick:
    """Time passes. ``waits``: a part of the daemon is waiting for a store or an engine."""

    now: float
    waits: bool = False


Event: TypeAlias = (
    Ready | NotReady | Judged | ClaimWon | ClaimLost | Adopted | Restored | Started | Refused
    | Announced | SaidEnd | NoticeCame | NoticeWent | Exited | Flushed | Recorded | Tick
)  # fmt: skip
