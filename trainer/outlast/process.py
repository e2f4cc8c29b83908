"""What belongs to the whole process: its lock on the folder, signals, and forked children."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outlast.refused import FolderInUseError


def hold(folder: Path, *, patience: float = 2.0) -> Callable[[], None]:
    """Keep other processes from training with ``folder``, until this one ends, however it ends.

    Returns what lets go. Raises FolderInUseError if another still trains there after
    ``patience`` seconds. A record lock, since forked data-loader workers that outlive a killed
    program must not hold it.
    """
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return lambda: None  # a full or read-only folder: told at the first save
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise FolderInUseError(
                    f"another process trains with {folder}: end it, or give this one another folder"
                ) from error
            time.sleep(0.1)
        except OSError:
            return lambda: os.close(descriptor)  # a file system without locks
        else:
            return lambda: os.close(descriptor)


def on_signals(act: Callable[[str], bool]) -> Callable[[], None]:
    """Have SIGTERM and SIGINT (Ctrl-C) call ``act`` with ``sigterm`` or ``sigint``.

    Unless the program has a handler of its own. If ``act`` returns False, and in forked children,
    the signal does what it does without a handler. Returns what takes the handlers away.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    removers = [_on_sigterm(lambda: act("sigterm")), _on_sigint(lambda: act("sigint"))]

    def remove() -> None:
        for each in removers:
            each()

    return remove


def _on_sigint(act: Callable[[], bool]) -> Callable[[], None]:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return lambda: None

    def handler(number: int, frame: Any) -> None:
        if not act():
            signal.default_int_handler(number, frame)

    def remove() -> None:
        if signal.getsignal(signal.SIGINT) is handler:
            with contextlib.suppress(ValueError):  # not the main thread: the process is ending
                signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, handler)
    return remove


def _on_sigterm(act: Callable[[], bool]) -> Callable[[], None]:
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None

    def handler(number: int, _frame: Any) -> None:
        if not act():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def remove() -> None:
        if signal.getsignal(signal.SIGTERM) is handler:
            with contextlib.suppress(ValueError):  # not the main thread: the process is ending
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, handler)
    return remove


def in_forked_children(forget: Callable[[], None]) -> None:
    """Call the method ``forget`` in every process forked from here, while its object lives.

    SIGTERM is held back meanwhile: one that reaches a child with this process's handler, before
    ``forget`` has taken it away, would be lost, and a data loader's worker would not end.
    """
    method = weakref.WeakMethod(forget)
    held = threading.local()  # the mask is each thread's own

    def before() -> None:
        if method() is not None:
            held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def after() -> None:
        mask, held.mask = getattr(held, "mask", None), None
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def after_in_child() -> None:
        alive = method()
        if alive is not None:
            alive()
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after_in_child)
