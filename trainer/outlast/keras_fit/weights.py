"""Where Keras keeps each variable of a model in a ``.weights.h5`` file.

Keras is asked, by having it save into something that only notes where: the names of variables do
not say it. The places go into the checkpoint as text, so that whoever has no Keras, and not the
model, can write a file for ``model.load_weights``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from outlast.keras_fit.capture import Variable, identity, parts
from outlast.keras_fit.prefixes import NOW, prefix_of

_LINE = re.compile(r"(\d{1,5}) ((?:[^/\x00-\x1f]+/)*vars/[^/\x00-\x1f]+)")


def places(model: Any, variables: Sequence[Variable]) -> str:
    """A line ``<index in variables> <path in the file>`` for each weight of ``model``.

    Empty where that cannot be known: in a model with layers that save something other than their
    variables, or with a version of Keras that does it otherwise. Nothing is read or copied.
    """
    numbers = {identity(variable.value): index for index, variable in enumerate(variables)}
    try:
        kept = _kept_by(model)
        told = [f"{numbers[identity(parts(each)[0].value)]} {path}" for path, each in kept.items()]
    except Exception:  # Keras' own functions, not its public ones: training must not end for them
        return ""
    return "\n".join(told) if all(map(_LINE.fullmatch, told)) else ""


def read_places(state: Any) -> tuple[str, dict[int, str]] | None:
    """What :func:`places` told, from the state of a checkpoint: that of the latest ``fit`` call.

    (prefix of the names of its arrays, index to path); None: it does not say. The state may be
    anyone's: paths are of the form that Keras uses, and none is there twice.
    """
    if not isinstance(state, Mapping):
        return None
    prefix, record = NOW, state.get("fit")
    fits = state.get("fits")
    if record is None and isinstance(fits, list) and fits:
        prefix, record = prefix_of(len(fits) - 1), fits[-1]
    text = record.get("weights") if isinstance(record, Mapping) else None
    if not isinstance(text, str) or not text:
        return None
    found: dict[int, str] = {}
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) in found:
            return None
        found[int(match[1])] = match[2]
    odd = any({".", ".."} & set(path.split("/")) for path in found.values())
    return None if odd or len(set(found.values())) < len(found) else (prefix, found)


def _kept_by(model: Any) -> dict[str, Any]:
    from keras.src.saving import saving_lib  # noqa: PLC0415 - Keras is loaded: there is a model

    kept: dict[str, Any] = {}

    class Places(saving_lib.H5IOStore):  # type: ignore[misc] # Keras takes no other class
        """Notes what is stored where."""

        def __init__(self) -> None:
            self._at = ""

        def make(self, path: str, metadata: Any = None) -> Any:  # noqa: ARG002
            self._at = path
            return self

        def __setitem__(self, key: str, value: Any) -> None:
            kept[f"{self._at}/vars/{key}".removeprefix("/")] = value

        def __bool__(self) -> bool:
            return True

    # An optimizer would copy all that it has; who goes on with it goes on from the checkpoint.
    seen = {id(getattr(model, "optimizer", None))}
    saving_lib._save_state(
        model, weights_store=Places(), assets_store=None, inner_path="", visited_saveables=seen
    )
    return kept
