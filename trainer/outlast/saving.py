"""The saves of one run: when one is due, what it takes in, and handing it to the writer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

import __main__
from outlast.arena import Arena
from outlast.checkpoint import Loaded, load_newest
from outlast.durable import make_folder
from outlast.environment import Environment
from outlast.fingerprint import fingerprint
from outlast.images import Copied, Copier, Image
from outlast.manifest import CheckpointId, NewerVersionError
from outlast.objects import Written
from outlast.outputs import Capture, Outputs, restore_outputs, told_left_out
from outlast.plain import PREFIX, encode
from outlast.process import hold
from outlast.progress import Note
from outlast.ranks import Board
from outlast.refused import OtherProcessesError, OutputsError, SettingError
from outlast.retention import next_attempt, sweep
from outlast.schedule import Schedule
from outlast.snapshot import Snapshot
from outlast.writer import Save, Saved, Writer

Kind = Literal["cadence", "notice", "fit", "end"]

_SPREAD = 0.5
"""The writing of a save on cadence may take this part of the time until the next."""


class Saving:
    """Used by the training thread; :attr:`saved` and :attr:`idle` may be read from any."""

    def __init__(
        self,
        environment: Environment,
        *,
        on_note: Callable[[Note], None],
        monotonic: Callable[[], float],
    ) -> None:
        """Raises FolderInUseError, SettingError, OSError."""
        self._environment = environment
        self._scratch = environment.scratch.absolute()
        self._on_note, self._monotonic = on_note, monotonic
        self._leads = environment.rank == 0
        make_folder(self._scratch)
        self._let_go = hold(self._scratch) if self._leads else lambda: None
        self.attempt = environment.attempt or next_attempt(self._scratch)
        if self._leads:
            with contextlib.suppress(OSError):  # a full or read-only disk is told at the save
                sweep(self._scratch, self.attempt)
        self._outputs = _outputs(environment, self._scratch) if self._leads else None
        self._board = Board(self._scratch, self.attempt) if environment.world_size > 1 else None
        alone = environment.world_size == 1  # of several, rank 0 looks for the parts in scratch
        self._arena = Arena(environment.memory if alone else None, processes=environment.world_size)
        self._copier = Copier(self._arena)
        self._writer = Writer(
            self._scratch,
            job=environment.job,
            attempt=self.attempt,
            rank=environment.rank,
            world_size=environment.world_size,
            arena=self._arena,
            fingerprint=fingerprint,
            on_note=on_note,
        )
        self._schedule = Schedule(
            environment.every,
            max_overhead=environment.max_overhead,
            between_losses=environment.between_losses,
        )
        self._submitted: int | None = None
        self._submitted_at = 0.0
        self._number = 0
        self._told_memory = False
        self._told_left_out: set[str] = set()
        self._passed_over = False

    @property
    def saved(self) -> Saved | None:
        """The newest save of this process that is whole."""
        return self._writer.saved

    @property
    def every(self) -> float:
        """Seconds from the latest save to the next."""
        return self._schedule.interval

    @property
    def newest_finite(self) -> CheckpointId | None:
        """The newest whole checkpoint of which all metrics were finite."""
        return self._writer.newest_finite

    @property
    def idle(self) -> bool:
        """Whether nothing is being written or waits to be."""
        return self._writer.idle

    @property
    def under_way(self) -> tuple[int, float] | None:
        """The step of the newest save that is not whole yet, and since when (monotonic).

        What the writer rested meanwhile is left out.
        """
        if self._submitted is None or self._writer.idle:
            return None
        return self._submitted, self._submitted_at + self._writer.rested

    @property
    def snapshot_seconds(self) -> float | None:
        """How long training stood still for the latest save."""
        return self._schedule.stood_still

    def load(self) -> Loaded | None:
        """The newest whole checkpoint, to go on from; the outputs folder is brought back.

        Raises NewerVersionError, OtherProcessesError, OutputsError, OSError.
        """
        try:
            loaded = load_newest(
                self._scratch,
                rank=self._environment.rank,
                world_size=self._environment.world_size,
                on_damaged=self._damaged,
            )
        except (NewerVersionError, OtherProcessesError) as error:
            raise type(error)(self._environment.instead(str(error))) from None
        if loaded is None and self._passed_over:
            text = "no whole checkpoint is left: training begins from nothing."
            self._on_note(Note("warning", "checkpoint-none-whole", text))
        if loaded is not None:
            self._writer.resumed_from(loaded.manifest, loaded.all_arrays)
            if self._outputs is not None and not self._environment.managed:
                self._restore_outputs(loaded, self._outputs.folder)
        return loaded

    def _restore_outputs(self, loaded: Loaded, folder: Path) -> None:
        try:
            restore_outputs(self._scratch, loaded.manifest, folder)
        except OSError as error:
            at = f": {error.filename}" if error.filename else ""
            raise OutputsError(
                f"the outputs folder {folder} cannot be brought back to checkpoint {loaded.id}: "
                f"{error.strerror or error}{at}; make all in it readable and writable for this "
                "process, or empty it, and start again"
            ) from error

    def _damaged(self, id_: CheckpointId, why: str) -> None:
        self._passed_over = True
        text = f"checkpoint {id_} is passed over for the one before: {why}."
        self._on_note(Note("warning", "checkpoint-damaged", text))

    def prepare(self, arrays: Mapping[str, Any]) -> None:
        """Have memory for saves of ``arrays``, before the first step rather than at the first save.

        Where there is none, saves take longer: they hold what they can and copy the rest anew.
        """
        self._copier.prepare(arrays)
        if self._arena.refused and not self._told_memory:
            self._told_memory = True
            text = (
                f"there is no memory for a copy of what is saved ({self._arena.refused / 1e6:,.0f} "
                "MB): the steps after a save take longer. Give the job more memory, or a smaller "
                "batch."
            )
            self._on_note(Note("info", "save-copy-memory", text))

    def hurry(self) -> None:
        """Have what is being written ended as soon as can be."""
        self._writer.hurry()

    def start(self, now: float) -> None:
        """Steps begin; ``now`` is seconds on CLOCK_MONOTONIC here and below."""
        self._schedule.start(now)

    def due(self, now: float, step: int) -> bool:
        """Whether to save now that ``step`` is done."""
        if self._board is not None:
            if self._board.read().save_at != step:
                return False
            self._schedule.due(now)  # from here on training stands still
            return True
        return self._is_time(now) and self._schedule.due(now)

    def _is_time(self, now: float) -> bool:
        return self._schedule.over(now) and self._writer.idle

    def stop_at(self, now: float, step: int, steps: int, *, noticed: bool) -> int | None:
        """The step at which all ranks stop, agreed on now that ``step`` is done; None: none yet."""
        if self._board is None:
            return step if noticed else None
        plan = self._board.agree(
            step,
            ahead=2 * steps,
            stop=self._leads and noticed,
            save=lambda: self._leads and self._is_time(now),
        )
        return plan.stop_at

    def save(self, snapshot: Snapshot, kind: Kind) -> None:
        """Hand ``snapshot`` to the writer. Raises TypeError, ValueError."""
        if self._writer.failed is not None:
            error, self._writer.failed = self._writer.failed, None
            raise error
        began = self._monotonic()
        if kind != "cadence" or self._submitted != snapshot.step:
            self._submit(snapshot, kind)
        saved = self._writer.saved
        background = 0.0 if saved is None else saved.seconds
        self._schedule.saved(began, self._monotonic(), background)

    def _submit(self, snapshot: Snapshot, kind: Kind) -> None:
        self._number += 1
        state, arrays = encode(snapshot.state)
        wrong = next((name for name in snapshot.arrays if name.startswith(PREFIX)), None)
        if wrong is not None:
            raise ValueError(f"the name of array {wrong!r} must not begin with {PREFIX!r}")
        capture = Capture()
        if self._outputs is not None:
            try:
                capture = self._outputs.capture(still=kind != "cadence")
            except OSError as error:
                self._writer.tell_failed(snapshot.step, error)
                return
            if self._outputs.left_out > self._told_left_out:
                self._told_left_out = set(self._outputs.left_out)
                text = told_left_out(self._told_left_out)
                self._on_note(Note("warning", "outputs-left-out", text))
        metrics = finite(snapshot.metrics)
        try:
            kept, images = self._keep(snapshot, arrays, kind)
        except BaseException:
            capture.release(None)
            raise

        def release(written: Written | None) -> None:
            if images:
                self._arena.give()
            capture.release(written)

        self._writer.submit(
            Save(
                step=snapshot.step,
                kind=kind,
                state=state,
                arrays=kept,
                images=images,
                # Rank 0 waits for the others: what they rest would count as the cost of a save.
                spread=_SPREAD * self._schedule.interval if self._board is None else 0.0,
                metrics=metrics,
                finite=len(metrics) == len(snapshot.metrics),
                files=capture.files,
                release=release,
                # The daemon reads through this kernel; the disk goes with the machine.
                fsync=not (self._environment.managed and kind == "notice"),
                number=self._number,
            )
        )
        self._submitted, self._submitted_at = snapshot.step, self._monotonic()

    def _keep(
        self, snapshot: Snapshot, more: Mapping[str, Any], kind: Kind
    ) -> tuple[dict[str, Any], tuple[Image, ...]]:
        """All arrays as they will stay, and where they were copied to if they were."""
        found = {**snapshot.arrays, **more}
        images: tuple[Image, ...] = ()
        if snapshot.live and kind != "cadence":
            self._writer.flush(None)  # it comes first anyway, and gives its memory back
        if snapshot.live or kind != "notice":
            changing = self._writer.changing
            copied = self._copier.copy(found, live=snapshot.live, changing=changing)
            if copied is not None:
                found, images = copied
        if snapshot.live:
            left = [name for name in snapshot.arrays if not isinstance(found[name], Copied)]
            try:
                found.update({name: np.array(found[name], order="K") for name in left})
            except BaseException:
                if images:
                    self._arena.give()
                raise
        return found, images

    def flush(self, timeout: float | None) -> bool:
        """Wait until the newest save is whole; whether it is, within ``timeout`` seconds."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Let other processes train with the folder."""
        self._writer.close()
        self._arena.close()
        self._let_go()
        self._let_go = lambda: None


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that JSON can say."""
    return {str(k): float(v) for k, v in metrics.items() if math.isfinite(float(v))}


def _outputs(environment: Environment, scratch: Path) -> Outputs | None:
    if environment.outputs is None:
        return None
    folder = environment.outputs.absolute()
    script = getattr(__main__, "__file__", None)
    for inside in (scratch, *([Path(script)] if script else [])):
        if not environment.managed and inside.resolve().is_relative_to(folder.resolve()):
            raise SettingError(
                f"the outputs folder {folder} holds {inside}: give a folder of its own, since a "
                "resume removes from it what was not there"
            )
    folder.mkdir(parents=True, exist_ok=True)
    return Outputs(folder, spool=scratch)
