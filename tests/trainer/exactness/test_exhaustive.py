"""The whole table: every scenario stopped at every point. About an hour on two cores.

``EXACTNESS_SHARE=1/20`` takes every twentieth case: others each day, or those of
``EXACTNESS_PART=7``. The names of the cases say which they were.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import pytest

from trainer.exactness import outcome
from trainer.exactness.cases import check
from trainer.exactness.stops import Stop, covering, points
from trainer.exactness.table import EVERYTHING, Scenario
from trainer.exactness.twins import Twins, divergences

pytestmark = pytest.mark.exhaustive
Case = TypeVar("Case")


def share(cases: Iterable[Case]) -> list[Case]:
    """The part of ``cases`` that the environment asks for; all without a word from it."""
    numerator, _, denominator = os.environ.get("EXACTNESS_SHARE", "1/1").partition("/")
    assert numerator == "1", "EXACTNESS_SHARE has to be 1/n"
    parts = int(denominator)
    today = datetime.datetime.now(datetime.timezone.utc).toordinal()
    return list(cases)[int(os.environ.get("EXACTNESS_PART", today)) % parts :: parts]


@pytest.mark.parametrize(
    ("scenario", "stop"),
    share(
        pytest.param(scenario, stop, id=f"{scenario}-{stop}")
        for scenario in EVERYTHING
        for stop in points(scenario.fits)
    ),
)
def test_stopped_once(twins: Twins, scenario: Scenario, stop: Stop) -> None:
    check(twins, scenario, [stop])


@pytest.mark.parametrize("scenario", share(EVERYTHING), ids=str)
def test_killed_inside_an_epoch(twins: Twins, scenario: Scenario) -> None:
    inside, _, _ = covering(scenario.fits, 0)
    check(twins, scenario, [replace(inside, kill=True)])


@pytest.mark.parametrize(
    "scenario",
    share(s for s in EVERYTHING if s.seeded and s.comparable and not s.told),
    ids=str,
)
def test_the_callback_changes_nothing(twins: Twins, scenario: Scenario) -> None:
    plain, whole = twins.whole(scenario, resume=False), twins.whole(scenario)
    assert not divergences(plain, [whole])
    assert not outcome.differences(plain.outcome, whole.outcome)
