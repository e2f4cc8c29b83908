"""What is saved at one step, taken between two steps: JSON and named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Snapshot:
    """The state of a program at a step.

    Whatever ``state`` holds must stay as it is while training goes on: a copy, or an immutable
    tensor (on TensorFlow, reading a variable gives one, copied only on write). So must
    ``arrays``, unless they are ``live``.
    """

    step: int
    """Steps done, over the whole job."""
    state: Any
    """Plain data: what :func:`outlast.plain.encode` takes."""
    arrays: Mapping[str, Any]
    """Name to anything that ``numpy.asarray`` takes; converted later, by the writer's thread."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The latest logs: for people, and to know the newest checkpoint in which all are finite."""
    live: bool = False
    """Whether ``arrays`` change as training goes on: they are copied before it does."""
