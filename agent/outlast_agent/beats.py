"""The heartbeat: into the store every two seconds, and into a local file for ``status``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from outlast.durable import replace_file
from outlast_agent import layout, records
from outlast_agent.attempt import Attempt
from outlast_agent.clock import stamp
from outlast_agent.context import Context
from outlast_agent.state import State
from outlast_agent.stores.base import StoreError

SECONDS = 2.0
LAST_SECONDS = 3.0
"""For the last one."""


@dataclass(frozen=True)
class Standing:
    """What the daemon stands at, for one beat."""

    state: State
    attempt: Attempt | None
    waits: str
    """What it waits for, in words."""
    others: bool
    """Another machine's attempt is live: the job's heartbeat is its."""


class Beater:
    """Beats until the daemon stops."""

    def __init__(
        self, context: Context, standing: Callable[[], Standing], after: Callable[[], None]
    ) -> None:
        """``after`` is called with each beat, for what else is to be written down locally."""
        self._context, self._standing, self._after = context, standing, after
        # Counts up over restarts too, without anything to remember: no daemon beats this fast.
        self._sequence = int(time.time() * 10)

    def run(self) -> None:
        """Beat, every two seconds."""
        while True:
            self.beat()
            if self._context.stop.wait(SECONDS):
                return

    def last(self) -> None:
        """Once more as the machine goes. A store that is slow is not waited for."""
        self._context.thread("last beat", self.beat).join(LAST_SECONDS)

    def beat(self) -> None:
        """Once. A store that does not take it is shown on the board."""
        context = self._context
        self._sequence += 1
        standing = self._standing()
        beat = build(context, standing, self._sequence, time.monotonic())
        try:
            replace_file(context.folders.status, records.dump(beat), fsync=False)
            self._after()
        except OSError as error:
            # Most likely a full disk: training may go on, so may the daemon.
            context.board.put("disk", str(error))
        else:
            context.board.put("disk", None)
        if standing.others:
            return
        try:
            context.store.put(layout.beat(context.spec.job), records.dump(beat))
        except StoreError as error:
            context.board.put("heartbeat", str(error))
        else:
            context.board.put("heartbeat", None)


def build(context: Context, standing: Standing, sequence: int, now: float) -> records.Beat:
    """One beat."""
    spec, state, attempt = context.spec, standing.state, standing.attempt
    beat = records.Beat(
        at=stamp(),
        job=spec.job,
        attempt=state.attempt,
        launch=spec.launch,
        machine=spec.machine,
        boot_id=context.boot_id,
        sequence=sequence,
        phase=state.phase,
        detail="; ".join(text for text in (standing.waits, context.board.text()) if text)[:1000],
        notice_seconds_left=None if state.notice is None else round(state.notice.left(now), 1),
    )
    if attempt is None:
        return beat
    age = attempt.durable_age(now)
    update: dict[str, object] = {
        "durable_step": attempt.durable_step,
        "durable_every": None if attempt.uploader is None else attempt.uploader.every,
        "durable_age": None if age is None else round(age, 1),
        "flush_seconds": attempt.outlook().flush_seconds(now),
        "resumed_step": None if attempt.parent is None else attempt.parent.step,
        "concerns": attempt.concerns.lines(),
    }
    progress = attempt.progress
    if progress is not None:
        update |= {
            "step": progress.step,
            "step_seconds": progress.step_seconds,
            "saved_step": progress.saved_step,
            "save_every": progress.save_every,
            "epoch": progress.epoch,
            "epochs": progress.epochs,
            "metrics": progress.metrics,
            "activity": progress.phase,
            "activity_age": round(now - attempt.advanced_at, 1),
        }
        if progress.phase == "training":
            # In validation, or while tracing, no step is due.
            update["step_age"] = round(now - attempt.advanced_at, 1)
    return beat.model_copy(update=update)
