"""How the program ends: stopped on a notice, or finished, and nothing else counts as that."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from outlast.progress import EX_TEMPFAIL


class Stopped(SystemExit):
    """Training stopped on a notice, after a save. Ends the program with exit code 75.

    No ``except Exception`` swallows it, ``finally`` and ``with`` still run, and at the top it
    leaves no traceback.
    """

    def __init__(self, step: int) -> None:
        super().__init__(EX_TEMPFAIL)
        self.step = step
        """The last step that is saved."""


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
