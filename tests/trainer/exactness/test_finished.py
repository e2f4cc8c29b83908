"""A finished script run again trains nothing and ends with everything it had."""

from __future__ import annotations

import pytest

from trainer.exactness import outcome
from trainer.exactness.table import named
from trainer.exactness.twins import Twins
from trainer.files.content import contents


@pytest.mark.parametrize(
    "script",
    [
        "data.shuffled",
        "callbacks.early_stopping",
        "training.unfreezing",
        "training.two_models",
        "files.everything",
    ],
)
def test_run_again(twins: Twins, script: str) -> None:
    scenario = named(script)
    folder = twins.folder(scenario, "again")
    first = twins.attempt(scenario, folder, 1, None)
    assert not (problem := first.wrong_end()), problem
    expected, files = first.outcome, contents(first.outputs)
    again = twins.attempt(scenario, folder, 2, None)
    assert not (problem := again.wrong_end()), problem
    assert not list(again.events("batch", "validation", "epoch"))
    assert outcome.differences(expected, again.outcome) == []
    assert contents(again.outputs) == files
