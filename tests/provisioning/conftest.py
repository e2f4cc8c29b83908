"""A controller for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioning.controller_kit import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.controller.close()
