"""The wall clock, for people. Nothing is decided by it: that is for the monotonic clock."""

from __future__ import annotations

from datetime import datetime, timezone


def stamp() -> str:
    """Now, as RFC 3339."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
