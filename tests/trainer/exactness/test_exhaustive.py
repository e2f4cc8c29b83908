"""The whole table: every scenario stopped at every point. About an hour on two idle cores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.exactness import outcome
from trainer.exactness.cases import check
from trainer.exactness.stops import Stop, covering, points
from trainer.exactness.table import EVERYTHING, Scenario
from trainer.exactness.twins import Twins, divergences

pytestmark = pytest.mark.exhaustive


@pytest.mark.parametrize(
    ("scenario", "stop"),
    [
        pytest.param(scenario, stop, id=f"{scenario}-{stop}")
        for scenario in EVERYTHING
        for stop in points(scenario.fits)
    ],
)
def test_stopped_once(twins: Twins, scenario: Scenario, stop: Stop) -> None:
    check(twins, scenario, [stop])


@pytest.mark.parametrize("scenario", EVERYTHING, ids=str)
def test_killed_inside_an_epoch(twins: Twins, scenario: Scenario) -> None:
    inside, _, _ = covering(scenario.fits, 0)
    check(twins, scenario, [replace(inside, kill=True)])


@pytest.mark.parametrize(
    "scenario", [s for s in EVERYTHING if s.seeded and s.comparable and not s.told], ids=str
)
def test_the_callback_changes_nothing(twins: Twins, scenario: Scenario) -> None:
    plain, whole = twins.whole(scenario, resume=False), twins.whole(scenario)
    assert not divergences(plain, [whole])
    assert not outcome.differences(plain.outcome, whole.outcome)
