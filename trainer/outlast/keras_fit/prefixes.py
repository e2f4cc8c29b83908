"""What the names of a model's arrays begin with. Apart, for whoever reads without Keras."""

from __future__ import annotations

NOW = "now/"
"""In the call under way."""


def prefix_of(index: int) -> str:
    """In the call with this number, once it is over."""
    return f"fit{index}/"
