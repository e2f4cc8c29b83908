"""The fixtures of the tests that run scripts in forked processes."""

from __future__ import annotations

import os

import pytest

from trainer.exactness.forks import Forks, shared
from trainer.exactness.twins import Twins


@pytest.fixture(scope="session")
def forks() -> Forks:
    """The process that has imported TensorFlow."""
    return shared()


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """Runs whole and in pieces; what was run whole is kept for the next case."""
    base = tmp_path_factory.getbasetemp()
    together = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Twins(shared(), tmp_path_factory.mktemp("exactness"), together / "uninterrupted")
