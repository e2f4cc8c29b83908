"""The run of this process: what it resumed from, when it saves, when it stops, how it ends.

One per process, shared by :class:`outlast.Session` and :class:`outlast.Resume`::

    starting -> [resumed] -> step, step, step ... -> finish() -> exit: ``finished``
                               |          |
                             save()   notice: stop() -> ``yielded``, Stopped (exit code 75)

The training thread calls everything here; a watching thread sees the notice and tells the
progress; a writing thread makes snapshots whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, get_args

import __main__
from outlast import cadence
from outlast.checkpoint import Loaded
from outlast.control import Control, say
from outlast.environment import Environment, read_environment
from outlast.exits import ExitWatch, Stopped, leave_at_once, refusal, show_plainly
from outlast.notice import Notice
from outlast.process import in_forked_children, on_signals
from outlast.progress import EX_TEMPFAIL, Note, Phase, Progress
from outlast.saving import Kind, Saving, finite
from outlast.snapshot import Snapshot
from outlast.steps import Steps
from outlast.watch import NoticeFile, Ticker

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
        a daemon's word goes before. Raises SettingError for an environment that makes no sense,
        FolderInUseError if another process trains with the same folder, OSError.
        """
        if cls._current is not None and cls._current.over:
            cls._current.close()
        if cls._current is None:
            show_plainly()
            script = Path(getattr(__main__, "__file__", None) or Path.cwd() / "interactive")
            if not os.access(script.parent, os.W_OK):  # a program installed for all
                script = Path.cwd() / script.name
            environment = read_environment(script=script)
            if not environment.managed:
                environment = replace(
                    environment,
                    scratch=(environment.scratch if folder is None else Path(folder)).absolute(),
                    outputs=environment.outputs if outputs is None else Path(outputs).absolute(),
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
        """The notice in force: of the daemon's and a signal, the one with the earlier deadline."""
        self._notices: dict[Literal["file", "signal"], Notice] = {}
        self._monotonic = monotonic
        self._pid = os.getpid()
        self._leads = environment.rank == 0
        self._several = environment.world_size > 1
        self._control = Control(environment.control, leads=self._leads)
        self._saving = Saving(environment, on_note=self._control.note, monotonic=monotonic)
        self.attempt = self._saving.attempt
        """Number of this attempt, from 1."""
        self._steps = Steps()
        self._progress = Progress(step=0, phase="starting")
        self._resumed: Loaded | None = None
        self._resumed_read = False
        self._training = False
        self._finished = False
        self._stopped = False
        self._exit = ExitWatch(self.end)
        self._remove_handler = on_signals(self._signalled)
        in_forked_children(self._forget)
        self._notice_file: NoticeFile | None = None
        self._ticker: Ticker | None = None
        from outlast import __version__  # noqa: PLC0415 - the package imports this module

        self._control.announce(self._pid, __version__)
        if environment.control is not None and self._leads:
            self._notice_file = NoticeFile(environment.control)
            self._tick()  # a notice that is there already
            self._ticker = Ticker(self._tick)

    @property
    def over(self) -> bool:
        """Whether it stopped in a program that goes on, such as a notebook: a new one may begin."""
        return self._stopped and not self.environment.managed

    # What was before.

    @property
    def resumed(self) -> Loaded | None:
        """The checkpoint that this run goes on from, read at the first call; None: none.

        Raises NewerVersionError, OtherProcessesError, OSError.
        """
        if not self._resumed_read:
            self.phase("restoring")
            self._resumed = self._saving.load()
            self._resumed_read = True
            if self._resumed is not None:
                step = self._steps.done = self._resumed.step
                self._progress = replace(self._progress, resumed_step=step)
                if not self.environment.managed and self._leads:
                    say(
                        f"going on after step {step}, saved in {self.environment.scratch}: remove "
                        "that folder to begin anew"
                    )
        return self._resumed

    # Saving.

    def prepare(self, arrays: Mapping[str, Any]) -> None:
        """Steps begin soon, and saves will hold ``arrays``: have memory for a copy of them."""
        self._saving.prepare(arrays)

    def due(self, now: float | None = None) -> bool:
        """Whether to save now. ``now`` is seconds on CLOCK_MONOTONIC."""
        return self._saving.due(self._monotonic() if now is None else now, self._steps.done)

    def save(self, snapshot: Snapshot, kind: Kind = "cadence") -> None:
        """Make ``snapshot`` a checkpoint, in the background. Returns at once.

        Raises TypeError, naming the path, for a state that is not plain data; what was wrong
        with the arrays of the save before; RuntimeError in a forked process.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("only the process that trains can save, not one forked from it")
        self._saving.save(snapshot, kind)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the newest save is whole; whether it is, within ``timeout`` seconds."""
        return self._saving.flush(timeout)

    def newest_finite(self) -> str:
        """For people, when a metric is not finite: what is left from before."""
        kept = self._saving.newest_finite
        if kept is None:
            return "No checkpoint was saved while all was finite."
        text = f"Checkpoint {kept}, the newest with finite metrics, is kept"
        if self.environment.managed:
            return f"{text}."
        folder = self.environment.scratch / "checkpoints"
        return f"{text}: to go on from it, stop and remove the newer ones in {folder}."

    # Steps.

    def step_begin(self, expected_steps: int = 1) -> None:
        """``expected_steps`` batches begin, with no chance to stop between them."""
        now = self._monotonic()
        if not self._training:
            self._training = True
            self._saving.start(now)
        if self._finished:
            self._finished = False
            self._exit.forget()
        if self._progress.phase not in ("training", "tracing"):
            self._progress = replace(self._progress, phase="training")
        self._steps.begin(now, expected_steps)

    def step_end(self, step: int, steps: int = 1) -> None:
        """``steps`` batches are done; ``step`` counts them over the whole job."""
        now = self._monotonic()
        self._steps.end(now, int(step), steps)
        if self._progress.phase == "tracing":
            self._progress = replace(self._progress, phase="training")
        if self._several:
            at = self._saving.stop_at(now, step, steps, noticed=self.notice is not None)
            self.stop_requested = at is not None and step >= at

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
        changes: dict[str, Any] = {}
        if epoch is not None:
            changes["epoch"] = int(epoch)  # numpy's numbers are not JSON
        if epochs is not None:
            changes["epochs"] = int(epochs)
        if metrics is not None:
            changes["metrics"] = finite(metrics)
        self._progress = replace(self._progress, **changes)

    def note(self, level: Literal["info", "warning", "error"], code: str, text: str) -> None:
        """Tell a person one thing, on stderr and through the daemon."""
        self._control.note(Note(level, code, text))

    # The end.

    def stop(self, snapshot: Snapshot) -> NoReturn:
        """Save, wait until it is whole, say that the program yielded, raise :class:`Stopped`."""
        self.phase("saving")
        self.save(snapshot, "notice")
        self.flush(None)
        saved = self._saving.saved
        step = saved.step if saved is not None else self._steps.done
        if saved is not None:
            self._control.end("yielded", saved.step)
        self._stopped = True
        self._tell_progress(force=True)
        why = "" if self.notice is None else f" ({self.notice.reason})"
        if saved is not None and saved.step == snapshot.step:
            # Inside Outlast nobody runs it again by hand; a cancelled job is not run again at all.
            again = "" if self.environment.managed else ": run again to go on from there"
            say(f"stopped at step {step}{why}, saved{again}")
        else:
            say(f"stopped at step {snapshot.step}{why}, which could not be saved")
        raise Stopped(step)

    def finish(self) -> None:
        """Nothing is left to train: if the program ends well, it is finished.

        Any later step takes it back.
        """
        self._finished = True
        self.phase("between")
        self._exit.forget()

    def end(self, success: bool) -> None:
        """The interpreter ends, ``success`` if not with an exception or a non-zero code.

        Called by itself at exit. Waits until the newest save is whole.
        """
        if os.getpid() != self._pid:
            return
        refused = refusal()
        if refused is not None:
            self._control.note(Note("error", refused.code, str(refused)), said=True)
        self.flush(None)
        # Also if the last save failed: what was trained for is in the outputs by now.
        if success and self._finished and not self._stopped:
            self._control.end("finished", self._steps.done)
        self._tell_progress(force=True)
        self.close()
        if self._stopped and self.environment.managed:
            leave_at_once(EX_TEMPFAIL)

    def close(self) -> None:
        """Let go of everything that belongs to the process, as its end does."""
        if self._ticker is not None:
            self._ticker.close()
        self._exit.close()
        self._remove_handler()
        self._saving.close()
        if Run._current is self:
            Run._current = None

    # Beside training.

    def _tick(self) -> None:
        now = self._monotonic()
        assert self._notice_file is not None
        try:
            self._take_notice("file", self._notice_file.read())
        except (OSError, ValueError) as error:
            self.note("error", "notice-unreadable", f"The notice is not understood: {error}")
        if self.notice is not None and not self._stopped and not self._finished:
            self._saving.hurry()  # also what began since
            elapsed, expected = self._steps.under_way(now)
            saved = self._saving.saved
            verdict = cadence.at_notice(
                left=self.notice.left(now),
                elapsed=elapsed,
                expected=expected,
                save_seconds=None if saved is None else saved.seconds,
            )
            if verdict == "give-up" and saved is not None and self._saving.idle:
                self._control.end("yielded", saved.step)
        self._tell_progress()

    def _take_notice(self, source: Literal["file", "signal"], notice: Notice | None) -> None:
        if notice is None:
            self._notices.pop(source, None)
        else:
            self._notices[source] = notice
        # What a signal changes meanwhile in the other thread is seen at the next look.
        soonest = min(
            list(self._notices.values()), key=lambda each: each.deadline_monotonic, default=None
        )
        if soonest == self.notice:
            return
        self.notice = soonest
        if soonest is None:
            self._control.take_back_end()
        else:
            self._saving.hurry()
        if self.environment.world_size == 1:
            self.stop_requested = soonest is not None

    def _tell_progress(self, *, force: bool = False) -> None:
        saved, now = self._saving.saved, self._monotonic()
        elapsed, expected = self._steps.under_way(now)
        rest = None if elapsed is None or expected is None else max(0.0, expected - elapsed)
        writing = self._saving.under_way
        progress = replace(
            self._progress,
            step=self._steps.done,
            step_seconds=self._steps.seconds,
            saved_step=None if saved is None else saved.step,
            save_seconds=None if saved is None else saved.seconds,
            save_bytes=None if saved is None else saved.bytes,
            save_every=self._saving.every,
            snapshot_seconds=self._saving.snapshot_seconds,
            rest_seconds=rest,
            saving_step=None if writing is None else writing[0],
            saving_seconds=None if writing is None else now - writing[1],
        )
        self._control.progress(progress, now, force=force)

    def _signalled(self, name: str) -> bool:
        if os.getpid() != self._pid or self._finished:
            return False  # a forked worker, or nothing to save
        if name == "sigint" and (self._notices or self._steps.done == 0):
            return False  # a second Ctrl-C, or nothing was trained yet
        if "signal" not in self._notices:
            deadline = self._monotonic() + _SIGTERM_GRACE
            self._take_notice("signal", Notice(name, name, _SIGTERM_GRACE, deadline, ""))
        if name == "sigint":
            say("Ctrl-C: saving after the step under way; once more stops at once")
        return True

    def _forget(self) -> None:
        """A forked data-loader worker neither trains nor ends the run."""
        if Run._current is self:
            Run._current = None
        self._remove_handler()
