from __future__ import annotations

from collections.abc import Sequence

import pytest

from trainer.exactness.cases import check, rotated
from trainer.exactness.stops import Stop
from trainer.exactness.table import TOLD, UNSEEDED, Scenario
from trainer.exactness.twins import Twins


@pytest.mark.parametrize(("scenario", "stops"), rotated([*TOLD, *UNSEEDED]))
def test_resumed_is_uninterrupted(twins: Twins, scenario: Scenario, stops: Sequence[Stop]) -> None:
    check(twins, scenario, stops)
