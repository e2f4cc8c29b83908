"""A daemon that fails again and again: until when it makes sense to start it once more.

Whoever runs it starts it again after a failure, and it goes on from what it finds. A fault that
it finds each time would keep the machine, and what it costs, for ever. So failures in a row are
counted on the disk: once there were :data:`MOST` of them, over :data:`LEAST_SECONDS` and with
nothing more made durable in between, the attempt has failed and the machine goes. A kill does
not count; the unit and the local supervisor limit the starts for whatever cause.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from outlast.durable import read_json, replace_file

MOST = 5
LEAST_SECONDS = 120.0
"""What ails the machine may pass: a disk that is full for a minute, an engine that restarts."""
QUIET_SECONDS = 600.0
"""A failure after a life of this length begins a new row."""


@dataclass(frozen=True)
class Crashes:
    """Failures in a row."""

    boot_id: str
    count: int
    since: float
    """When the first happened, on CLOCK_MONOTONIC of this boot."""
    durable: int
    """The newest step that was durable then; -1: none was known."""

    def hopeless(self, now: float) -> bool:
        """Whether another start makes no sense."""
        return self.count >= MOST and now >= self.since + LEAST_SECONDS


def count(
    before: Crashes | None, *, boot_id: str, began: float, now: float, durable: int
) -> Crashes:
    """The row after one more failure, ``now``, of a daemon that ``began`` then."""
    if (
        before is None
        or before.boot_id != boot_id
        or durable > before.durable
        or now >= began + QUIET_SECONDS
    ):
        return Crashes(boot_id, 1, now, durable)
    return Crashes(boot_id, before.count + 1, before.since, before.durable)


def read(path: Path) -> Crashes | None:
    """What was written down; None if nothing was, or it cannot be read."""
    try:
        value = read_json(path)
        return Crashes(
            str(value["boot_id"]),
            int(value["count"]),
            float(value["since"]),
            int(value["durable"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, crashes: Crashes) -> None:
    """Note it down. Raises OSError."""
    replace_file(path, json.dumps(asdict(crashes)).encode(), fsync=False)
