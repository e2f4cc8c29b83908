"""This process's side of the control folder: what it tells the daemon, and stderr.

Without a daemon there is no folder; people still read stderr.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from dataclasses import replace
from pathlib import Path

from outlast.progress import (
    END,
    Announcement,
    End,
    Note,
    Outcome,
    Progress,
    append_note,
    write_announcement,
    write_end,
    write_progress,
)

PROGRESS_EVERY = 0.5
"""Seconds between two writings of the progress file, at least."""


class Control:
    """Tells the daemon what it should know. ``folder`` None: there is no daemon."""

    def __init__(self, folder: Path | None, *, leads: bool) -> None:
        self._folder = folder
        self._leading = folder if leads else None
        self._written_at = -math.inf
        self._written: Progress | None = None
        self._end: End | None = None
        self._lock = threading.Lock()

    def announce(self, pid: int, library: str) -> None:
        """Say that notices are read here."""
        if self._leading is None:
            return
        try:
            write_announcement(self._leading, Announcement(pid, library))
        except OSError as error:
            say(f"the daemon could not be told of this program, and will send SIGTERM: {error}")

    def progress(self, progress: Progress, now: float, *, force: bool = False) -> None:
        """Tell where training is, if that changed and was not told in the last half second."""
        if self._leading is None:
            return
        soon = now - self._written_at < PROGRESS_EVERY or progress == self._written
        if soon and not force:
            return
        self._written_at, self._written = now, progress
        with contextlib.suppress(OSError):  # told again in half a second; training matters more
            write_progress(self._leading, replace(progress, at_monotonic=now))

    def note(self, note: Note, *, said: bool = False) -> None:
        """Tell a person one thing; ``said``: it is on stderr already."""
        if not said:
            say(note.text)
        if self._folder is not None:
            with contextlib.suppress(OSError):  # it is on stderr, which the daemon keeps
                append_note(self._folder, note)

    def end(self, outcome: Outcome, step: int) -> None:
        """Say how the program ended. What was said of a later step, or at the end, stays."""
        end = End(outcome, step)
        if self._leading is None:
            return
        with self._lock:  # the watching thread may give a step up just as it ends
            said = self._end
            if said is not None and (said.outcome == "finished" or said.step > step or said == end):
                return
            try:
                write_end(self._leading, end)
                self._end = end
            except OSError as error:
                say(f"the end could not be told to the daemon: {error}")

    def take_back_end(self) -> None:
        """The notice was taken back: the program goes on."""
        with self._lock, contextlib.suppress(OSError):
            if self._leading is not None and self._end is not None:
                (self._leading / END).unlink(missing_ok=True)
                self._end = None


def say(text: str) -> None:
    """One line on stderr."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr closed or absent
        sys.stderr.write(f"outlast: {text}\n")
        sys.stderr.flush()
