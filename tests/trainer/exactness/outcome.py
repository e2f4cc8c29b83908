"""Everything a finished script is judged by, as a file, and how two of them differ."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def collect(trained: Any) -> dict[str, Any]:
    """Names to values of a :class:`~trainer.exactness.scripts.pieces.Trained`, all to the bit."""
    found: dict[str, Any] = {}
    for m, model in enumerate(trained.models):
        for kind, variables in _variables(model):
            for place, variable in enumerate(variables):
                value = np.asarray(variable.numpy())
                found[f"model {m}, {kind} {place} ({variable.name})"] = _array(value)
        if trained.inputs is not None and model.built and not hasattr(model, "d_optimizer"):
            found[f"model {m}, predictions"] = _array(
                np.asarray(model.predict(trained.inputs, verbose=0))
            )
    for h, history in enumerate(trained.histories):
        found[f"history {h}"] = {"epoch": history.epoch, **_plain(history.history)}
    for name, value in trained.more.items():
        found[f"more: {name}"] = _array(value) if isinstance(value, np.ndarray) else _plain(value)
    found.update(_draws())
    return found


def _variables(model: Any) -> Iterator[tuple[str, list[Any]]]:
    yield "variable", model.variables
    for name in ("optimizer", "d_optimizer", "g_optimizer"):
        if (optimizer := getattr(model, name, None)) is not None:
            yield f"{name} variable", optimizer.variables
    yield "metric variable", model.metrics_variables


def _draws() -> dict[str, Any]:
    """What the script would draw next: every generator stands where it should."""
    import keras

    draws = {
        "next random.random()": random.random(),
        "next numpy.random": float(np.random.random()),
        "next keras.random": _array(keras.ops.convert_to_numpy(keras.random.uniform((2,)))),
    }
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            draws["next tf.random"] = _array(tf.random.uniform((2,)).numpy())
        case "torch":
            import torch

            draws["next torch.rand"] = _array(torch.rand(2, device="cpu").numpy())
    return draws


def _array(value: np.ndarray[Any, Any]) -> dict[str, Any]:
    value = np.ascontiguousarray(value)
    return {
        "dtype": value.dtype.name,
        "shape": list(value.shape),
        "bytes": base64.b64encode(value.tobytes()).decode(),
    }


def _plain(value: Any) -> Any:
    """JSON keeps every float to the last digit (repr), NaN included."""
    return json.loads(json.dumps(value, default=float))


def save(path: Path, trained: Any) -> None:
    """Write what :func:`collect` finds."""
    path.write_text(json.dumps(collect(trained)))


def load(path: Path) -> dict[str, Any]:
    """Read it again."""
    value = json.loads(path.read_text())
    assert isinstance(value, dict)
    return value


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """One line for each entry that is not equal to the bit; empty if the runs are the same."""
    if list(expected) != list(actual):
        wanted, got = set(expected), set(actual)
        return [f"entries differ: missing {wanted - got}, unexpected {got - wanted}"]
    return [
        _difference(name, expected[name], actual[name])
        for name in expected
        if json.dumps(expected[name]) != json.dumps(actual[name])
    ]


def _difference(name: str, expected: Any, actual: Any) -> str:
    if not isinstance(expected, dict) or "bytes" not in expected:
        return f"{name}: {json.dumps(expected)} became {json.dumps(actual)}"
    if (expected["dtype"], expected["shape"]) != (actual["dtype"], actual["shape"]):
        return f"{name}: {expected['dtype']}{expected['shape']} became {actual['dtype']}..."
    one, two = (np.frombuffer(base64.b64decode(side["bytes"]), "u1") for side in (expected, actual))
    width = max(1, one.size // max(1, int(np.prod(expected["shape"]))))
    wrong = int(np.any((one != two).reshape(-1, width), axis=1).sum())
    text = f"{name}: {wrong} of {one.size // width} elements of {expected['dtype']} differ"
    if expected["dtype"] in ("float32", "float64", "int32", "int64"):
        first, second = (side.view(expected["dtype"]) for side in (one, two))
        place = int(np.argmax(first != second))
        text += f", the first: {first[place]!r} became {second[place]!r}"
    return text
