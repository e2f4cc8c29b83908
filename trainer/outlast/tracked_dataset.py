"""A ``tf.data`` pipeline of a custom loop, which goes on where it was.

Where it is found again as in ``fit``: see :mod:`outlast.keras_fit.data_tensors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from outlast.control import say
from outlast.keras_fit.data import NotHere
from outlast.keras_fit.data_order import shuffles_of
from outlast.keras_fit.data_tensors import Pipeline
from outlast.keras_fit.inspect_data import DRAWN_OTHERWISE, inspect
from outlast.keras_fit.replay import Replay
from outlast.tracked import Tracked

# What the pipeline's order depends on is found again, so these need not be told.
_SOLVED = frozenset({"shuffle-chain", "shuffle-repeat"})


class ResumableDataset:
    """Iterate over it in the dataset's place; one pass at a time."""

    def __init__(self, data: Pipeline) -> None:
        self._data = data
        self._iterator: Any = None
        self._resume: dict[str, Any] | None = None
        self.passes = 0
        """Passes ended: begin a loop over epochs here, ``for epoch in range(data.passes, 10)``."""
        self.taken = 0
        """Elements taken of the pass under way."""

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        if resume is None:
            self._iterator, self.taken = self._data.make(), 0
        else:
            # As many passes as in the process before: each draws a new order.
            self._data.repeat(made=self.passes, drawn=self.passes)
            self._iterator = self._data.find(self.taken, resume)
            self._data.replay.drop(self._iterator, self._data.behind)
        for element in self._iterator:
            self.taken += 1
            yield element
        self._iterator, self.taken = None, 0
        self.passes += 1

    def position(self) -> dict[str, Any]:
        """Where it is, as plain data."""
        if self._resume is not None:  # restored, and not iterated over since
            place = self._resume
        else:
            try:
                place = self._data.position(self._iterator, self.taken)
            except NotHere:
                place = {"state": None}
        return {"passes": self.passes, "taken": self.taken, "place": place}

    def go_on(self, position: dict[str, Any]) -> None:
        """Let the next iteration begin at ``position``."""
        self.passes, self.taken = position["passes"], position["taken"]
        self._resume = position["place"]


class TrackedDataset(Tracked):
    """A dataset's place."""

    iterable: ResumableDataset

    def __init__(self, name: str, dataset: Any) -> None:
        """Raises TypeError for a distributed dataset."""
        if type(dataset).__name__.startswith("Distributed"):
            raise TypeError(
                f"{name} is distributed, which has no place to go back to: draw by the number of "
                "the step from session.steps(...), or use model.fit with outlast.Resume()"
            )
        self._name = name
        findings = inspect(dataset)
        codes = {finding.code for finding in findings}
        when = {shuffle.when for shuffle in shuffles_of(dataset)}
        seeded = "shuffle-unseeded" not in codes
        draws = bool({"late", "cached"} & when) or "generator" in codes
        data = Pipeline(dataset, draws=draws, can_draw=seeded)
        data.replay = Replay(say)
        if data.draws_otherwise:
            findings.append(DRAWN_OTHERWISE)
        self.iterable = ResumableDataset(data)
        self.warnings = [
            (finding.code, f"{name}: {finding.text}.")
            for finding in findings
            if finding.code not in _SOLVED
        ]

    def capture(self) -> Any:
        """As :meth:`outlast.tracked.Tracked.capture`."""
        return self.iterable.position()

    def check(self, saved: Any) -> str | None:
        """As :meth:`outlast.tracked.Tracked.check`."""
        if isinstance(saved, dict) and saved.keys() == {"passes", "taken", "place"}:
            return None
        return "the checkpoint has something other than the place in a dataset"

    def restore(self, saved: Any) -> None:
        """As :meth:`outlast.tracked.Tracked.restore`."""
        self.iterable.go_on(saved)
