"""Stamps for people. Nothing is decided by them."""

from __future__ import annotations

from datetime import datetime, timezone


def stamp() -> str:
    """Now, RFC 3339, UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
