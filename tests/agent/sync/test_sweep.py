"""A real folder store is swept: what the rule and a resume need stays, whole."""

from __future__ import annotations

from agent.scratch_kit import JOB, Slow, ids, store_checkpoint
from outlast.manifest import CheckpointId as C
from outlast.manifest import parse_manifest
from outlast_agent import layout
from outlast_agent.sync.collect import Best, Rule
from outlast_agent.sync.sweep import Sweeper
from outlast_agent.sync.whole import Lineage

TWO = Rule(2)


def sweep(store, attempt, parent=None, rule=TWO):
    told = []
    sweeper = Sweeper(store, Lineage(JOB, attempt, parent), rule, told.append)
    sweeper.sweep(lambda _ref: None, lambda: False)
    return told


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


def test_all_that_the_rule_names_stays_over_attempts(store):
    rule = Rule(2, every=10, best=Best("val_loss", "min"))
    losses = {4: 0.9, 8: 0.3, 12: 0.5, 16: 0.6}
    for step, loss in losses.items():
        kind = "fit" if step == 4 else "cadence"
        parent = store_checkpoint(
            store, 1, step, [b"%d" % step], kind=kind, metrics={"val_loss": loss}
        )
    store.create(f"jobs/{JOB}/objects/000001/{'0' * 32}-9", b"left over")
    for step in (18, 22, 26, 28):
        store_checkpoint(
            store, 2, step, [b"%d" % step], parent=str(parent.id),
            objects=parent.objects, metrics={"val_loss": 0.7},
        )  # fmt: skip
    assert sweep(store, 2, parent, rule) == []
    kept = ["1 4", "1 8", "1 12", "1 16", "2 22", "2 26", "2 28"]
    assert ids(store) == [str(C(*map(int, one.split()))) for one in kept]
    sizes = sorted(entry.size for entry in store.list(layout.objects(JOB)))
    assert sizes == [1, 1, 2, 2, 2, 2, 2]
    for id_ in ids(store):  # each of them is whole
        data = store.read(f"jobs/{JOB}/checkpoints/{id_}.json")
        for each in parse_manifest(data, name=id_).objects:
            store.read(f"jobs/{JOB}/{each.key}")


def test_a_metric_that_there_is_not_is_told_once(store):
    told = []
    rule = Rule(2, best=Best("accuracy", "max"))
    sweeper = Sweeper(store, Lineage(JOB, 1, None), rule, told.append)
    for step in range(1, 6):
        store_checkpoint(store, 1, step, [b"%d" % step], metrics={"loss": 1.0})
        sweeper.sweep(lambda _ref: None, lambda: False)
        assert len(told) == (step >= 3)
    assert "'accuracy'" in told[0]
    assert "they have loss" in told[0]


def test_manifests_are_read_a_few_at_a_time_and_nothing_goes_before_all_are(store, monkeypatch):
    monkeypatch.setattr("outlast_agent.sync.sweep.READ_AT_ONCE", 3)
    for step in range(1, 9):
        store_checkpoint(store, 1, step, [b"%d" % step])
    sweeper = Sweeper(store, Lineage(JOB, 1, None), Rule(2), lambda _told: None)
    for left in (8, 8, 2):
        sweeper.sweep(lambda _ref: None, lambda: False)
        assert len(ids(store)) == left


def test_nothing_goes_beside_a_manifest_of_a_newer_version(store):
    for step in range(1, 6):
        store_checkpoint(store, 1, step, [b"%d" % step])
    store.create(f"jobs/{JOB}/{C(1, 6).key}", b'{"version": 99}')
    sweep(store, 1)
    assert len(ids(store)) == 6


def test_what_was_read_wrong_once_stays(store):
    for step in (1, 2, 3):
        store_checkpoint(store, 1, step, [b"%d" % step], kind="fit")

    class Wrong(Slow):
        reads = 0

        def read(self, key, *, limit=1 << 20):
            self.reads += 1
            # The newest is read first: the third is the one that would go.
            return b"{" if self.reads == 3 else super().read(key, limit=limit)

    sweep(Wrong(store), 1)
    assert len(ids(store)) == 3


def test_nothing_is_deleted_once_another_has_claimed(store):
    for step in range(1, 6):
        store_checkpoint(store, 1, step, [b"%d" % step])
    store.create(layout.claim(JOB, 2), b"{}")
    sweep(store, 1)
    assert len(ids(store)) == 5
