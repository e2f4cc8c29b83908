"""Everything that one ``fit`` call holds, as one record and back: what a checkpoint is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outlast.keras_fit import (
    backends,
    build,
    callbacks_state,
    capture,
    randomness,
    restoring,
    weights,
)
from outlast.keras_fit.capture import Variable
from outlast.keras_fit.data_validation import Validation
from outlast.keras_fit.device_memory import Room
from outlast.keras_fit.feed import Feed
from outlast.keras_fit.fit_call import FitCall
from outlast.refused import OtherDataError, OtherModelError
from outlast.run import Run


class Holdings:
    """Model, callbacks, random generators and data of one call."""

    def __init__(self, call: FitCall, feed: Feed, validation: Validation) -> None:
        self._call = call
        self._model = call.model
        self._feed = feed
        self._validation = validation
        self._dataset = call.epoch_iterator._distributed_dataset
        # A call that is passed over does not begin its callbacks, so all that it changes counts;
        # in one that is continued, what beginning changes belongs to the new process.
        self._before = callbacks_state.Baselines(self.callbacks)
        self._begun = self._before
        self.graph: Any = None
        """Of the training step, once it is traced."""
        self._weights: str | None = None
        self._restored: restoring.Held = {}
        self._room = Room()

    def began(self) -> None:
        """The callbacks began; what they change from here on is saved."""
        self._begun = callbacks_state.Baselines(self.callbacks)

    @property
    def callbacks(self) -> list[Any]:
        """All callbacks of the call."""
        return list(self._call.callbacks.callbacks)

    def trace(self) -> None:
        """Build the model and everything else that the first step would build."""
        if self.graph is None:
            self.graph = build.trace(self._model, self._dataset, self._feed.next_iterator)
        self._places()  # now and not with the first save: a large model takes 0.2 seconds

    def record(self, *, over: bool, begun: bool = False, ended: bool = False) -> dict[str, Any]:
        """All but the variables, as plain data.

        ``over`` and ``ended`` as in :meth:`Feed.position`, ``begun`` as in
        :meth:`Validation.position`. Raises :class:`outlast.keras_fit.data.NotHere`.
        """
        data = self._feed.position(over=over, ended=ended)
        # Callbacks may still be at work on the latest batch, in another thread.
        self._call.callbacks._flush_futures()
        callbacks_state.flush(self.callbacks)
        return {
            "data": data,
            "validation": self._validation.position(begun=begun),
            "callbacks": (self._before if ended else self._begun).capture(),
            "random": randomness.capture(),
            "stop_training": bool(self._model.stop_training),
            "weights": self._places(),
        }

    def arrays(self, prefix: str, *, live: bool = False) -> dict[str, Any]:
        """The variables; ``live`` as in :func:`outlast.keras_fit.capture.read`."""
        variables = self._variables()
        crowded = self._room.crowded(variable.value for variable in variables)
        return capture.read(variables, prefix, live=live, crowded=crowded)

    def restore_variables(
        self, run: Run, saved: Mapping[str, Any], prefix: str, *, again: bool = False
    ) -> None:
        """Give the variables back what :meth:`arrays` took, in a model that is built for it.

        ``again``: the same will be asked for once more before training, and is free for what did
        not change. Raises :class:`outlast.refused.OtherModelError`; then nothing was changed.
        """
        kinds = restoring.kinds(saved)
        if self.graph is None and capture.mismatch(self._variables(), kinds, prefix):
            self.trace()
            if self.graph is None and backends.on_tensorflow():
                build.build_eagerly(self._model, self._dataset)
        variables = self._variables()
        wrong = capture.mismatch(variables, kinds, prefix)
        if wrong is not None:
            raise other_model(run, wrong)
        restored = restoring.assign(variables, saved, self._restored)
        self._restored = restored if again else {}

    def restore_rest(self, record: dict[str, Any]) -> list[str]:
        """Callbacks and random generators; the kinds of callbacks that are not there any more."""
        lost = callbacks_state.restore(self.callbacks, record["callbacks"])
        randomness.restore(record["random"])
        return lost

    def _places(self) -> str:
        if self._weights is None and self._model.built:
            self._weights = weights.places(self._model, self._variables())
        return self._weights or ""

    def _variables(self) -> list[Variable]:
        return capture.variables_of(self._model, more=build.graph_variables(self.graph))


def other_model(run: Run, wrong: str) -> OtherModelError:
    """That the checkpoint of ``run`` does not fit, ``wrong`` being what :func:`mismatch` says."""
    id_ = run.resumed.id if run.resumed is not None else ""
    back = "give model and optimizer back the shape that they had"
    return OtherModelError(
        f"checkpoint {id_} holds another model or optimizer: {wrong}; "
        + run.environment.instead(back)
    )


def other_data(run: Run, wrong: str) -> OtherDataError:
    """That the data of a call are not those that the checkpoint of ``run`` was taken in."""
    id_ = run.resumed.id if run.resumed is not None else ""
    back = "give fit the data that it had"
    return OtherDataError(
        f"checkpoint {id_} was taken in other training data: {wrong}; "
        + run.environment.instead(back)
    )


def plain_logs(logs: Any) -> dict[str, Any]:
    """Logs of a batch as arrays, which waits for the device."""
    if not _is_dict(logs):
        return {}
    return {name: backends.as_array(value) for name, value in logs.items()}


def finite(logs: Any) -> dict[str, float]:
    """Logs as numbers, for people."""
    numbers = {}
    for name, value in logs.items() if _is_dict(logs) else ():
        if np.ndim(value) == 0:
            numbers[str(name)] = float(value)
    return numbers


def _is_dict(logs: Any) -> bool:
    return isinstance(logs, dict)
