from __future__ import annotations

import os
from fractions import Fraction

import pytest

from trainer.exactness.fixtures import forks, twins

__all__ = ["forks", "twins"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a share of the whole table: ``EXACTNESS_SHARE=1/20`` keeps every twentieth case."""
    share = Fraction(os.environ.get("EXACTNESS_SHARE", "1"))
    every = round(1 / share)
    cases = [item for item in items if item.get_closest_marker("exhaustive")]
    left_out = set(cases) - set(cases[::every])
    config.hook.pytest_deselected(items=sorted(left_out, key=lambda item: item.nodeid))
    items[:] = [item for item in items if item not in left_out]
