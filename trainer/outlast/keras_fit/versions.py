"""Which versions of Keras the exact resume was tested with."""

from __future__ import annotations

import re

from outlast.refused import OtherBackendError

FIRST, BEFORE = (3, 15), (3, 16)
"""From the first to before the other: each was run through all scenarios of the tests."""


def check_backend(backend: str) -> None:
    """Raise OtherBackendError if Keras does not run on TensorFlow."""
    if backend != "tensorflow":
        raise OtherBackendError(
            f"outlast.Resume works with Keras on TensorFlow, and this is Keras on {backend}: set "
            "KERAS_BACKEND=tensorflow, or use outlast.Session in a training loop of your own"
        )


def tested(version: str) -> bool:
    """Whether ``fit`` of this version of Keras is known in detail."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and FIRST <= (int(found[1]), int(found[2])) < BEFORE
