"""The wall clock, for people. Nothing is decided by it: that is for the monotonic clock."""

from __future__ import annotations

import time
from datetime import datetime, timezone

_YEAR = 365 * 86400.0


def stamp() -> str:
    """Now, as RFC 3339."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(stamp: str) -> float | None:
    """Seconds since ``stamp`` (RFC 3339, by whatever clock); None if that cannot be right."""
    try:
        seconds = time.time() - datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None
    return seconds if 0 <= seconds < _YEAR else None
