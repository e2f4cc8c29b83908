"""The fallback for versions of Keras that were not tested: saves and resumes between epochs.

It relies on what Keras' own BackupAndRestore relies on: the public methods of callbacks, and
``model._initial_epoch``. A notice in the middle of an epoch leads back to the epoch's beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from outlast.keras_fit import (
    build,
    callbacks_state,
    capture,
    randomness,
    restoring,
    telling,
    weights,
)
from outlast.keras_fit.capture import Variable
from outlast.keras_fit.fit_call import FitCall
from outlast.keras_fit.holdings import finite, other_model
from outlast.keras_fit.prefixes import NOW, prefix_of
from outlast.keras_fit.script import Script
from outlast.run import Run
from outlast.snapshot import Snapshot


def told(version: str) -> str:
    """What a person is told about it."""
    return (
        f"Keras {version} was not tested with this Outlast: training is saved and resumed between "
        "epochs only, so up to an epoch is trained again, and after a resume shuffled data come in "
        "another order; use Keras 3.15, or update outlast"
    )


class EpochFit(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """One ``fit`` call, from the first place of its list of callbacks."""

    def __init__(
        self, run: Run, script: Script, callbacks: Any, call: FitCall | None, index: int
    ) -> None:
        """``index`` is the number of the call."""
        super().__init__()
        self._run, self._script, self._callbacks, self._call = run, script, callbacks, call
        self._over: dict[str, Any] | None = None
        self._record: dict[str, Any] | None = None
        if index < len(script.finished):
            self._over = script.finished[index].record
            self._saved: Mapping[str, Any] = script.finished[index].arrays
            self._prefix = prefix_of(index)
        elif script.under_way is not None and run.resumed is not None:
            self._record, script.under_way = script.under_way, None
            self._saved, self._prefix = run.resumed.arrays.below(NOW), NOW
        record = self._over or self._record
        if record is not None:
            callbacks_state.prepare(
                self._others, record["callbacks"], passed=self._over is not None
            )
        if self._over is None:
            script.current = self
        self._base = script.steps
        self._steps = self._before_epoch = 0 if self._record is None else self._record["steps"]
        self._logs: dict[str, float] = {}
        self._loss_told = False
        self._weights = ""
        self._before = callbacks_state.Baselines(self._others)
        self._baselines: callbacks_state.Baselines | None = None
        self._newest = script.newest

    @property
    def call(self) -> FitCall | None:
        """As in :class:`outlast.keras_fit.script.Begun`."""
        return self._call

    def leave(self) -> int:
        """As in :class:`outlast.keras_fit.script.Begun`."""
        self.model._initial_epoch = 0
        return int(self._steps)

    @property
    def _others(self) -> list[Any]:
        return [each for each in self._callbacks.callbacks if each is not self]

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Begin with the epoch that the checkpoint stands before."""
        record = self._over or self._record
        if record is None:
            return
        self._restore_variables()
        last = self._over is not None or record["stop_training"]
        self.model._initial_epoch = self.params["epochs"] if last else record["epoch"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """All that belongs to the epoch before is over: save."""
        self._settle()
        self._before_epoch = self._steps
        self._run.describe(epoch=epoch + 1, epochs=self.params["epochs"])
        if self._steps == 0:
            return  # nothing is lost, and the model may have no variables yet
        self._newest = self._snapshot(epoch)
        if self._run.stop_requested:
            self._run.stop(self._newest)
        if self._run.due():
            self._run.save(self._newest)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """A step begins."""
        self._run.step_begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """A step is done."""
        took = self._before_epoch + batch + 1 - self._steps
        self._steps += took
        self._run.step_end(self._base + self._steps, took)
        if self._run.stop_requested and self._newest is not None:
            self._run.stop(self._newest)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """An epoch is over."""
        self._logs = finite(logs)
        self._run.describe(metrics=self._logs)
        if not self._loss_told:
            self._loss_told = telling.loss(self._run, self._logs)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """The call is over."""
        self.model._initial_epoch = 0
        if self._over is not None:
            # Again: fit itself may have put averages over the weights just before.
            self._restore_variables()
            callbacks_state.restore(self._others, self._over["callbacks"])
            randomness.restore(self._over["random"])
        else:
            self._settle()
            arrays = capture.read(self._variables(), prefix_of(len(self._script.finished)))
            record = {**self._rest(self._before), "steps": self._steps}
            self._script.end(record, arrays)
            self._script.newest = self._script.snapshot(
                None, {}, step=self._script.steps, metrics=self._logs
            )
            self._run.save(self._script.newest, "fit")
        self._run.finish()

    def _settle(self) -> None:
        """All callbacks began: what they change from here on is saved; bring back what was."""
        if self._baselines is None:
            self._baselines = callbacks_state.Baselines(self._others)
        record, self._record = self._record, None
        if record is not None:
            callbacks_state.restore(self._others, record["callbacks"])
            randomness.restore(record["random"])

    def _rest(self, baselines: callbacks_state.Baselines) -> dict[str, Any]:
        callbacks_state.flush(self._others)
        if not self._weights and self.model.built:
            self._weights = weights.places(self.model, self._variables())
        return {
            "callbacks": baselines.capture(),
            "random": randomness.capture(),
            "stop_training": bool(self.model.stop_training),
            "weights": self._weights,
        }

    def _snapshot(self, epoch: int) -> Snapshot:
        assert self._baselines is not None, "_settle came before"
        record = {**self._rest(self._baselines), "epoch": epoch, "steps": self._steps}
        arrays = capture.read(self._variables(), NOW)
        step = self._base + self._steps
        return self._script.snapshot(record, arrays, step=step, metrics=self._logs)

    def _variables(self) -> list[Variable]:
        return capture.variables_of(self.model)

    def _restore_variables(self) -> None:
        if not self._saved:
            return  # of a call long over, no longer kept
        kinds = restoring.kinds(self._saved)
        if capture.mismatch(self._variables(), kinds, self._prefix) and self._call:
            build.build_eagerly(self.model, self._call.epoch_iterator._distributed_dataset)
        wrong = capture.mismatch(self._variables(), kinds, self._prefix)
        if wrong is not None:
            raise other_model(self._run, wrong)
        restoring.assign(self._variables(), self._saved)
