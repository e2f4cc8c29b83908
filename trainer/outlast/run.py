"""The run of this process: what it resumed from, when it saves, when it stops, how it ends.

One per process, shared by :class:`outlast.Session` and :class:`outlast.Resume`::

    starting -> [resumed] -> step, step, step ... -> finish() -> exit: ``finished``
                               |          |
                             save()   notice: stop() -> ``yielded``, Stopped (exit code 75)

The training thread calls everything here; a watching thread sees the notice and tells the
progress; a writing thread makes snapshots whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, get_args

import __main__
from outlast import cadence
from outlast.checkpoint import Loaded, load_newest
from outlast.environment import Environment, read_environment
from outlast.exits import ExitWatch, Stopped
from outlast.fingerprint import fingerprint
from outlast.manifest import CheckpointId
from outlast.notice import Notice
from outlast.outputs import Outputs, restore_outputs
from outlast.plain import PREFIX, encode
from outlast.progress import (
    Announcement,
    End,
    Note,
    Outcome,
    Phase,
    Progress,
    append_note,
    write_announcement,
    write_end,
    write_progress,
)
from outlast.ranks import Board
from outlast.retention import next_attempt, sweep
from outlast.snapshot import Snapshot
from outlast.steps import Steps
from outlast.watch import PROGRESS_EVERY, NoticeFile, Ticker
from outlast.writer import Save, Writer

Kind = Literal["cadence", "notice", "fit", "end"]

_SIGTERM_GRACE = 10.0  # what Docker gives after SIGTERM; others give more


class Run:
    """Training in this process. Create it through :meth:`current`."""

    _current: ClassVar[Run | None] = None

    stop_requested: bool
    """Whether to stop at the next batch. Reading it costs nothing."""

    @classmethod
    def current(
        cls,
        *,
        folder: str | os.PathLike[str] | None = None,
        outputs: str | os.PathLike[str] | None = None,
        every: float | None = None,
    ) -> Run:
        """The run of this process, made at the first call.

        ``folder``, ``outputs`` and ``every`` (seconds between saves) hold outside Outlast only;
        a daemon's word goes before. Raises ValueError for an environment that makes no sense,
        BlockingIOError if another process trains with the same folder, OSError.
        """
        if cls._current is None:
            script = Path(getattr(__main__, "__file__", None) or Path.cwd() / "interactive")
            environment = read_environment(script=script)
            if not environment.managed:
                environment = replace(
                    environment,
                    scratch=environment.scratch if folder is None else Path(folder),
                    outputs=environment.outputs if outputs is None else Path(outputs),
                    every=environment.every if every is None else every,
                )
            cls._current = cls(environment)
        return cls._current

    def __init__(
        self, environment: Environment, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.environment = environment
        self.stop_requested = False
        self.notice: Notice | None = None
        """The notice in force."""
        self._monotonic = monotonic
        self._pid = os.getpid()
        self._scratch = environment.scratch.absolute()
        self._leads = environment.rank == 0
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._scratch / "lock") if self._leads else None
        self.attempt = environment.attempt or next_attempt(self._scratch)
        if self._leads:
            with contextlib.suppress(OSError):  # a full or read-only disk is told at the save
                sweep(self._scratch, self.attempt)
        self._outputs = _outputs(environment, self._scratch) if self._leads else None
        self._board = Board(self._scratch, self.attempt) if environment.world_size > 1 else None
        self._writer = Writer(
            self._scratch,
            job=environment.job,
            attempt=self.attempt,
            rank=environment.rank,
            world_size=environment.world_size,
            fingerprint=fingerprint,
            on_note=self._tell,
        )
        self._steps = Steps()
        self._progress = Progress(step=0, phase="starting")
        self._progress_written: tuple[float, Progress] = (-math.inf, self._progress)
        self._resumed: Loaded | None = None
        self._resumed_read = False
        self._interval = cadence.interval(0, 0, every=environment.every)
        self._next_due = -math.inf
        self._due_since: float | None = None
        self._submitted_step: int | None = None
        self._finished = False
        self._stopped = False
        self._end: End | None = None
        self._exit = ExitWatch(self._at_exit)
        self._handler = _take_sigterm(self)
        self._notice_file: NoticeFile | None = None
        self._ticker: Ticker | None = None
        if environment.control is not None and self._leads:
            from outlast import __version__  # noqa: PLC0415 - the package imports this module

            write_announcement(environment.control, Announcement(self._pid, __version__))
            self._notice_file = NoticeFile(environment.control)
            self._tick()  # a notice that is there already
            self._ticker = Ticker(self._tick)
        _after_fork_forget(self)

    # What was before.

    @property
    def resumed(self) -> Loaded | None:
        """The checkpoint that this run goes on from, read at the first call; None: none.

        Raises NewerVersionError, ValueError (another number of processes), OSError.
        """
        if not self._resumed_read:
            self.phase("restoring")
            self._resumed = load_newest(
                self._scratch,
                rank=self.environment.rank,
                world_size=self.environment.world_size,
                on_damaged=self._damaged,
            )
            self._resumed_read = True
            if self._resumed is not None:
                self._go_on_from(self._resumed)
        return self._resumed

    def _go_on_from(self, loaded: Loaded) -> None:
        self._writer.resumed_from(loaded.manifest, loaded.all_arrays)
        self._steps.done = loaded.step
        self._progress = replace(self._progress, step=loaded.step, resumed_step=loaded.step)
        if self._outputs is not None and not self.environment.managed:
            restore_outputs(self._scratch, loaded.manifest, self._outputs.folder)

    def _damaged(self, id_: CheckpointId, why: str) -> None:
        self.note(
            "warning",
            "checkpoint-damaged",
            f"checkpoint {id_} is passed over for the one before: {why}.",
        )

    # Saving.

    def due(self, now: float | None = None) -> bool:
        """Whether to save now. ``now`` is seconds on CLOCK_MONOTONIC."""
        if self._board is not None:
            return self._board.read().save_at == self._steps.done
        return self._cadence_due(self._monotonic() if now is None else now)

    def _cadence_due(self, now: float) -> bool:
        if now < self._next_due or not self._writer.idle:
            return False
        if self._due_since is None:
            self._due_since = now
        return True

    def save(self, snapshot: Snapshot, kind: Kind = "cadence") -> None:
        """Make ``snapshot`` a checkpoint, in the background. Returns at once.

        Raises TypeError, naming the path, for a state that is not plain data; what was wrong
        with the arrays of the save before; RuntimeError in a forked process.
        """
        self._own_process()
        if self._writer.failed is not None:
            error, self._writer.failed = self._writer.failed, None
            raise error
        now = self._monotonic()
        if kind == "cadence" and self._submitted_step == snapshot.step:
            self._schedule(now)
            return
        state, arrays = encode(snapshot.state)
        wrong = next((name for name in snapshot.arrays if name.startswith(PREFIX)), None)
        if wrong is not None:
            raise ValueError(f"the name of array {wrong!r} must not begin with {PREFIX!r}")
        capture = None
        if self._outputs is not None:
            capture = self._outputs.capture(still=kind != "cadence")
        self._writer.submit(
            Save(
                step=snapshot.step,
                kind=kind,
                state=state,
                arrays={**snapshot.arrays, **arrays},
                metrics=_finite(snapshot.metrics),
                files=() if capture is None else capture.files,
                release=(lambda _written: None) if capture is None else capture.release,
                # The daemon reads through this kernel; the disk goes with the machine.
                fsync=not (self.environment.managed and kind == "notice"),
            )
        )
        self._submitted_step = snapshot.step
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        ended = self._monotonic()
        began = now if self._due_since is None else self._due_since
        self._due_since = None
        saved = self._writer.saved
        self._interval = cadence.interval(
            ended - began,
            0.0 if saved is None else saved.seconds,
            every=self.environment.every,
        )
        self._next_due = ended + self._interval

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the newest save is whole; whether it is, within ``timeout`` seconds."""
        return self._writer.flush(timeout)

    # Steps.

    def step_begin(self, expected_steps: int = 1) -> None:
        """``expected_steps`` batches begin, with no chance to stop between them."""
        now = self._monotonic()
        if self._next_due == -math.inf:
            self._next_due = now + self._interval
        if self._finished:
            self._finished = False
            self._exit.forget()
        if self._progress.phase not in ("training", "tracing"):
            self._progress = replace(self._progress, phase="training")
        self._steps.begin(now, expected_steps)

    def step_end(self, step: int, steps: int = 1) -> None:
        """``steps`` batches are done; ``step`` counts them over the whole job."""
        now = self._monotonic()
        self._steps.end(now, step, steps)
        if self._progress.phase == "tracing":
            self._progress = replace(self._progress, phase="training")
        if self._board is not None:
            self._agree(self._board, now, step, steps)

    def _agree(self, board: Board, now: float, step: int, steps: int) -> None:
        plan = board.read()
        if self._leads:
            ahead = step + 2 * steps
            if self.notice is not None and plan.stop_at is None:
                plan = replace(plan, stop_at=ahead)
            elif (plan.save_at is None or plan.save_at < step) and self._cadence_due(now):
                plan = replace(plan, save_at=ahead)
            if plan != board.read():
                board.publish(plan)
        self.stop_requested = plan.stop_at is not None and step >= plan.stop_at

    def phase(self, phase: Phase) -> None:
        """What the program does now; leaving ``training`` gives up the step under way."""
        if phase not in get_args(Phase):
            raise ValueError(f"{phase!r} is not one of {', '.join(get_args(Phase))}")
        if phase not in ("training", "tracing"):
            self._steps.idle()
        self._progress = replace(self._progress, phase=phase)

    def describe(
        self,
        *,
        epoch: int | None = None,
        epochs: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """What a person wants to see: epochs from 1, the latest metrics."""
        changes: dict[str, Any] = {"epoch": epoch, "epochs": epochs}
        if metrics is not None:
            changes["metrics"] = _finite(metrics)
        changes = {name: value for name, value in changes.items() if value is not None}
        self._progress = replace(self._progress, **changes)

    def note(self, level: Literal["info", "warning", "error"], code: str, text: str) -> None:
        """Tell a person one thing, on stderr and through the daemon."""
        self._tell(Note(level, code, text))

    # The end.

    def stop(self, snapshot: Snapshot) -> NoReturn:
        """Save, wait until it is whole, say that the program yielded, raise :class:`Stopped`."""
        self.phase("saving")
        self.save(snapshot, "notice")
        self.flush(None)
        saved = self._writer.saved
        step = saved.step if saved is not None else self._steps.done
        if saved is not None:
            self._write_end("yielded", saved.step)
        self._stopped = True
        self._write_progress(force=True)
        why = "" if self.notice is None else f" ({self.notice.reason})"
        if saved is not None and saved.step == snapshot.step:
            _say(f"stopped at step {step}{why}, saved: run again to go on from there")
        else:
            _say(f"stopped at step {snapshot.step}{why}, which could not be saved")
        raise Stopped(step)

    def finish(self) -> None:
        """Nothing is left to train: if the program ends well, it is finished.

        Any later step takes it back.
        """
        self._finished = True
        self._steps.idle()
        self._exit.forget()

    def close(self) -> None:
        """Let go of everything that belongs to the process, as its end does."""
        if self._ticker is not None:
            self._ticker.close()
        self._exit.close()
        if self._handler is not None and signal.getsignal(signal.SIGTERM) == self._handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if Run._current is self:
            Run._current = None

    def _at_exit(self, success: bool) -> None:
        if os.getpid() != self._pid:
            return
        whole = self.flush(None)
        if success and self._finished and not self._stopped and whole:
            self._write_end("finished", self._steps.done)
        self._write_progress(force=True)
        self.close()

    def _write_end(self, outcome: Outcome, step: int) -> None:
        end = End(outcome, step)
        if self.environment.control is None or not self._leads or end == self._end:
            return
        try:
            write_end(self.environment.control, end)
            self._end = end
        except OSError as error:
            _say(f"the end could not be told to the daemon: {error}")

    # Beside training.

    def _tick(self) -> None:
        now = self._monotonic()
        assert self._notice_file is not None
        try:
            self._take_notice(self._notice_file.read())
        except (OSError, ValueError) as error:
            self._tell(Note("error", "notice-unreadable", f"The notice is not understood: {error}"))
        if self.notice is not None and not self._stopped and not self._finished:
            elapsed, expected = self._steps.under_way(now)
            saved = self._writer.saved
            verdict = cadence.at_notice(
                left=self.notice.left(now),
                elapsed=elapsed,
                expected=expected,
                save_seconds=None if saved is None else saved.seconds,
            )
            if verdict == "give-up" and saved is not None and self._writer.idle:
                self._write_end("yielded", saved.step)
        self._write_progress()

    def _take_notice(self, notice: Notice | None) -> None:
        if notice == self.notice or (notice is None and self._sigtermed()):
            return
        self.notice = notice
        if self._board is None:
            self.stop_requested = notice is not None

    def _sigtermed(self) -> bool:
        return self.notice is not None and self.notice.reason == "sigterm"

    def _write_progress(self, *, force: bool = False) -> None:
        control = self.environment.control
        if control is None or not self._leads:
            return
        now = self._monotonic()
        saved = self._writer.saved
        progress = replace(
            self._progress,
            step=self._steps.done,
            step_seconds=self._steps.seconds,
            saved_step=None if saved is None else saved.step,
            save_seconds=None if saved is None else saved.seconds,
            save_bytes=None if saved is None else saved.bytes,
        )
        written_at, written = self._progress_written
        if not force and (now - written_at < PROGRESS_EVERY or progress == written):
            return
        self._progress_written = (now, progress)
        with contextlib.suppress(OSError):  # told again in half a second; training matters more
            write_progress(control, replace(progress, at_monotonic=now))

    def _tell(self, note: Note) -> None:
        _say(note.text)
        if self.environment.control is not None:
            with contextlib.suppress(OSError):  # it is on stderr, which the daemon keeps
                append_note(self.environment.control, note)

    def _own_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("only the process that trains can save, not one forked from it")


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr closed or absent
        sys.stderr.write(f"outlast: {text}\n")
        sys.stderr.flush()


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {str(k): float(v) for k, v in metrics.items() if math.isfinite(float(v))}


def _lock(path: Path) -> int | None:
    """Held until this process ends, however it ends; not inherited by forked ones."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return None  # a read-only folder: told at the first save
    deadline = time.monotonic() + 5
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise BlockingIOError(
                    f"another process trains with {path.parent}: end it, or give this one "
                    "another folder"
                ) from error
            time.sleep(0.1)
        except OSError:  # a file system without locks
            return descriptor


def _outputs(environment: Environment, scratch: Path) -> Outputs | None:
    if environment.outputs is None:
        return None
    folder = environment.outputs.absolute()
    script = getattr(__main__, "__file__", None)
    for inside in (scratch, *([Path(script)] if script else [])):
        if not environment.managed and inside.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"the outputs folder {folder} holds {inside}: give a folder of its own, since a "
                "resume removes from it what was not there"
            )
    folder.mkdir(parents=True, exist_ok=True)
    return Outputs(folder, spool=scratch)


def _take_sigterm(run: Run) -> Callable[[int, Any], None] | None:
    """Treat SIGTERM as a notice, unless the program has a handler of its own."""
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None

    def handler(number: int, _frame: Any) -> None:
        if os.getpid() != run._pid or run._finished:
            # A forked worker, or nothing to save: as if there were no handler.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if run.notice is None:
            deadline = run._monotonic() + _SIGTERM_GRACE
            run._take_notice(Notice("sigterm", "sigterm", _SIGTERM_GRACE, deadline, ""))

    signal.signal(signal.SIGTERM, handler)
    return handler


def _after_fork_forget(run: Run) -> None:
    """A forked data-loader worker neither trains nor ends the run."""
    reference = weakref.ref(run)

    def forget() -> None:
        forked = reference()
        if forked is None:
            return
        if Run._current is forked:
            Run._current = None
        if forked._handler is not None and signal.getsignal(signal.SIGTERM) == forked._handler:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    os.register_at_fork(after_in_child=forget)
