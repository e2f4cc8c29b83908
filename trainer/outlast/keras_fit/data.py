"""What :class:`outlast.keras_fit.feed.Feed` needs to know of a kind of training data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from outlast.keras_fit.replay import Replay, silent


class NotHere(Exception):  # noqa: N818 - not an error: the position can be taken a batch later
    """This position cannot be found again; the one after the next batch can."""


class Data(ABC):
    """Training data of one ``fit``: iterators are made from them, and found again."""

    replay = Replay(silent)
    """Reads what has to be read again."""
    behind = 0
    """Batches that the iterator found last has yet to read and drop."""

    @property
    @abstractmethod
    def dataset(self) -> Any:
        """The tf.data (or distributed) dataset that iterators are made from."""

    def begin(self) -> None:  # noqa: B027 - most kinds have nothing to do
        """An epoch begins: before Keras' adapter is told."""

    def began(self) -> None:  # noqa: B027
        """An epoch began: after Keras' adapter was told."""

    def over(self) -> None:  # noqa: B027
        """An epoch is over, and Keras' adapter was told."""

    def make(self) -> Any:
        """A new iterator, at its beginning."""
        return iter(self.dataset)

    @abstractmethod
    def position(self, iterator: Any, taken: int) -> dict[str, Any]:
        """Plain data: where ``iterator`` is after ``taken`` batches (None: there is none in use).

        Raises :class:`NotHere`. Training waits meanwhile.
        """

    @abstractmethod
    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:
        """Have made ``made`` iterators and read ``drawn`` of them.

        The last of these was read for ``last`` batches, all others to their end (None: it too).
        """

    @abstractmethod
    def find(self, taken: int, position: dict[str, Any]) -> Any:
        """A new iterator, at ``position`` after ``taken`` batches, or :attr:`behind` it."""

    def settle(self, position: dict[str, Any]) -> None:  # noqa: B027
        """Bring back what else ``position`` holds, where no iterator is in use."""
