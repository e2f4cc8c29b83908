"""What all parts of the daemon are given: made once at the start, never changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from outlast_agent.board import Board
from outlast_agent.folders import Folders
from outlast_agent.journal import Journal
from outlast_agent.runtimes.base import Runtime
from outlast_agent.spec import JobSpec
from outlast_agent.stores.base import Store
from outlast_agent.surely import Surely
from outlast_agent.sync.link import Link


@dataclass(frozen=True)
class Context:
    """The daemon's surroundings."""

    spec: JobSpec
    folders: Folders
    store: Store
    runtime: Runtime
    journal: Journal
    boot_id: str
    """Of this boot: a claim from before a restart of the machine is told by it."""
    crash: Callable[[BaseException], None]
    """Ends the daemon with this error: it is started again and goes on from what is there."""
    board: Board = field(default_factory=Board)
    link: Link = field(default_factory=Link)
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the daemon ends: whatever waits breaks off."""

    hurry: threading.Event = field(default_factory=threading.Event)
    """Set once there was a notice: what waits for the store looks again soon."""

    def surely(self, part: str, stop: threading.Event | None = None) -> Surely:
        """A retrying caller for ``part``, broken off by ``stop`` (the daemon's end)."""
        stop = self.stop if stop is None else stop
        return Surely(self.board, self.journal, part, stop, self.hurry)

    def thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Start ``work`` in a thread whose failure ends the daemon."""

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.crash(error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread
