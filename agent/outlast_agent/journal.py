"""The daemon's own log: JSON lines, one sentence and key=value. State changes, not polls.

Never a token, never an environment value: nothing here takes a spec or an environment whole.
"""

from __future__ import annotations

import sys
from typing import TextIO, TypeAlias

import structlog
from structlog.typing import FilteringBoundLogger

Journal: TypeAlias = FilteringBoundLogger


def open_journal(stream: TextIO | None = None, **known: str | int) -> Journal:
    """A journal that writes to ``stream`` (standard error) and adds ``known`` to each line."""
    target = sys.stderr if stream is None else stream
    logger: Journal = structlog.wrap_logger(
        structlog.WriteLogger(target),
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
