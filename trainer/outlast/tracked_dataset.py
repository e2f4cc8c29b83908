"""A ``tf.data`` pipeline of a custom loop, which goes on where it was.

Its place is (passes begun, elements taken). A resume begins as many passes, since a shuffle
draws a new order for each from a counter that begun passes advance, and draws and drops the
elements taken of the last. That is exact for every pipeline whose order its seeds decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from outlast.keras_fit.inspect_data import inspect
from outlast.tracked import Tracked

_ORDER = ("shuffle-unseeded", "order-undetermined", "random-map", "stateful-map", "data-unknown")


class ResumableDataset:
    """Iterate over it in the dataset's place; one pass at a time."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._drop: int | None = None
        self.passes = 0
        """Passes ended: begin a loop over epochs here, ``for epoch in range(data.passes, 10)``."""
        self.taken = 0
        """Elements taken of the pass under way."""

    def __iter__(self) -> Iterator[Any]:
        drop, self._drop = self._drop, None
        if drop is not None:
            # In this process no pass was begun yet, in the one before as many as these.
            for _ in range(self.passes):
                iter(self._dataset)
        iterator = iter(self._dataset)
        self.taken = 0
        for element in iterator:
            self.taken += 1
            if drop is None or self.taken > drop:
                yield element
        self.taken = 0
        self.passes += 1

    def go_on(self, passes: int, taken: int) -> None:
        """Let the next iteration begin at this place."""
        self.passes, self.taken, self._drop = passes, taken, taken


class TrackedDataset(Tracked):
    """A dataset's place."""

    iterable: ResumableDataset

    def __init__(self, name: str, dataset: Any) -> None:
        self._name = name
        self.iterable = ResumableDataset(dataset)
        self.warnings = [
            (finding.code, f"{name}: {finding.text}.")
            for finding in inspect(dataset)
            if finding.code in _ORDER
        ]

    def capture(self) -> Any:
        """As :meth:`outlast.tracked.Tracked.capture`."""
        return {"passes": self.iterable.passes, "taken": self.iterable.taken}

    def check(self, saved: Any) -> None:
        """As :meth:`outlast.tracked.Tracked.check`."""
        if saved.keys() != {"passes", "taken"}:
            raise ValueError(f"{self._name} is a dataset, and the checkpoint has something else")

    def restore(self, saved: Any) -> None:
        """As :meth:`outlast.tracked.Tracked.restore`."""
        self.iterable.go_on(saved["passes"], saved["taken"])
