"""What a running ``fit`` call works with. Keras hands it to nobody, so it is read off the stack.

``TensorFlowTrainer.fit`` (``backend/tensorflow/trainer.py``) keeps its epoch iterator in a local
variable and builds its ``CallbackList`` before it has read any data, so whoever looks then finds
everything at its beginning.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(frozen=True)
class FitCall:
    """One running call of ``model.fit``."""

    model: Any
    callbacks: Any
    """Its ``CallbackList``."""
    epoch_iterator: Any
    """Its ``EpochIterator`` over the training data."""
    epochs: int
    initial_epoch: int
    validation: Any
    """x of its validation data; None: there are none."""

    @property
    def distributed(self) -> bool:
        """Whether a strategy of TensorFlow trains it."""
        return getattr(self.model, "_distribute_strategy", None) is not None


def find(callback: Any) -> FitCall | None:
    """The ``fit`` call that ``callback`` is being prepared for or called by; None: there is none.

    To be called from a method that Keras calls.
    """
    callbacks = None
    for frame in _outward():
        names = frame.f_locals
        owner = names.get("self")
        if callbacks is None and _holds(owner, callback):
            callbacks = owner
        if frame.f_code.co_name == "fit" and "epoch_iterator" in names and callbacks is not None:
            return FitCall(
                model=owner,
                callbacks=callbacks,
                epoch_iterator=names["epoch_iterator"],
                epochs=int(names["epochs"]),
                initial_epoch=int(names["initial_epoch"]),
                validation=names.get("val_x"),
            )
    return None


def on_stack(call: FitCall) -> bool:
    """Whether the method that asks was called, however deep, by ``call`` itself."""
    return any(
        frame.f_code.co_name == "fit"
        and frame.f_locals.get("epoch_iterator") is call.epoch_iterator
        for frame in _outward()
    )


def inside_fit() -> bool:
    """Whether the method that asks was called by any version's ``fit``."""
    return any(frame.f_code.co_name == "fit" for frame in _outward())


def _holds(owner: Any, callback: Any) -> bool:
    listed = getattr(owner, "callbacks", None)
    return (
        type(owner).__name__ == "CallbackList"
        and isinstance(listed, list)
        and any(each is callback for each in listed)
    )


def _outward() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back
