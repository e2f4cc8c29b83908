"""From the first read to a built model with all its variables, from a disk that has to be read."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import limits
import models
import numpy as np
import writing


def measure(size: str, folder: Path, *, times: int = 5) -> dict[str, Any]:
    """The ratio to a plain read of the same files, with the page cache dropped before each."""
    from outlast.checkpoint import load_newest
    from outlast.keras_fit import capture

    if not limits.drop_page_cache():
        return {"restore_ratio": None, "restore_note": "only root can drop the page cache"}
    made = models.model(size)
    models.change(made)
    writing.Ours(folder / "ours").save(made)
    before = [variable.numpy() for variable in models.variables(made)]
    models.change(made)
    files = sorted(path for path in (folder / "ours" / "objects").rglob("*") if path.is_file())
    raw, ours = [], []
    for _ in range(times):
        limits.drop_page_cache()
        raw.append(limits.raw_read(files))
        limits.drop_page_cache()
        began = time.perf_counter()
        loaded = load_newest(folder / "ours")
        assert loaded is not None
        capture.assign(capture.variables_of(made), loaded.arrays)
        ours.append(time.perf_counter() - began)
        del loaded
        after = [variable.numpy() for variable in models.variables(made)]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        models.change(made)
    return {
        "restore_ratio": statistics.median(ours) / statistics.median(raw),
        "restore_seconds": [round(each, 3) for each in ours],
        "raw_read_seconds": [round(each, 3) for each in raw],
    }
