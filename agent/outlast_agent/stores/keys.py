"""Which keys a store accepts: the same ones everywhere, so that no store is a surprise later."""

from __future__ import annotations

from outlast_agent.stores.base import RefusedError

MAX_KEY = 900
"""Characters. S3 and Google allow 1,024 bytes, Azure 1,024 characters; a prefix comes on top."""

MAX_PART = 240
"""Characters between two slashes. File systems allow 255 bytes."""


def check_key(key: str, *, operation: str) -> str:
    """Return ``key`` if a store may use it. Raises RefusedError naming what is wrong with it."""
    problem = _problem(key)
    if problem:
        raise RefusedError(f"{operation} of key {key[:200]!r} refused: {problem}")
    return key


def check_prefix(prefix: str, *, operation: str) -> str:
    """As :func:`check_key` for a prefix, which may be empty or end anywhere in a key."""
    complete = prefix + "x" if not prefix or prefix.endswith("/") else prefix
    # A prefix may stop in the middle of a name: "jobs/." is the start of "jobs/.hidden".
    if complete.rsplit("/", 1)[-1] in {".", ".."}:
        complete += "x"
    problem = _problem(complete)
    if problem:
        raise RefusedError(f"{operation} of prefix {prefix[:200]!r} refused: {problem}")
    return prefix


def _problem(key: str) -> str | None:
    if not key:
        return "it is empty"
    if len(key) > MAX_KEY:
        return f"it is longer than {MAX_KEY} characters"
    if not (key.isascii() and key.isprintable()) or "\\" in key:
        return "only printable ASCII without backslashes is allowed"
    for part in key.split("/"):
        if part in {"", ".", ".."}:
            return f"a part between slashes may not be {part!r}"
        if len(part) > MAX_PART:
            return f"a part between slashes is longer than {MAX_PART} characters"
    return None
