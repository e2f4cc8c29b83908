"""What the program says in its control folder, read as hostile: bounded, checked, no links."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
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
_MAX_NUMBER = 10**15
"""Steps, bytes and seconds stay far below it."""


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
            progress = _checked(read_progress(self._folder))
            end = _checked_end(read_end(self._folder))
        except (OSError, ValueError) as error:
            problem = _plain(f"the program wrote what cannot be read: {error}")[:_MAX_TEXT]
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
    return Note(level, _plain(str(code))[:100], _plain(str(text))[:_MAX_TEXT])


def _checked(progress: Progress | None) -> Progress | None:
    """``progress``, if a record can hold it. Raises ValueError."""
    if progress is None:
        return None
    for field in fields(progress):
        number = getattr(progress, field.name)
        if isinstance(number, int | float) and not abs(number) <= _MAX_NUMBER:
            raise ValueError(f"{field.name} is out of range")
    metrics = {_plain(k): number for k, number in progress.metrics.items() if math.isfinite(number)}
    return replace(progress, metrics=metrics)


def _checked_end(end: End | None) -> End | None:
    if end is not None and end.step > _MAX_NUMBER:
        raise ValueError("the last step is out of range")
    return end


def _plain(text: str) -> str:
    """``text`` without halves of characters, which JSON may hold and UTF-8 may not."""
    return text.encode(errors="replace").decode()
