from __future__ import annotations

from collections.abc import Iterator

import pytest

from trainer.exactness.forks import Forks
from trainer.exactness.twins import Twins


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


@pytest.fixture(scope="session")
def twins(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return Twins(forks, tmp_path_factory.mktemp("exactness"))
