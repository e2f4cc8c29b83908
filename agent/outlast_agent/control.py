"""What the program says in its control folder, read as hostile: bounded, checked, no links."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from outlast.progress import (
    NOTES,
    End,
    Note,
    Progress,
    read_announcement,
    read_end,
    read_progress,
)
from outlast_agent.sync import beneath

MAX_NOTES = 200
"""Of one attempt; what comes after is not told on."""
_MAX_BYTES = 1 << 20
_MAX_TEXT = 2000


@dataclass(frozen=True)
class Said:
    """What the program has said up to now."""

    announced: bool = False
    progress: Progress | None = None
    end: End | None = None
    notes: tuple[Note, ...] = ()
    """The new ones only."""
    problem: str | None = None
    """What could not be read, and why."""


class Control:
    """Reads one attempt's control folder."""

    def __init__(self, folder: Path, notes_told: int = 0) -> None:
        """``notes_told``: how many notes an earlier daemon has told on."""
        self._folder = folder
        self.notes_told = notes_told
        self._announced = False

    def read(self) -> Said:
        """Everything, once."""
        problem = None
        progress = end = None
        try:
            self._announced = self._announced or read_announcement(self._folder) is not None
            progress = read_progress(self._folder)
            end = read_end(self._folder)
        except (OSError, ValueError) as error:
            problem = f"the program wrote what cannot be read: {error}"[:_MAX_TEXT]
        return Said(self._announced, progress, end, self._notes(), problem)

    def _notes(self) -> tuple[Note, ...]:
        if self.notes_told >= MAX_NOTES:
            return ()
        try:
            with (
                beneath.open_file(self._folder, NOTES) as descriptor,
                open(descriptor, "rb", closefd=False) as file,
            ):
                data = file.read(_MAX_BYTES)
        except OSError:
            return ()
        lines = data.split(b"\n")[:-1]  # after the last newline: nothing, or half a line
        new = [note for line in lines[self.notes_told : MAX_NOTES] if (note := _note(line))]
        self.notes_told = min(len(lines), MAX_NOTES)
        return tuple(new)


def _note(line: bytes) -> Note | None:
    try:
        value = json.loads(line)
        level, code, text = value["level"], value["code"], value["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if level not in ("info", "warning", "error"):
        return None
    return Note(level, str(code)[:100], str(text)[:_MAX_TEXT])
