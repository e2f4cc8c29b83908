"""What was saved before a loss became NaN is not deleted for what comes after."""

from __future__ import annotations

import pytest

from agent.scratch_kit import JOB, ids, store_checkpoint
from outlast_agent.stores.file import FileStore
from outlast_agent.sync.sweep import Sweeper
from outlast_agent.sync.whole import Lineage


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def sweep(store, attempt, parent=None):
    sweeper = Sweeper(store, Lineage(JOB, attempt, parent), keep=2)
    sweeper.sweep(lambda _ref: None, lambda: False)


def test_the_newest_with_finite_metrics_stays(store):
    for step in (1, 2):
        store_checkpoint(store, 1, step, [b"good %d" % step])
    for step in (3, 4, 5):
        parent = store_checkpoint(store, 1, step, [b"bad %d" % step], finite=False)
    sweep(store, 1)
    assert ids(store) == ["000001-000000000002", "000001-000000000004", "000001-000000000005"]

    # Later attempts go on from NaN.
    for step in (6, 7, 8):
        store_checkpoint(store, 2, step, [b"bad %d" % step], finite=False)
    sweep(store, 2, parent)
    assert ids(store) == [
        "000001-000000000002",
        "000001-000000000005",
        "000002-000000000007",
        "000002-000000000008",
    ]
    for step in (9, 10):
        store_checkpoint(store, 2, step, [b"good %d" % step])
    sweep(store, 2, parent)
    assert ids(store)[0] == "000001-000000000005"
