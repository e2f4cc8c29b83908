"""What callbacks wrote into the outputs folder equals what the uninterrupted run wrote."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trainer.exactness.cases import check, rotated
from trainer.exactness.stops import Stop
from trainer.exactness.table import FILES, Scenario, named
from trainer.exactness.twins import Twins


@pytest.mark.parametrize(("scenario", "stops"), rotated(FILES))
def test_files_of_a_resumed_run(twins: Twins, scenario: Scenario, stops: Sequence[Stop]) -> None:
    check(twins, scenario, stops)


@pytest.mark.parametrize(
    "script", ["files.csv_logger", "files.model_checkpoint", "files.tensorboard_by_batch"]
)
def test_files_written_after_the_last_save_are_taken_back(twins: Twins, script: str) -> None:
    """Killed without notice: rows of batches that will be trained again are not there twice."""
    check(twins, named(script), [Stop("batch", 0, 1, 4, kill=True), Stop("tail", 0, 2)])
