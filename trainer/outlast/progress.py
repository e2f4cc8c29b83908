"""What the training process tells the daemon, in the control folder.

==================  ==========================================================================
``announce.json``   the library is here: a notice file will be obeyed, SIGTERM need not be sent
``progress.json``   where training is; replaced at most a few times a second
``notes.jsonl``     one line per thing a person should know (warnings before the first step, a
                    full disk, a loss that is not finite); appended, told on as events
``end.json``        how the program ended, written atomically, last: the truth about the end
==================  ==========================================================================

The daemon reads all of them as hostile: regular files, bounded, checked.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from outlast.durable import read_json, replace_json

ANNOUNCE, PROGRESS, NOTES, END = "announce.json", "progress.json", "notes.jsonl", "end.json"

EX_TEMPFAIL = 75
"""Exit code of a program that stopped on a notice after a save (sysexits.h)."""

Outcome = Literal["finished", "yielded"]
Phase = Literal["starting", "restoring", "tracing", "training", "validation", "between", "saving"]


@dataclass(frozen=True)
class Announcement:
    """The program uses the library."""

    pid: int
    """The process that reads notices (rank 0)."""
    library: str
    """Version of ``outlast`` in the container."""


@dataclass(frozen=True)
class Progress:
    """Where training is. Times are seconds."""

    step: int
    """Optimizer steps (batches) done, over all ``fit`` calls."""
    phase: Phase
    saved_step: int | None = None
    """Step of the newest checkpoint that is whole in scratch; None before the first."""
    step_seconds: float | None = None
    """Median duration of the latest steps."""
    save_seconds: float | None = None
    """Duration of the latest save, from snapshot to whole in scratch."""
    save_bytes: int | None = None
    """Bytes that the latest save wrote."""
    resumed_step: int | None = None
    """Step this process resumed from; None: it started from nothing."""
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest logs, for people (finite values only)."""
    at_monotonic: float = 0.0
    """CLOCK_MONOTONIC when this was written."""
    snapshot_seconds: float | None = None
    """How long training stood still for the latest save."""
    rest_seconds: float | None = None
    """What the step under way still needs, as expected; None: none is, or none was seen yet."""
    saving_step: int | None = None
    """Step of a save that is being written; None: none is."""
    saving_seconds: float | None = None
    """For how long it has been."""
    save_every: float | None = None
    """From the latest save to the next, as it is chosen now."""


@dataclass(frozen=True)
class Note:
    """One thing that a person should know."""

    level: Literal["info", "warning", "error"]
    code: str
    """A stable word for programs: ``shuffle-unseeded``, ``scratch-full``, ``loss-not-finite``."""
    text: str
    """One sentence: what it is, what it will cost, what to write instead."""


@dataclass(frozen=True)
class End:
    """How the program ended."""

    outcome: Outcome
    """``finished``: nothing is left to train. ``yielded``: stopped on a notice after a save."""
    step: int
    """The last step done (and saved, if yielded)."""


def write_announcement(control: Path, value: Announcement) -> None:
    """Tell the daemon that notices are read here. Raises OSError."""
    replace_json(control / ANNOUNCE, asdict(value), fsync=False)


def write_progress(control: Path, value: Progress) -> None:
    """Replace the progress file. Raises OSError."""
    replace_json(control / PROGRESS, asdict(value), fsync=False)


def write_end(control: Path, value: End) -> None:
    """Say how the program ended. Raises OSError."""
    replace_json(control / END, asdict(value))


def append_note(control: Path, note: Note) -> None:
    """Append one line, whole: a single write of less than a pipe buffer. Raises OSError."""
    line = json.dumps({**asdict(note), "text": note.text[:2000]}) + "\n"
    descriptor = os.open(control / NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read_announcement(control: Path) -> Announcement | None:
    """The announcement, or None before there is one. Raises OSError, ValueError."""
    value = _read_object(control / ANNOUNCE)
    if value is None:
        return None
    return Announcement(pid=_int(value, "pid") or 0, library=str(value.get("library", ""))[:100])


def read_progress(control: Path) -> Progress | None:
    """The progress, or None before the first. Raises OSError, ValueError."""
    value = _read_object(control / PROGRESS)
    if value is None:
        return None
    metrics = value.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    phase = str(value.get("phase", "training"))
    phases = ("starting", "restoring", "tracing", "training", "validation", "between", "saving")
    return Progress(
        step=_int(value, "step") or 0,
        phase=phase if phase in phases else "training",  # type: ignore[arg-type]
        saved_step=_int(value, "saved_step"),
        step_seconds=_float(value, "step_seconds"),
        save_seconds=_float(value, "save_seconds"),
        save_bytes=_int(value, "save_bytes"),
        save_every=_float(value, "save_every"),
        resumed_step=_int(value, "resumed_step"),
        epoch=_int(value, "epoch"),
        epochs=_int(value, "epochs"),
        metrics={
            str(name)[:100]: _float(metrics, name) or 0.0
            for name, number in list(metrics.items())[:50]
            if isinstance(number, (int, float)) and not isinstance(number, bool)
        },
        at_monotonic=_float(value, "at_monotonic") or 0.0,
        snapshot_seconds=_float(value, "snapshot_seconds"),
        rest_seconds=_float(value, "rest_seconds"),
        saving_step=_int(value, "saving_step"),
        saving_seconds=_float(value, "saving_seconds"),
    )


def read_end(control: Path) -> End | None:
    """How the program says it ended, or None if it did not say. Raises OSError, ValueError."""
    value = _read_object(control / END)
    if value is None:
        return None
    outcome, step = value.get("outcome"), _int(value, "step")
    if outcome not in ("finished", "yielded") or step is None:
        raise ValueError(f"{control / END} is not an end file: {value!r:.200}")
    return End(outcome=outcome, step=step)


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path, limit=256 << 10)
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object")
    return value


def _int(value: dict[str, Any], name: str) -> int | None:
    number = value.get(name)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, not {number!r:.50}")
    return number


def _float(value: dict[str, Any], name: str) -> float | None:
    number = value.get(name)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError(f"{name} must be a number, not {number!r:.50}")
    try:
        return float(number)
    except OverflowError as error:
        raise ValueError(f"{name} is too large") from error
