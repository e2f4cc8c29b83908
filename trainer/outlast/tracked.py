"""Something that a session saves and restores: captured, checked, then put back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any


class Tracked(ABC):
    """One tracked object."""

    iterable: Iterable[Any] | None = None
    """For a dataset: what to iterate over in its place."""
    warnings: Sequence[tuple[str, str]] = ()
    """(code, text) of what a person should know before the first step."""

    @abstractmethod
    def capture(self) -> Any:
        """Its state as plain data, which later steps leave as it is."""

    @abstractmethod
    def check(self, saved: Any) -> str | None:
        """What of ``saved`` does not fit, naming the variable; None: all does. Changes nothing."""

    @abstractmethod
    def restore(self, saved: Any) -> None:
        """Put ``saved`` back."""
