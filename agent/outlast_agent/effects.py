"""What a machine does, as :mod:`outlast_agent.machine` asks for it. Performed by the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from outlast.notice import Notice
from outlast_agent.outcome import Ending


@dataclass(frozen=True)
class SetUp:
    """Bring image, code and inputs, and the newest checkpoint meanwhile."""


@dataclass(frozen=True)
class Claim:
    """Create the claim of this attempt."""

    attempt: int


@dataclass(frozen=True)
class Adopt:
    """Look for what an earlier daemon of this boot started for this attempt."""

    attempt: int


@dataclass(frozen=True)
class RecordReboot:
    """End this machine's attempt from before it restarted."""

    attempt: int


@dataclass(frozen=True)
class Restore:
    """Put the newest checkpoint into this attempt's scratch."""

    attempt: int


@dataclass(frozen=True)
class Abandon:
    """Break off the restore under way; it answers all the same."""


@dataclass(frozen=True)
class Start:
    """Start the command."""

    attempt: int


@dataclass(frozen=True)
class Tell:
    """Write the notice file for the program."""

    attempt: int
    notice: Notice


@dataclass(frozen=True)
class Publish:
    """Put the notice into the store, before anything else goes there."""

    attempt: int
    notice: Notice


@dataclass(frozen=True)
class Terminate:
    """SIGTERM to the main process."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL to all of it."""


@dataclass(frozen=True)
class Flush:
    """Make durable what can be, until the monotonic ``until`` (None: until it is done)."""

    until: float | None


@dataclass(frozen=True)
class Record:
    """Write the attempt's end (and outputs and result, if it finished)."""

    attempt: int
    ending: Ending


@dataclass(frozen=True)
class Acknowledge:
    """Tell the cloud that it need not wait."""

    notice: Notice


@dataclass(frozen=True)
class Say:
    """An event for people."""

    kind: str
    text: str


@dataclass(frozen=True)
class PowerOff:
    """The machine goes."""

    reason: str


Effect: TypeAlias = (
    SetUp | Claim | Adopt | RecordReboot | Restore | Abandon | Start | Tell | Publish | Terminate
    | Kill | Flush | Record | Acknowledge | Say | PowerOff
)  # fmt: skip
