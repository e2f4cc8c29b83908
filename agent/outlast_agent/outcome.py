"""How an attempt ended, from the end file, the exit code and what it was told. Pure.

The end file is the truth: ``train.py | tee log`` turns any exit code into 0. The exit code
counts where there is no end file. See DESIGN, *What crosses a boundary*.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal

from outlast.progress import End
from outlast_agent.runtimes.base import Exit

Outcome = Literal["finished", "yielded", "failed", "setup-failed", "cancelled", "lost"]

_STOPPED = {0, 75, 130, 137, 143}
_COMMAND = {
    126: "the command cannot be run (exit code 126): is it executable, is its folder readable?",
    127: "the command was not found (exit code 127): check `command` and what is installed",
}
_SIGNALS = {
    4: "an illegal instruction",
    6: "an abort",
    7: "a bus error",
    9: "SIGKILL, not from Outlast",
    11: "a segmentation fault",
    15: "SIGTERM, not from Outlast",
}


@dataclass(frozen=True)
class Ending:
    """What is recorded of an attempt's end."""

    outcome: Outcome
    cause: str | None = None
    """A word of ``AttemptEnd.cause``."""
    message: str = ""
    """One line for a person."""
    exit_code: int | None = None
    step: int | None = None
    """The last step done, as the program said."""


@dataclass(frozen=True)
class Circumstances:
    """What the daemon knows beside the exit itself."""

    told: bool = False
    """It was told to stop: a notice file, or a signal."""
    cancelled: bool = False
    """It was told to stop because a person cancelled the job."""
    announced: bool = False
    """The program uses the library, so it says itself how it ends."""
    started_step: int = 0
    """The step of the checkpoint it started from; 0: from nothing."""
    disk_full: bool = False
    """Hardly any room was left on the disk of its folders."""


def judge(exit_: Exit, end: End | None, around: Circumstances) -> Ending:
    """How it ended."""
    code = exit_.code
    if end is not None and end.outcome == "finished":
        if around.told or code in (0, 75) or code > 125:
            # Frameworks may crash while Python leaves, when everything is done.
            return Ending("finished", exit_code=code, step=end.step)
        text = f"training finished, and then the program failed with exit code {code}"
        return Ending("failed", "error", text, code, end.step)
    if end is not None:
        if around.cancelled:
            return Ending("cancelled", message="cancelled", exit_code=code, step=end.step)
        if around.told or end.step > around.started_step:
            return Ending("yielded", exit_code=code, step=end.step)
        text = "the program stopped as on a notice, but none was given, and made no step"
        return Ending("failed", "error", text, code, end.step)
    if exit_.out_of_memory:
        return _failed(
            "out-of-memory",
            "the kernel killed it for using too much memory: ask for more in `resources.memory`, "
            "or use a smaller batch or shuffle buffer",
            code,
        )
    if around.cancelled:
        return Ending("cancelled", message="cancelled", exit_code=code)
    if around.told:
        # Whatever a program does on SIGTERM, a stop under notice never counts as its failure.
        text = "" if code in _STOPPED else f"stopped under notice with exit code {code}"
        return Ending("yielded", message=text, exit_code=code)
    if code == 0 and not around.announced:
        return Ending("finished", exit_code=0)
    if code == 0:
        return _failed(
            "error",
            "exit code 0, but the program did not say that it finished: something hides its exit "
            "code (a pipe?) or it left by os._exit; see the log",
            code,
        )
    if code in _COMMAND:
        return _failed("command", exit_.message or _COMMAND[code], code)
    if around.disk_full:
        return _failed("disk-full", f"exit code {code} with a full disk", code)
    if code > 128 and code - 128 in _SIGNALS:
        return _failed("error", f"the program was ended by {_SIGNALS[code - 128]}", code)
    return _failed("error", exit_.message or f"exit code {code}", code)


def _failed(cause: str, message: str, code: int) -> Ending:
    return Ending("failed", cause, message, code)


def of_disk(error: OSError) -> Ending:
    """A set-up that the machine's own disk has ended."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "; ask for more in `resources.disk`" if full else ""
    where = f" at {error.filename}" if error.filename else ""
    text = f"the machine's disk: {error.strerror or error}{where}{hint}"
    return Ending("setup-failed", "disk-full" if full else "error", text)
