"""Killed without notice: at most one interval is trained again, and nothing differs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trainer.exactness.cases import assert_same, check
from trainer.exactness.stops import Stop
from trainer.exactness.table import named
from trainer.exactness.twins import Twins, newest


@pytest.mark.parametrize(
    ("script", "stops"),
    [
        ("data.shuffled", [Stop("batch", 0, 0, 2, kill=True), Stop("batch", 0, 1, 5, kill=True)]),
        ("data.arrays", [Stop("tail", 0, 1, kill=True)]),
        ("data.pydataset", [Stop("batch", 0, 1, 4, kill=True)]),
        ("validation.shuffled", [Stop("validation", 0, 1, 2, kill=True)]),
        ("callbacks.early_stopping", [Stop("epoch", 0, 1, kill=True), Stop("batch", 0, 2, 1)]),
        ("callbacks.user_callback", [Stop("batch", 0, 1, 3), Stop("batch", 0, 1, 5, kill=True)]),
        ("training.unfreezing", [Stop("batch", 1, 0, 0, kill=True)]),
        ("training.two_models", [Stop("between", 0, kill=True)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_killed(twins: Twins, script: str, stops: Sequence[Stop]) -> None:
    check(twins, named(script), stops)


def test_killed_twice_at_one_place(twins: Twins) -> None:
    """It does not fall back to the beginning, as BackupAndRestore does."""
    again = Stop("batch", 0, 1, 3, kill=True)
    scenario = named("data.shuffled")
    pieces = twins.interrupted(scenario, [again, again])
    assert_same(twins.whole(scenario, resume=False), pieces)
    first = next(pieces[2].events("batch"))
    assert (first["epoch"], first["batch"]) >= (1, 1), "more than the last interval was repeated"


def test_killed_before_the_first_save(twins: Twins) -> None:
    """Then there is nothing to resume from, and the script simply runs."""
    scenario = named("data.shuffled")
    folder = twins.folder(scenario, "before-first-save")
    stop = Stop("batch", 0, 0, 3, kill=True)
    killed = twins.attempt(scenario, folder, 1, stop, environ={"OUTLAST_EVERY": "3600"})
    assert not (problem := killed.wrong_end()), problem
    assert newest(folder, 1) is None
    rest = twins.attempt(scenario, folder, 2, None)
    assert not (problem := rest.wrong_end()), problem
    assert_same(twins.whole(scenario, resume=False), [killed, rest])
