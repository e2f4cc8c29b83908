"""What saving adds where it is much more frequent than it would be chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import overhead

EVERY = 10.0
BLOCKS = 41


def measure(size: str, folder: Path) -> dict[str, Any]:
    """``overhead_every_10_s_percent`` and what belongs to it."""
    return overhead.at(size, folder, EVERY, BLOCKS, f"overhead_every_{EVERY:.0f}_s")
