"""A ``fit`` call that was over when the checkpoint was taken: it returns at once."""

from __future__ import annotations

from typing import Any

from outlast.keras_fit import callbacks_state
from outlast.keras_fit.data_validation import Validation
from outlast.keras_fit.feed import Feed
from outlast.keras_fit.fit_call import FitCall
from outlast.keras_fit.holdings import Holdings
from outlast.keras_fit.hooks import unwrap, wrap
from outlast.keras_fit.prefixes import prefix_of
from outlast.keras_fit.replay import Replay
from outlast.keras_fit.script import Script
from outlast.run import Run


class PassedFit:
    """A ``fit`` call that was over when the checkpoint was taken: it returns at once.

    No callback is called, for each saw all of it; what they and the model were left with is there
    when ``fit`` returns.
    """

    def __init__(self, run: Run, script: Script, call: FitCall, index: int) -> None:
        self._run = run
        self._call = call
        self._finished = script.finished[index]
        self._prefix = prefix_of(index)
        record = self._finished.record
        source = script.sources.of(call, record["data"])
        self._feed = Feed(call.epoch_iterator, source.data, lambda: None, self._replay())
        self._validation = Validation(call.validation, self._replay(), distributed=call.distributed)
        self._held = Holdings(call, self._feed, self._validation)
        self._initial_epoch = call.model._initial_epoch
        self._keras = wrap(call.callbacks, self)
        callbacks_state.prepare(self._held.callbacks, record["callbacks"], passed=True)
        if not self._finished.arrays:
            run.note(
                "warning",
                "fit-dropped",
                "the model at the end of this fit call is no longer kept: the code after it finds "
                "it as it was made, not trained; call fit less often, with more epochs.",
            )
        if record["epochs"] != call.epochs:
            run.note(
                "warning",
                "fit-over",
                f"this fit call ended with epochs={record['epochs']} and is not trained on, though "
                f"it now says epochs={call.epochs}: add another fit call, or use an empty folder.",
            )

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Have no epoch left."""
        record = self._finished.record
        wrong = self._feed.differs(record["data"])
        if wrong is None:
            self._feed.repeat(record["data"])
        else:
            text = (
                f"this fit call is over and is not trained on, though its data are others: {wrong}."
            )
            self._run.note("warning", "fit-over", text)
        self._validation.go_to(record["validation"])
        self._restore_variables()
        self._call.model._initial_epoch = self._call.epochs

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Leave everything as the call left it."""
        # Again: fit itself may have put averages over the weights just before.
        self._restore_variables()
        self._held.restore_rest(self._finished.record)
        self._call.model.stop_training = self._finished.record["stop_training"]
        unwrap(self._call.callbacks)
        self._feed.release()
        self._call.model._initial_epoch = self._initial_epoch
        self._run.finish()

    def _replay(self) -> Replay:
        return Replay(lambda text: self._run.note("info", "data-replay", text))

    def _restore_variables(self) -> None:
        if self._finished.arrays:
            self._held.restore_variables(self._run, self._finished.arrays, self._prefix)
