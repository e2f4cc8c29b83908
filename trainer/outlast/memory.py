"""How much memory this process may still take: of the machine, and of its container."""

from __future__ import annotations

import re
from pathlib import Path

_UNLIMITED = 1 << 60
"""Kernels say some number beyond this where there is no limit."""


def available(root: Path = Path("/")) -> int | None:
    """Bytes, the least of what machine and control groups have left; None: it cannot be told.

    ``root`` is where ``proc`` and ``sys`` are. Page cache counts as free, since it is given up
    when memory is asked for.
    """
    found = [each for each in (_machine(root), *_groups(root)) if each is not None]
    return min(found, default=None)


def _machine(root: Path) -> int | None:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return None if match is None else int(match[1]) << 10


def _groups(root: Path) -> list[int | None]:
    """Of this process's control group and those above it, in either version."""
    found: list[int | None] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3 or ("memory" not in parts[1].split(",") and parts[1]):
            continue
        base = root / "sys/fs/cgroup" / ("memory" if parts[1] else "")
        inside = Path(parts[2].lstrip("/"))
        # In a container the path may be the machine's, and not be there: its top is the limit.
        folders = (base / inside, *(base / each for each in inside.parents))
        found.extend(_left(folder, new=not parts[1]) for folder in folders)
    return found


def _left(folder: Path, *, new: bool) -> int | None:
    names = ("max", "current") if new else ("limit_in_bytes", "usage_in_bytes")
    limit, used = (_text(folder / f"memory.{name}").strip() for name in names)
    if not limit.isdecimal() or not used.isdecimal() or int(limit) >= _UNLIMITED:
        return None
    told = dict(re.findall(r"^(\w+) (\d+)$", _text(folder / "memory.stat"), re.MULTILINE))
    cached = sum(
        int(told.get(f"total_{kind}_file") or told.get(f"{kind}_file") or 0)
        for kind in ("inactive", "active")
    )
    return max(0, int(limit) - int(used) + cached)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
