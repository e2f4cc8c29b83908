"""The daemon's own log: JSON lines, one sentence and key=value. State changes, not polls.

Never a token, never an environment value: nothing here takes a spec or an environment whole.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TextIO, TypeAlias, cast

import structlog
from structlog.typing import FilteringBoundLogger

Journal: TypeAlias = FilteringBoundLogger


class _Lossy:
    """A stream whose lines are lost while it takes none: for a full disk nothing else may end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def open_journal(stream: TextIO | None = None, **known: str | int) -> Journal:
    """A journal that writes to ``stream`` (standard error) and adds ``known`` to each line."""
    target = sys.stderr if stream is None else stream
    logger: Journal = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", _Lossy(target))),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return logger.bind(**known)
