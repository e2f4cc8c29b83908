"""Standing in for the methods of one CallbackList, through which ``fit`` calls all callbacks."""

from __future__ import annotations

from typing import Any

_WRAPPED = (
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_batch_end",
    "on_epoch_end",
    "on_train_end",
)


def wrap(callbacks: Any, by: Any) -> dict[str, Any]:
    """Put the methods of ``by`` in the place of the CallbackList's; its own are returned."""
    own = {name: getattr(callbacks, name) for name in _WRAPPED}
    for name in _WRAPPED:
        if hasattr(by, name):
            setattr(callbacks, name, getattr(by, name))
    return own


def wrapped(callbacks: Any) -> bool:
    """Whether somebody stands in already."""
    return any(name in vars(callbacks) for name in _WRAPPED)


def unwrap(callbacks: Any) -> None:
    """Undo :func:`wrap`."""
    for name in _WRAPPED:
        vars(callbacks).pop(name, None)
