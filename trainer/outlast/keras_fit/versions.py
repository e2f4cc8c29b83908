"""Which versions of Keras the exact resume was tested with."""

from __future__ import annotations

import re

FIRST, BEFORE = (3, 15), (3, 16)
"""From the first to before the other: each was run through all scenarios of the tests."""


def tested(version: str) -> bool:
    """Whether ``fit`` of this version of Keras is known in detail."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and FIRST <= (int(found[1]), int(found[2])) < BEFORE
