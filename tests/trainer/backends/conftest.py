"""Keras on JAX and PyTorch: run where one of them is installed, see ``make test-backends``."""

from __future__ import annotations

import pytest

from trainer.exactness.forks import Forks
from trainer.exactness.twins import Twins

BACKENDS = ("jax", "torch")


@pytest.fixture(
    scope="session", params=[pytest.param(each, marks=pytest.mark.needs(each)) for each in BACKENDS]
)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def forks(backend: str) -> Forks:
    """The process that has imported Keras on ``backend``."""
    return Forks(backend)


@pytest.fixture(scope="session")
def twins(backend: str, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    base = tmp_path_factory.mktemp(backend)
    return Twins(forks, base, base / "uninterrupted")
