"""What the uploader was told from outside: look, a notice, the program's end, close."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Orders:
    """Given by any thread, read by the one that decides. All instants are monotonic."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._looked = False
        self._rush = False
        self._deadline: float | None = None
        self._until: float | None = None
        self._done: Callable[[], None] | None = None
        self.closed = threading.Event()
        """Set by :meth:`close`."""

    # Given --------------------------------------------------------------------------------------

    def look(self) -> None:
        """Something may have changed in scratch."""
        with self._condition:
            self._looked = True
            self._condition.notify_all()

    def rush(self, deadline: float) -> None:
        """A notice runs until ``deadline``."""
        with self._condition:
            self._rush, self._deadline, self._looked = True, deadline, True
            self._condition.notify_all()

    def flush(self, until: float | None, done: Callable[[], None]) -> None:
        """The program has ended; ``done`` is called once, past ``until`` in any case."""
        with self._condition:
            self._rush, self._looked = True, True
            self._until = until
            self._done = self._done or done
            self._condition.notify_all()

    def close(self) -> None:
        """Nothing is wanted any more."""
        self.closed.set()
        self.look()

    # Read ---------------------------------------------------------------------------------------

    @property
    def rushing(self) -> bool:
        """Whether nothing but saving counts."""
        with self._condition:
            return self._rush

    @property
    def program_ended(self) -> bool:
        """Whether somebody waits for the newest to be durable."""
        with self._condition:
            return self._done is not None

    @property
    def left(self) -> float | None:
        """Seconds of the notice; None: there is none."""
        with self._condition:
            return None if self._deadline is None else self._deadline - time.monotonic()

    @property
    def too_late(self) -> bool:
        """Whether a flush has to be answered as it stands."""
        with self._condition:
            return self._until is not None and time.monotonic() >= self._until

    @property
    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.closed.is_set() or self.too_late

    @property
    def no_sweep(self) -> bool:
        """Whether there is something better to do than to tidy up."""
        return self.rushing or self.over

    def answer(self) -> None:
        """Tell who waits for a flush that it is done."""
        with self._condition:
            done, self._done = self._done, None
        if done is not None:
            done()

    def wait(self, seconds: float) -> None:
        """Until something is told, at most ``seconds``, or until a flush is too late."""
        with self._condition:
            if self._until is not None and self._done is not None:
                seconds = max(0.0, min(seconds, self._until - time.monotonic()))
            if not self._looked and not self.closed.is_set():
                self._condition.wait(seconds)
            self._looked = False
