"""What differs in ``fit`` between the frameworks that Keras runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from outlast.keras_fit import capture
from outlast.keras_fit.inspect_data import Finding
from outlast.refused import OtherBackendError

TESTED = ("tensorflow", "jax", "torch")


def name() -> str:
    """The framework: ``tensorflow``, ``jax``, ``torch`` or another one."""
    return str(keras.backend.backend())


def on_tensorflow() -> bool:
    """Whether it is TensorFlow."""
    return name() == "tensorflow"


def checkpoints(kind: str) -> str:
    """What checkpoints are called that this framework makes and takes, those of ``kind``."""
    return kind if on_tensorflow() else f"{kind} on {name()}"


def check(backend: str) -> None:
    """Raise OtherBackendError if training cannot be saved on ``backend``, or not like this."""
    if backend not in TESTED:
        raise OtherBackendError(
            f"outlast.Resume works with Keras on {', '.join(TESTED)}, and this is Keras on "
            f"{backend}: set KERAS_BACKEND, or use outlast.Session in a loop of your own"
        )
    if backend == "tensorflow":
        return  # its strategies are saved
    found = keras.distribution.distribution()
    if found is not None:
        raise OtherBackendError(
            f"outlast.Resume does not save what is trained under keras.distribution "
            f"({type(found).__name__}) on {backend}: train on one device, or use outlast.Session "
            "in a loop of your own"
        )
    of_flax = getattr(keras.config, "is_nnx_enabled", None)  # newer versions of Keras have it
    if backend == "jax" and of_flax is not None and of_flax():
        raise OtherBackendError(
            "outlast.Resume does not save variables that Keras leaves to Flax: set "
            "KERAS_NNX_ENABLED=false, or use outlast.Session in a loop of your own"
        )


def findings(model: Any) -> Iterator[Finding]:
    """What has to be told about ``model`` on this framework."""
    if name() != "torch":
        return  # TensorFlow traces the step beforehand, and JAX's takes no second optimizer
    for optimizer in capture.optimizers_in(model):
        if not optimizer.built:
            yield Finding(
                "optimizer-unbuilt",
                False,
                f"the model's optimizer {optimizer.name} has no variables before its first step, "
                "so a resume finds no place for those that are saved and is refused; call its "
                "build(variables) before fit",
            )


def replaying(logs: Mapping[str, Any], then: Callable[[], None]) -> Callable[..., Any]:
    """A training function that trains nothing, calls ``then``, and returns ``logs``.

    As ``make_train_function`` of Keras' trainers (``backend/*/trainer.py``) would make it.
    """
    told = {name: keras.ops.convert_to_tensor(value) for name, value in logs.items()}

    def stateless(state: Any, iterator: Any) -> Any:  # noqa: ARG001 - nothing is drawn
        then()
        return told, state

    def stateful(iterator: Any) -> Any:  # noqa: ARG001
        then()
        return told

    return stateless if name() == "jax" else stateful


def as_array(value: Any) -> np.ndarray:
    """A number or a tensor of the framework; waits for its device."""
    if on_tensorflow() or isinstance(value, (int, float, np.generic, np.ndarray)):
        return np.asarray(value)
    return np.asarray(keras.ops.convert_to_numpy(value))
