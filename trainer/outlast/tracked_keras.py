"""Keras models and optimizers of a custom loop, as a session tracks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outlast.keras_fit import restoring
from outlast.keras_fit.capture import Variable, mismatch, parts, read, variables_of
from outlast.tracked import Tracked


class TrackedKeras(Tracked):
    """A Keras model (weights, seeds, metrics, its own optimizers), or one optimizer."""

    def __init__(self, name: str, thing: Any, others: Mapping[str, Any]) -> None:
        """Raises ValueError if it has no variables yet and cannot be given them."""
        from keras import Model  # noqa: PLC0415 - Keras takes seconds

        self._name, self._thing = name, thing
        self._is_model = isinstance(thing, Model)
        if self._is_model and not thing.built:
            raise ValueError(
                f"{name} has no variables yet: call it once, or build it, and track it then"
            )
        if not self._is_model and not getattr(thing, "built", True):
            models = [other for other in others.values() if isinstance(other, Model)]
            if len(models) != 1:
                raise ValueError(
                    f"{name} has no variables yet: call {name}.build(model.trainable_variables) "
                    "and track it then"
                )
            thing.build(models[0].trainable_variables)

    def capture(self) -> Any:
        """As :meth:`outlast.tracked.Tracked.capture`."""
        # Reading gives copies, or tensors that later updates leave as they are: no more copies.
        return {name: np.asarray(value) for name, value in read(self._variables(), "").items()}

    def check(self, saved: Any) -> str | None:
        """As :meth:`outlast.tracked.Tracked.check`."""
        values = saved.values() if isinstance(saved, dict) else [None]
        if not all(hasattr(value, "dtype") for value in values):
            return "the checkpoint has something other than a Keras model or optimizer"
        return mismatch(self._variables(), saved, "")

    def restore(self, saved: Any) -> None:
        """As :meth:`outlast.tracked.Tracked.restore`."""
        restoring.assign(self._variables(), saved)

    def _variables(self) -> list[Variable]:
        if self._is_model:
            return variables_of(self._thing)
        return [part for variable in self._thing.variables for part in parts(variable)]
