"""What a watcher is: it says which notices are in force for this machine. One file a cloud."""

from __future__ import annotations

from abc import ABC, abstractmethod

from outlast.notice import Notice


class WatcherError(Exception):
    """The cloud did not say; the message is one line. Never a reason to stop training."""


class Watcher(ABC):
    """Asked again and again by one thread, about :attr:`interval` seconds apart."""

    interval: float = 1.0
    """Seconds between two polls: the cloud's limits and the shortest notice decide."""

    @abstractmethod
    def poll(self) -> tuple[Notice, ...]:
        """The notices in force now; one that is gone from here was cancelled or is over.

        The same notice keeps its id. May wait as long as the cloud lets a request hang, but
        not for ever. Raises WatcherError.
        """

    @abstractmethod
    def acknowledge(self, notice: Notice) -> None:
        """Nothing here needs the time that is left. The machine may be gone at once, so this
        comes after the flush. Raises WatcherError."""


class NoWatcher(Watcher):
    """For machines that nobody takes away with a notice."""

    interval = 60.0

    def poll(self) -> tuple[Notice, ...]:
        """None, ever."""
        return ()

    def acknowledge(self, notice: Notice) -> None:
        """Nobody waits for it."""
