"""``outlast.Session``: for every framework and every loop of one's own.

Five lines make a loop outlast its machine::

    session = outlast.Session()
    session.track(rng=rng)                              # restored here, saved with every save
    if session.restored:
        model.coef_ = session.arrays["coef"]
    for step in session.steps(1000):                    # goes on at the very next step
        model.partial_fit(*batch(rng), classes=classes)
        session.arrays["coef"] = model.coef_
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np

from outlast.generators import read_generators, set_generators
from outlast.machines import compare
from outlast.plain import encode
from outlast.refused import OtherModelError, OtherProgramError
from outlast.run import Run
from outlast.snapshot import Snapshot
from outlast.tracked import Tracked
from outlast.tracking import track

_KIND = "session"


class Session:
    """Saves and restores a training loop. One per process; the same in each rank.

    What to save is whatever :attr:`arrays` and :attr:`state` hold when a step ends, and
    everything that was given to :meth:`track`, and the global random generators of Python,
    NumPy and PyTorch.
    """

    def __init__(
        self,
        *,
        folder: str | os.PathLike[str] | None = None,
        outputs: str | os.PathLike[str] | None = None,
        every: float | None = None,
    ) -> None:
        """Read the newest checkpoint, if there is one.

        ``folder`` for checkpoints, the ``outputs`` folder that belongs to them, and seconds
        between saves (``every``; None: chosen from their cost) hold outside Outlast only.
        Random generators are restored here, and again when :meth:`steps` begins: seed them
        before. Raises OtherProgramError (a ValueError) for a checkpoint that is not of a session,
        and what else :mod:`outlast.refused` has; OSError.
        """
        self._run = Run.current(folder=folder, outputs=outputs, every=every)
        self._tracked: dict[str, Tracked] = {}
        self._metrics: dict[str, float] = {}
        self._told_nan = False
        self._prepared = False
        loaded = self._run.resumed
        saved = {} if loaded is None else loaded.state
        if loaded is not None and (not isinstance(saved, dict) or saved.get("kind") != _KIND):
            raise OtherProgramError(
                f"checkpoint {loaded.id} was not written by outlast.Session: "
                + self._run.environment.instead("run the program that wrote it")
            )
        compare(self._run)
        self._saved: dict[str, Any] = saved
        self.restored = loaded is not None
        """Whether there was a checkpoint to go on from."""
        self.state: dict[str, Any] = saved.get("state", {})
        """Plain data to be saved: what was saved, if restored; else empty."""
        self.arrays: dict[str, Any] = {} if loaded is None else dict(loaded.arrays)
        """Arrays by name to be saved: what was saved, if restored; else empty."""
        self.steps_done = 0 if loaded is None else loaded.step
        """Steps done over the whole job."""
        if "generators" in saved:
            set_generators(saved["generators"])

    @property
    def rank(self) -> int:
        """Index of this process among those that train together, from 0."""
        return self._run.environment.rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self._run.environment.world_size

    @property
    def should_stop(self) -> bool:
        """Whether the machine is about to go: end the step under way and call :meth:`step`."""
        return self._run.stop_requested

    def track(self, *, dataset: Iterable[Any] | None = None, **objects: Any) -> Any:
        """Save ``objects`` with every save, and restore them now if there is a checkpoint.

        Takes Keras models and optimizers, NumPy generators, and everything that has
        ``state_dict`` and ``load_state_dict`` (PyTorch modules, optimizers, schedulers). A
        ``dataset`` (``tf.data``) is returned as an iterable to be used in its place, which goes
        on where it was. Raises OtherModelError (a ValueError), naming the variable, if the
        checkpoint is of another model, before anything is changed; TypeError for what cannot be
        tracked.
        """
        if dataset is not None:
            objects["dataset"] = dataset
        known = self._tracked.keys() & objects.keys()
        if known:
            raise ValueError(f"{', '.join(sorted(known))} is tracked already: give another name")
        tracked = track(objects)
        if self.restored:
            saved = self._saved.get("tracked", {})
            for name, thing in tracked.items():
                wrong = "it is not in there" if name not in saved else thing.check(saved[name])
                if wrong is not None:
                    raise self._refused(f"{name} does not fit: {wrong}")
            for name, thing in tracked.items():
                thing.restore(saved[name])
        for thing in tracked.values():
            for code, text in thing.warnings:
                self._run.note("warning", code, text)
        self._tracked.update(tracked)
        return None if dataset is None else tracked["dataset"].iterable

    def steps(self, total: int) -> Iterator[int]:
        """The numbers of the steps still to be done, up to ``total``; each ends with a save if due.

        When all are done, the session is finished. After a ``break``, call :meth:`finish`.
        """
        if "generators" in self._saved:
            set_generators(self._saved["generators"])
        while self.steps_done < total:
            self._run.step_begin()
            yield self.steps_done
            self._end_step()
        self.finish()

    def step(self, **metrics: float) -> None:
        """One step is done: save if that is due, stop if a notice came.

        For loops without :meth:`steps`. ``metrics`` are shown to people. Raises
        :class:`outlast.exits.Stopped`, which ends the program with exit code 75, after a save.
        """
        self.describe(**metrics)
        self._end_step()
        self._run.step_begin()

    def describe(self, **metrics: float) -> None:
        """Show ``metrics`` (numbers) to people, with the progress."""
        values = {name: float(value) for name, value in metrics.items()}
        if not self._told_nan and not all(map(math.isfinite, values.values())):
            self._told_nan = True
            bad = ", ".join(name for name, value in values.items() if not math.isfinite(value))
            text = f"{bad} is not finite after step {self.steps_done}. {self._run.newest_finite()}"
            self._run.note("warning", "loss-not-finite", text)
        self._metrics.update(values)
        self._run.describe(metrics=self._metrics)

    def finish(self) -> None:
        """Nothing is left to train: save the end, so that running again returns at once."""
        resumed = self._run.resumed
        if resumed is None or resumed.step != self.steps_done or resumed.kind != "end":
            self._run.save(self._snapshot(), "end")
        self._run.finish()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()

    def _refused(self, why: str) -> OtherModelError:
        loaded, environment = self._run.resumed, self._run.environment
        assert loaded is not None, "only what is restored can be refused"
        what = f"checkpoint {loaded.id} is of another model or program"
        return OtherModelError(f"{what}: {why}; {environment.instead('track what it had')}")

    def _end_step(self) -> None:
        if not self._prepared:  # what is saved is known now, and no save is due yet
            self._prepared = True
            snapshot = self._snapshot()
            self._run.prepare({**snapshot.arrays, **encode(snapshot.state)[1]})
        self.steps_done += 1
        self._run.step_end(self.steps_done)
        if self._run.stop_requested:
            self._run.stop(self._snapshot())
        if self._run.due():
            self._run.save(self._snapshot())

    def _snapshot(self) -> Snapshot:
        state = {
            "kind": _KIND,
            "state": copy.deepcopy(self.state),
            "generators": read_generators(),
            "tracked": {name: thing.capture() for name, thing in self._tracked.items()},
        }
        arrays = {name: _array(value) for name, value in self.arrays.items()}
        return Snapshot(self.steps_done, state, arrays, dict(self._metrics), live=True)


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a PyTorch tensor
        value = value.detach().cpu().numpy()
    return np.asarray(value)
