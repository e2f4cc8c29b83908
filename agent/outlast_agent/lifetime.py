"""How long this machine has lived, over restarts of the daemon and of the machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from outlast.durable import read_json, replace_file


@dataclass(frozen=True)
class Life:
    """A machine's life so far. Times are CLOCK_MONOTONIC of this boot, in seconds."""

    path: Path
    boot_id: str
    since: float
    """When the first daemon of this boot began."""
    before: float
    """Seconds lived in earlier boots, as far as they were written down."""

    def lived(self, now: float) -> float:
        """Seconds until ``now``."""
        return self.before + max(0.0, now - self.since)

    def write(self, now: float) -> None:
        """Note it down. Raises OSError."""
        value = {"boot_id": self.boot_id, "since": self.since, "lived": self.lived(now)}
        value["before"] = self.before
        replace_file(self.path, json.dumps(value).encode(), fsync=False)


def read_life(path: Path, boot_id: str, now: float) -> Life:
    """What was written down before; a new life if nothing was, or it cannot be read."""
    try:
        value = read_json(path)
        if value["boot_id"] == boot_id:
            return Life(path, boot_id, float(value["since"]), float(value["before"]))
        return Life(path, boot_id, now, float(value["lived"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Life(path, boot_id, now, 0.0)
