"""The notice: this machine is about to be taken away. Written by the daemon, read here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from outlast.durable import read_json, replace_json

FILE = "notice.json"


@dataclass(frozen=True)
class Notice:
    """An eviction notice as the training process sees it."""

    id: str
    """The cloud's event id: the same notice seen twice is one notice."""
    reason: str
    """``preempt``, ``terminate``, ``redeploy``, ``reboot``, ``freeze``, ``sigterm``,
    ``sigint``, ``stop``."""
    seconds_left: float
    """Seconds from the writing of the notice to the deadline, at least 0."""
    deadline_monotonic: float
    """The deadline on CLOCK_MONOTONIC of this kernel, seconds. This value rules."""
    deadline: str
    """The deadline as the cloud wrote it (RFC 3339), for people: a VM's clock may be wrong."""

    def left(self, now: float) -> float:
        """Seconds from ``now`` (CLOCK_MONOTONIC) to the deadline, never below 0."""
        return max(0.0, self.deadline_monotonic - now)


def write_notice(control: Path, notice: Notice) -> None:
    """Tell the training process. Raises OSError."""
    replace_json(control / FILE, asdict(notice), fsync=False)


def clear_notice(control: Path) -> None:
    """Take the notice back: the cloud cancelled the event. Raises OSError."""
    (control / FILE).unlink(missing_ok=True)


def read_notice(control: Path) -> Notice | None:
    """The notice in force, or None. Raises OSError or ValueError for what is not a notice."""
    try:
        value = read_json(control / FILE, limit=64 << 10)
    except FileNotFoundError:
        return None
    try:
        notice = Notice(
            id=str(value["id"]),
            reason=str(value["reason"]),
            seconds_left=float(value["seconds_left"]),
            deadline_monotonic=float(value["deadline_monotonic"]),
            deadline=str(value["deadline"]),
        )
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{control / FILE} is not a notice: {error!r}") from error
    if not math.isfinite(notice.seconds_left) or not math.isfinite(notice.deadline_monotonic):
        raise ValueError(f"{control / FILE} is not a notice: its times are not finite")
    return notice
