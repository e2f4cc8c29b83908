"""How the program ends: stopped on a notice, or finished, and nothing else counts as that."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from outlast.control import say
from outlast.progress import EX_TEMPFAIL
from outlast.refused import RefusedError


class Stopped(SystemExit):
    """Training stopped on a notice, after a save. Ends the program with exit code 75.

    No ``except Exception`` swallows it, ``finally`` and ``with`` still run, and at the top it
    leaves no traceback.
    """

    def __init__(self, step: int) -> None:
        super().__init__(EX_TEMPFAIL)
        self.step = step
        """The last step that is saved."""


_leave_with: int | None = None


def leave_at_once(code: int) -> None:
    """Once the program's exit handlers have run, end the process with ``code``.

    A framework takes seconds to be torn down, and the next machine waits for them.
    """
    global _leave_with  # noqa: PLW0603 - read by the exit handler, which takes no arguments
    _leave_with = code


def _leave() -> None:
    if _leave_with is None:
        return
    logging.shutdown()  # its own handler was registered earlier, and would come later
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed or absent
            stream.flush()
    os._exit(_leave_with)


# Handlers run last to first. This one is registered when the package is imported, so that it
# comes after those of the program and of what it imports later.
atexit.register(_leave)


def show_plainly() -> None:
    """Have a refusal that nobody catches shown as its one line, with where in the script it was.

    Unless somebody shows exceptions in a way of his own.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, RefusedError):
        sys.__excepthook__(kind, error, trace)
        return
    script = [
        (Path(frame.f_code.co_filename).name, line)
        for frame, line in traceback.walk_tb(trace)
        if frame.f_globals.get("__name__") == "__main__"
    ]
    at = f"{script[-1][0]}, line {script[-1][1]}: " if script else ""
    say(f"{at}{error}")


def refusal() -> RefusedError | None:
    """What ended the program, if that was a refusal."""
    last = getattr(sys, "last_value", None)
    return last if isinstance(last, RefusedError) else None


class ExitWatch:
    """Tells at the end of the interpreter whether the program went through to its end.

    Python calls exit handlers after an exception and after ``sys.exit(3)`` just as after the
    last line. An exception that reached the top is in ``sys.last_value``; the code given to
    ``sys.exit`` is nowhere, so it is noted as it passes. Not seen: ``raise SystemExit(3)``, for
    which the daemon has the exit code.
    """

    def __init__(self, at_end: Callable[[bool], None]) -> None:
        self._at_end = at_end
        self._code: Any = None
        self._exit = sys.exit
        sys.exit = self._noting_exit
        atexit.register(self._run)

    def forget(self) -> None:
        """Training went on: whoever called ``sys.exit`` until now was overruled."""
        self._code = None

    def close(self) -> None:
        """Watch no longer."""
        atexit.unregister(self._run)
        if sys.exit == self._noting_exit:
            sys.exit = self._exit

    def _noting_exit(self, status: Any = None, /) -> NoReturn:
        if threading.current_thread() is threading.main_thread():
            self._code = status
        self._exit(status)

    def _run(self) -> None:
        failed = getattr(sys, "last_value", None) is not None
        self._at_end(not failed and self._code in (None, 0, False))
