"""Goes with one ``fit`` call: continues where the checkpoint is, saves, and stops on a notice.

``fit`` calls every callback through its one ``CallbackList``; that instance's methods are wrapped
here, so everything happens exactly before or after all of the user's callbacks, and a step that
is repeated as a no-op is not seen by callbacks that saw it already.

A call is saved at one of three places: ``middle`` (the epoch began, a number of its steps are
done), ``over`` (its last step is done; validation and ``on_epoch_end`` come next), or ``between``
(the next epoch did not begin). To the first two a resume goes through ``on_epoch_begin`` again,
restores everything after it, and has the training function once return the saved logs without
training: ``fit`` needs them at the epoch's end.
"""

from __future__ import annotations

import math
import time
from typing import Any, Literal, NoReturn

from outlast.keras_fit import backends, callbacks_state, telling
from outlast.keras_fit.data import NotHere
from outlast.keras_fit.data_validation import Validation
from outlast.keras_fit.feed import Feed
from outlast.keras_fit.fit_call import FitCall
from outlast.keras_fit.holdings import Holdings, finite, other_data, plain_logs
from outlast.keras_fit.hooks import unwrap, wrap
from outlast.keras_fit.prefixes import NOW, prefix_of
from outlast.keras_fit.replay import Replay
from outlast.keras_fit.script import Script
from outlast.run import Run
from outlast.snapshot import Snapshot

Place = Literal["middle", "over", "between"]

_LONG_VALIDATION = 1.0
"""Seconds from which on a notice does not wait for the end of a validation."""


class Fit:
    """One ``fit`` call that is new, or under way in the checkpoint."""

    def __init__(self, run: Run, script: Script, call: FitCall, record: Any) -> None:
        """``record`` is what the checkpoint says of this call; None: it is new."""
        self._run = run
        self._script = script
        self._call = call
        self._model = call.model
        self._record = record
        self._base = script.steps
        self._steps = 0 if record is None else int(record["steps"])
        self._epoch = call.initial_epoch
        self._epoch_steps = 0
        self._logs: Any = {}
        self._epoch_logs: dict[str, Any] = {} if record is None else record["epoch_logs"]
        self._replaying = False
        self._stepped = False
        self._validating: Snapshot | None = None
        self._validation_takes = math.inf  # until one was seen
        self._validation_began: float | None = None
        self._loss_told = False
        self._initial_epoch = self._model._initial_epoch
        source = script.sources.of(call, None if record is None else record["data"])
        replay = Replay(self._tell_reading, lambda: run.stop_requested)
        self._feed = Feed(
            *(call.epoch_iterator, source.data, self._before_first_step, replay),
            noticed=lambda: self._look("middle"),
        )
        replay = Replay(self._tell_reading)
        self._validation = Validation(call.validation, replay, distributed=call.distributed)
        self._findings = [
            *(*source.findings, *self._validation.findings()),
            *backends.findings(self._model),
        ]
        self._held = Holdings(call, self._feed, self._validation)
        self._keras = wrap(call.callbacks, self)
        script.current = self
        if record is not None:
            for trouble in callbacks_state.prepare(self._held.callbacks, record["callbacks"]):
                run.note("warning", "output-lost", trouble)

    # What fit calls, in its order.

    def on_train_begin(self, logs: Any = None) -> None:
        """Go on where the checkpoint is."""
        self._keras["on_train_begin"](logs)
        self._held.began()
        record = self._record
        if record is None:
            return
        self._run.phase("restoring")
        begun = record["place"] != "between"
        # First, as it was there before the present epoch's data: they may share a shuffle.
        self._validation.go_to(record["validation"])
        self._find(record["data"], steps=int(record["epoch_steps"]) if begun else None)
        self._held.trace()
        lost = self._restore(record, again=begun)
        if lost:
            self._run.note(
                "warning",
                "callback-state",
                f"the checkpoint has the state of {', '.join(lost)}, for which this fit call has "
                "no place: it is dropped; list the callback, and make what it keeps in __init__.",
            )
        ended = record["place"] == "between" and record["stop_training"]
        # Keras' own way of beginning later (BackupAndRestore sets it too).
        self._model._initial_epoch = self._call.epochs if ended else int(record["epoch"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """An epoch begins, or is entered again."""
        self._keras["on_epoch_begin"](epoch, logs)
        record, self._record = self._record, None
        self._epoch, self._epoch_steps = epoch, 0
        if record is not None and record["place"] != "between":
            self._restore(record)
            self._epoch_steps = int(record["epoch_steps"])
            if self._epoch_steps:
                self._replay(record)
        self._run.describe(epoch=epoch + 1, epochs=self._call.epochs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """A step begins."""
        if not self._replaying:
            self._run.step_begin(self._call.epoch_iterator.steps_per_execution)
            self._stepped = True
            self._keras["on_train_batch_begin"](batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """A step is done."""
        if self._replaying:
            self._replaying = False
            for display in callbacks_state.displays(self._held.callbacks):
                display.on_train_batch_end(batch, finite(logs))
        else:
            self._logs = logs
            done, batches = batch + 1, self._feed.batches
            if batches is not None and done > batches:
                done = batches
            took = done - self._epoch_steps
            self._epoch_steps = done
            self._steps += took
            self._feed.took(took)
            self._keras["on_train_batch_end"](batch, logs)
            self._run.step_end(self._base + self._steps, took)
        self._look("middle")

    def on_test_begin(self, logs: Any = None) -> None:
        """Validation begins.

        A snapshot lets it be broken off, but takes milliseconds: a validation known to be short
        is waited for instead.
        """
        epoch_iterator = getattr(self._model, "_eval_epoch_iterator", None)
        if epoch_iterator is not None:
            self._validation.begins(epoch_iterator)
        if self._validation_takes >= _LONG_VALIDATION:
            # Before callbacks hear of it: one may put other weights in for the time of it.
            self._validating = self._snapshot("over")
        self._validation_began = time.monotonic()
        self._run.phase("validation")
        self._keras["on_test_begin"](logs)
        self._leave_validation()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """A step of validation is done."""
        self._validation.read(batch)
        self._keras["on_test_batch_end"](batch, logs)
        self._leave_validation()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """An epoch is over, validation included."""
        self._validating = None
        if self._validation_began is not None:
            self._validation_takes = time.monotonic() - self._validation_began
            self._validation_began = None
        self._keras["on_epoch_end"](epoch, logs)
        self._epoch_logs = finite(logs)
        self._run.describe(metrics=self._epoch_logs)
        if not self._loss_told:
            self._loss_told = telling.loss(self._run, self._epoch_logs)
        self._epoch, self._epoch_steps = epoch + 1, 0
        self._look("between")

    def on_train_end(self, logs: Any = None) -> None:
        """The call is over."""
        # A call that had only its end left ran no epoch that could give it logs.
        self._keras["on_train_end"](self._epoch_logs or None if logs is None else logs)
        self._script.end(
            {
                **self._held.record(over=True, ended=True),
                "steps": self._steps,
                "epochs": self._call.epochs,
            },
            self._held.arrays(prefix_of(len(self._script.finished))),
        )
        self.release()
        self._script.newest = self._script.snapshot(
            None, {}, step=self._script.steps, metrics=self._epoch_logs
        )
        self._run.save(self._script.newest, "fit")
        self._run.finish()
        self._run.phase("between")

    @property
    def call(self) -> FitCall:
        """As in :class:`outlast.keras_fit.script.Begun`."""
        return self._call

    def leave(self) -> int:
        """As in :class:`outlast.keras_fit.script.Begun`."""
        self.release()
        return self._steps

    def release(self) -> None:
        """Leave the call as Keras made it."""
        unwrap(self._call.callbacks)
        self._feed.release()
        self._model._initial_epoch = self._initial_epoch

    # What is done then.

    def _before_first_step(self) -> None:
        """The first step of this process comes next: trace it, and say what has to be said."""
        self._run.phase("tracing")
        self._held.trace()
        self._run.prepare(self._held.arrays(NOW, live=True))
        callbacks = self._held.callbacks
        telling.before_first_step(self._run, self._findings, callbacks, self._held.graph)
        if self._run.stop_requested:
            self._look("middle")

    def _tell_reading(self, text: str) -> None:
        self._run.phase("restoring")
        self._run.note("info", "data-replay", text)

    def _look(self, place: Place) -> None:
        """Stop or save, if it is time to."""
        stop = self._run.stop_requested
        if not stop and not self._run.due():
            return
        # All of what is live is copied: then models of calls that are over would be, every time.
        live = not backends.on_tensorflow() and not self._script.holds_arrays
        snapshot = self._snapshot(place, live=live)
        if snapshot is None:
            return
        if stop:
            self._stop(snapshot)
        self._run.save(snapshot)

    def _stop(self, snapshot: Snapshot) -> NoReturn:
        try:
            self._run.stop(snapshot)
        finally:
            self.release()

    def _leave_validation(self) -> None:
        if self._run.stop_requested and self._validating is not None:
            self._stop(self._validating)

    def _snapshot(self, place: Place, *, live: bool = False) -> Snapshot | None:
        """Everything as it is now; None: it can only be taken after the next step.

        ``live``: it is saved before training goes on.
        """
        try:
            record = self._held.record(over=place != "middle", begun=place == "over")
        except NotHere:
            return None
        record.update(
            place=place,
            epoch=self._epoch,
            epoch_steps=self._epoch_steps,
            steps=self._steps,
            logs=plain_logs(self._logs),
            epoch_logs=self._epoch_logs,
        )
        return self._script.snapshot(
            record,
            self._held.arrays(NOW, live=live),
            step=self._base + self._steps,
            metrics=finite(record["logs"]),
            live=live,
        )

    def _restore(self, record: dict[str, Any], *, again: bool = False) -> list[str]:
        loaded = self._run.resumed
        assert loaded is not None, "there is a record, so there is a checkpoint"
        self._held.restore_variables(self._run, loaded.arrays.below(NOW), NOW, again=again)
        return self._held.restore_rest(record)

    def _find(self, position: dict[str, Any], *, steps: int | None) -> None:
        wrong = self._feed.differs(position)
        if wrong is not None:
            raise other_data(self._run, wrong)
        try:
            self._feed.go_to(position, steps=steps)
        except Exception as error:  # TensorFlow's, of many kinds
            if "dataset definition has not changed" not in str(error):
                raise  # a file of the data that is gone, say
            raise other_data(
                self._run, "the pipeline is made of other steps than it was"
            ) from error

    def _replay(self, record: dict[str, Any]) -> None:
        """Have the training function return, once, what it returned before the stop."""
        train = self._model.train_function
        self._replaying, self._logs = True, record["logs"]

        def replayed() -> None:
            self._model.train_function = train
            self._model.stop_training = record["stop_training"]

        self._model.train_function = backends.replaying(record["logs"], replayed)
