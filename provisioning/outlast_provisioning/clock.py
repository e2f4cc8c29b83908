"""Stamps for people. Nothing is decided by them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def stamp(after: float = 0.0) -> str:
    """Now, or ``after`` so many seconds: RFC 3339, UTC, to the millisecond."""
    then = datetime.now(timezone.utc) + timedelta(seconds=after)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
