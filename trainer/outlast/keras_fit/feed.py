"""Where training is in its data: Keras' epoch iterator, able to begin in the middle.

Keras' ``EpochIterator._enumerate_iterator`` (``epoch_iterator.py``) says what ``fit`` gets in an
epoch: (first step, last step, iterator). :class:`Feed` takes its place on the one instance that a
``fit`` call works with, does the same, and keeps the books: how many iterators were made, how
many of them were read, how far the present one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from outlast.keras_fit.data import Data
from outlast.keras_fit.replay import Replay

Step = tuple[int, int, Any]

_KINDS = {
    "Arrays": "arrays",
    "Replayed": "arrays",
    "Batches": "a PyDataset",
    "Generator": "a generator",
    "Stream": "arrays",
    "Loader": "a DataLoader",
    "Pipeline": "a tf.data pipeline",
    "Distributed": "a strategy's pipeline",
}


class Feed:
    """The training data of one ``fit`` call."""

    def __init__(
        self,
        keras: Any,
        data: Data,
        before_first: Callable[[], None],
        replay: Replay,
        noticed: Callable[[], None] = lambda: None,
    ) -> None:
        """``keras`` is its EpochIterator; ``before_first`` is called before the first step.

        ``noticed`` is called if a notice comes while ``replay`` reads.
        """
        self._keras = keras
        self._data = data
        self._replay = data.replay = replay
        self._noticed = noticed
        self._before_first: Callable[[], None] | None = before_first
        self._made = 0
        self._drawn = 0
        self._iterator: Any = None
        self._primed: Any = None
        """Made already, for the next time one is wanted."""
        self._taken = 0
        self._behind = 0
        """Of the batches taken, how many the iterator has yet to read."""
        self._found: dict[str, Any] = {}
        """While it is behind, where it is."""
        self._last = 0
        """Batches that were taken from the latest iterator that is no longer in use."""
        self._resume_at: int | None = None
        self._over = False
        self._first_pass = True
        """The first iterator that this process reads: later ones may read from a cache."""
        self._what = [_KINDS[type(data).__name__], keras.num_batches]
        keras._enumerate_iterator = self._enumerate
        keras._distributed_dataset = data.dataset

    def release(self) -> None:
        """Let go of the data: the ``fit`` call is over."""
        self._iterator = None
        self._keras._enumerate_iterator = None

    def took(self, batches: int) -> None:
        """``batches`` were read by the training function."""
        self._taken += batches
        if self._first_pass:
            self._replay.trained(batches)

    @property
    def batches(self) -> int | None:
        """Batches in an epoch; None: not known yet."""
        found: int | None = self._keras.num_batches
        return found

    def next_iterator(self) -> Any:
        """The iterator that the next step reads from."""
        if self._iterator is None and self._primed is None:
            self._primed = self._data.make()
        return self._iterator if self._iterator is not None else self._primed

    def position(self, *, over: bool, ended: bool = False) -> dict[str, Any]:
        """Where it is, as plain data.

        ``over``: the epoch's last batch was read. ``ended``: the last one of the ``fit`` call was.
        Raises :class:`outlast.keras_fit.data.NotHere`.
        """
        keras = self._keras
        # With steps_per_epoch an iterator goes on through several epochs; otherwise it is over.
        spent = keras._current_iterator is None or keras.steps_per_epoch is None
        spent = ended or (over and spent)
        live = self._iterator is not None and not spent
        made, drawn = self._made, self._drawn
        if live:
            made -= 1
        elif self._taken:
            drawn += 1
        if over:
            self._data.over()
        if self._behind:
            place = self._found
        else:
            place = self._data.position(self._iterator if live else None, self._taken)
        return {
            "what": self._what,
            "made": made,
            "drawn": drawn,
            "live": live,
            "taken": self._taken if live else 0,
            "last": self._last if live else self._taken or self._last,
            "seen": keras._steps_seen,
            "batches": keras._num_batches,
            "over": over,
            "batch_seconds": self._replay.batch_seconds,
            "data": place,
        }

    def differs(self, position: dict[str, Any]) -> str | None:
        """What these data are and those of ``position`` were, if that is not the same."""
        was = position.get("what", self._what)
        return None if was == self._what else f"it was {_told(*was)} and is {_told(*self._what)}"

    def repeat(self, position: dict[str, Any]) -> None:
        """Leave the data as the ``fit`` call left them that ended at ``position``."""
        self._replay.batch_seconds = position.get("batch_seconds")
        self._data.repeat(made=position["made"], drawn=position["drawn"], last=position["last"])
        self._data.settle(position["data"])

    def go_to(self, position: dict[str, Any], *, steps: int | None) -> None:
        """Be at ``position``; ``steps`` of its epoch are done (None: the epoch has not begun)."""
        keras = self._keras
        self._made, self._drawn = position["made"], position["drawn"]
        self._replay.batch_seconds = position.get("batch_seconds")
        keras._num_batches = position["batches"]
        self._data.repeat(made=self._made, drawn=self._drawn, last=position["last"])
        keras._current_iterator = None
        self._iterator, self._taken = None, 0
        if position["live"]:
            self._found = position["data"]
            self._iterator = self._data.find(position["taken"], self._found)
            self._behind = self._data.behind
            self._made += 1
            self._taken = position["taken"]
            if keras.steps_per_epoch or keras._num_batches:
                keras._current_iterator = self._iterator
        else:
            self._data.settle(position["data"])
        keras._steps_seen = position["seen"]
        self._resume_at = steps
        self._over = position["over"] and steps is not None

    def _make(self) -> Any:
        if self._taken:
            self._drawn += 1
            self._last = self._taken
            self._first_pass = False
        self._iterator, self._primed = self._primed, None
        self._behind = 0
        if self._iterator is None:
            self._iterator = self._data.make()
        self._made += 1
        self._taken = 0
        return self._iterator

    def _first(self) -> None:
        call, self._before_first = self._before_first, None
        if call is not None:
            call()
        while self._behind:
            self._behind = self._replay.drop(self._iterator, self._behind, leave_off=True)
            if self._behind:
                self._noticed()

    def _enumerate(self) -> Iterator[Step]:
        keras, done, self._resume_at = self._keras, self._resume_at, None
        width = keras.steps_per_execution
        if done is not None and self._over:
            # The loop was over: once more its last step, which is a no-op, and nothing else. On
            # PyTorch, Keras reads from the iterator before it takes the step.
            yield done - width, done - 1, iter([None])
            return
        self._data.begin()
        keras.data_adapter.on_epoch_begin()
        self._data.began()
        if done:
            yield done - width, done - 1, iter([None])
        start = done or 0
        steps = keras.steps_per_epoch or keras._num_batches or -1
        if steps > 0:
            if done is None and (keras._current_iterator is None or keras.steps_per_epoch is None):
                keras._current_iterator = self._make()
                keras._steps_seen = 0
            for step in range(start, steps, width):
                if keras._num_batches and keras._steps_seen >= keras._num_batches:
                    if keras.steps_per_epoch:
                        keras._interrupted_warning()
                    break
                self._first()
                keras._steps_seen += width
                yield step, step + width - 1, keras._current_iterator
            if keras._num_batches and keras._steps_seen >= keras._num_batches:
                keras._current_iterator = self._make()
                keras._steps_seen = 0
        else:
            iterator = self._iterator if done is not None else self._make()
            step = start - width
            while True:
                step += width
                self._first()
                keras._steps_seen = step + width
                yield step, step + width - 1, iterator
        keras.data_adapter.on_epoch_end()


def _told(kind: str, batches: int | None) -> str:
    return kind if batches is None else f"{kind} of {batches} batches"
