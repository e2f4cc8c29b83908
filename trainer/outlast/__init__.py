"""Outlast: training that outlasts its machines.

In a Keras script, one line::

    model.fit(data, epochs=70, callbacks=[outlast.Resume()])

In any other training loop::

    session = outlast.Session()

Importing this package imports no framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlast import exits as _exits  # noqa: F401 - its exit handler has to be registered early

if TYPE_CHECKING:
    from outlast.keras_fit.resume import Resume
    from outlast.session import Session

__version__ = "0.1.0"
__all__ = ["Resume", "Session", "__version__"]


def __getattr__(name: str) -> Any:
    # Keras takes seconds to import; the daemon and PyTorch users never need it (PEP 562).
    if name == "Resume":
        from outlast.keras_fit.resume import Resume  # noqa: PLC0415

        return Resume
    if name == "Session":
        from outlast.session import Session  # noqa: PLC0415

        return Session
    raise AttributeError(f"module 'outlast' has no attribute {name!r}")
