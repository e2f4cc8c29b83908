"""What can still be saved, from what was measured."""

from __future__ import annotations

import pytest

from outlast.manifest import CheckpointId
from outlast.progress import Progress
from outlast_agent.budget import Candidate
from outlast_agent.outlook import Outlook

MB = 10**6
TRAINS = Progress(
    9, "training", save_seconds=2.0, save_bytes=10 * MB, snapshot_seconds=0.5,
    rest_seconds=4.0, at_monotonic=100.0,
)  # fmt: skip


@pytest.mark.parametrize(("progress", "size", "seconds"), [
    (None, 50 * MB, None),
    (Progress(0, "tracing"), 0, None),  # nobody has seen a save
    (Progress(9, "tracing"), 50 * MB, 1.0 + 0.5 + 1.3 * 50),  # as large as what it resumed from
    (TRAINS, 50 * MB, 3.0 + 0.5 + 2.0 + 0.5 + 1.3 * 10),
])  # fmt: skip
def test_a_flush_is_the_rest_of_the_step_the_save_and_its_upload(progress, size, seconds):
    outlook = Outlook(1, progress, size, rate=float(MB))
    found = outlook.flush_seconds(101.0)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_what_waits_counts_in_a_flush_if_it_is_more():
    waiting = (Candidate(CheckpointId(1, 8), 30 * MB), Candidate(CheckpointId(1, 7), 90 * MB))
    outlook = Outlook(1, TRAINS, 0, waiting, rate=float(MB))
    assert outlook.flush_seconds(101.0) == pytest.approx(6.0 + 1.3 * 30)


@pytest.mark.parametrize(("left", "what", "step"), [
    (30.0, "full", 10), (18.0, "flush", 8), (15.0, "flush", 6),
])  # fmt: skip
def test_the_plan_knows_of_the_save_that_is_being_written(left, what, step):
    progress = Progress(
        9, "training", save_seconds=2.0, save_bytes=10 * MB, snapshot_seconds=0.5,
        rest_seconds=4.0, at_monotonic=100.0, saving_step=8, saving_seconds=0.5,
    )  # fmt: skip
    outlook = Outlook(1, progress, 0, (Candidate(CheckpointId(1, 6), 10 * MB),), rate=float(MB))
    chosen = outlook.plan(left, 100.5)
    assert (chosen.what, chosen.id.step, chosen.fits) == (what, step, True)
