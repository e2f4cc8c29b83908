"""What a controller can do about a job: the words between ``decide`` and ``acting``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from outlast_agent.records import AttemptEnd, Launch, Result
from outlast_provisioning.providers.base import Pool


@dataclass(frozen=True)
class Open:
    """Write the intent to have a machine, and ask for it."""

    number: int
    pool: Pool
    reason: str
    set_aside: tuple[str, ...]


@dataclass(frozen=True)
class Ask:
    """Ask (again) for the machine of an open launch."""

    launch: Launch


@dataclass(frozen=True)
class Close:
    """Close a launch, for ever."""

    launch: Launch
    reason: str
    text: str
    """One sentence, for people."""
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True)
class Delete:
    """Delete a machine."""

    provider: str
    machine: str
    launch: int


@dataclass(frozen=True)
class EndAttempt:
    """Record that an attempt is over: its machine is gone."""

    end: AttemptEnd
    launch: int
    text: str


@dataclass(frozen=True)
class Finish:
    """Record that the job is over."""

    result: Result


Action: TypeAlias = Open | Ask | Close | Delete | EndAttempt | Finish
