"""Sizes, durations and percentages as people write them in a job file."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_NUMBER = r"(\d+(?:\.\d+)?)"
_SIZE = re.compile(_NUMBER + r" ?(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)")
_DURATION = re.compile(_NUMBER + r" ?(s|m|min|h|d)")
_SHARE = re.compile(_NUMBER + r" ?%")
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(value: Any) -> int:
    """Bytes from ``16GiB``. Raises ValueError, saying how to write it."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"write a number and a unit, like 16GiB or 500MB, not {value!r:.50}")
    size = float(match[1]) * _BYTES[match[2]]
    if not 1 <= size < 2**60:
        raise ValueError(f"write at least 1B and less than 1048576TiB, not {value}")
    return int(size)


def parse_duration(value: Any) -> float:
    """Seconds from ``30s``, ``10m``, ``12h``, ``7d``. Raises ValueError, saying how to write it."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"write a number and a unit, like 30s, 10m, 12h or 7d, not {value!r:.50}")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not 0.001 <= seconds <= 3660 * 86400.0:
        raise ValueError(f"write at least 0.001s and at most 3660d, not {value}")
    return seconds


def parse_duration_or_auto(value: Any) -> float | None:
    """As :func:`parse_duration`; None for ``auto``. Raises ValueError."""
    if value == "auto":
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"write auto, or {str(error).removeprefix('write ')}") from None


def parse_share(value: Any) -> float:
    """A part of one from ``1%`` or ``0.5%``. Raises ValueError, saying how to write it."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"write a number and %, like 1% or 0.5%, not {value!r:.50}")
    if not 0.01 <= float(match[1]) <= 50:
        raise ValueError(f"write at least 0.01% and at most 50%, not {value}")
    return float(match[1]) / 100


def share_text(share: float) -> str:
    """The text that :func:`parse_share` reads as ``share``."""
    return f"{round(100 * share, 10):g}%"


def duration_text(seconds: float | None) -> str:
    """The text that :func:`parse_duration_or_auto` reads as ``seconds``."""
    return "auto" if seconds is None else f"{repr(seconds).removesuffix('.0')}s"


def for_people(seconds: float | None) -> str:
    """A duration in at most two units: ``8 s``, ``3 min 20 s``, ``2 h 5 min``, ``6 d 1 h``."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, smaller in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    if whole >= 60:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole} s"


def size_for_people(size: int) -> str:
    """Bytes in one unit: ``512 B``, ``1.5 MB``, ``12 GB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB" if value < 999.5 else f"{value:.0f} TB"


def _schema(pattern: re.Pattern[str], example: str, *, auto: bool = False) -> WithJsonSchema:
    text = f"^(?:{pattern.pattern})$"
    if auto:
        text = f"^(?:auto|{pattern.pattern})$"
    return WithJsonSchema({"type": "string", "pattern": text, "examples": [example]})


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(lambda size: f"{size}B", return_type=str),
    _schema(_SIZE, "16GiB"),
]
"""Bytes; read from and written as text with a unit."""

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str),
    _schema(_DURATION, "7d"),
]
"""Seconds; read from and written as text with a unit."""

DurationOrAuto = Annotated[
    float | None,
    BeforeValidator(parse_duration_or_auto),
    PlainSerializer(duration_text, return_type=str),
    _schema(_DURATION, "auto", auto=True),
]
"""Seconds, or None for ``auto``."""

Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(share_text, return_type=str),
    _schema(_SHARE, "1%"),
]
"""A part of one; read from and written as a percentage."""
