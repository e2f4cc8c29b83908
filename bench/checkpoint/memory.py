"""Memory that saving takes, over many saves of a model that trains."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import models


def measure(size: str, folder: Path, *, saves: int = 200) -> dict[str, Any]:
    """``extra_memory_ratio``: the most beyond what training takes, in parts of the state."""
    import keras

    import outlast
    from outlast.run import Run

    count = {"steps": 0, "saves": 0}
    seen: list[int] = []
    most = [0]
    over = threading.Event()

    class Watch(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            count["steps"] += 1
            if count["steps"] == 5:
                most[0] = 0  # building the model took more

    def due(run: Run) -> bool:
        run._saving.hurry()  # of what is under way: on cadence it would take half a minute
        now = count["steps"] > 10 and run._saving.idle and count["saves"] < saves
        if now:
            if not count["saves"]:
                # What steps take without a save, and without the copy that is made beforehand.
                copy = run._saving._arena._memory
                seen.append(most[0] - (0 if copy is None else copy.nbytes))
            count["saves"] += 1
            if count["saves"] in (saves // 2, saves):
                seen.append(_resident())
        elif count["saves"] >= saves and run._saving.idle:
            made.stop_training = True
        return now

    def watch() -> None:
        while not over.is_set():
            most[0] = max(most[0], _resident())
            time.sleep(0.01)

    made = models.model(size)
    state = models.state_bytes(made)
    original, Run.due = Run.due, due  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=watch, daemon=True)
    try:
        resume = outlast.Resume(folder=folder / "ours")
        thread.start()
        made.fit(models.batches(size, 10**6), verbose=0, callbacks=[Watch(), resume])
        Run.current().flush(600)
    finally:
        over.set()
        Run.due = original  # type: ignore[method-assign]
    before, half, full = (*seen, 0, 0, 0)[:3]
    return {
        "extra_memory_ratio": (most[0] - before) / state,
        "extra_memory_bytes": most[0] - before,
        "memory_growth_bytes": full - half,
        "memory_saves": count["saves"],
    }


def _resident() -> int:
    text = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found is not None
    return int(found[1]) << 10
