"""What may be deleted: never what a resume could need, nor what the job wants kept."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from outlast.manifest import CheckpointId, ObjectRef
from outlast_agent.sync import collect
from outlast_agent.sync.collect import Best, Facts, Rule

C = CheckpointId


def facts(attempt, *steps, parent=None, **more):
    return [Facts(C(attempt, step), parent, **more) for step in steps]


THREE, TWO = Rule(3), Rule(2)


def going(durable, *, attempt=2, parent=None, rule=THREE):
    return collect.superseded(durable, rule, attempt=attempt, parent=parent)


def why(durable, rule=TWO):
    return {(id_.attempt, id_.step): told for id_, told in collect.kept(durable, rule).items()}


def test_own_beyond_keep_go_the_oldest_first():
    assert going(facts(2, *range(1, 7))) == [C(2, 1), C(2, 2), C(2, 3)]


def test_two_stay_whatever_keep_says():
    assert going(facts(2, 1, 2, 3), rule=Rule(0)) == [C(2, 1)]


def test_others_go_only_after_two_of_its_own_and_never_the_parent():
    lower, parent = facts(1, 8, 9), C(1, 9)
    assert going([*lower, *facts(2, 10, parent=parent)], parent=parent) == []
    own = facts(2, 10, 11, parent=parent)
    assert going([*lower, *own], parent=parent) == [C(1, 8)]
    assert going([*lower, *own], parent=parent, rule=Rule(4)) == []
    damaged = [*facts(2, 10, parent=parent), *facts(2, 11, damaged=True)]
    assert going([*lower, *damaged], parent=parent) == []


def test_a_higher_attempt_is_never_touched():
    durable = [*facts(1, 9), *facts(2, *range(1, 5)), *facts(3, 1, 2, 3, parent=C(2, 4))]
    assert going(durable, rule=Rule(2)) == [C(1, 9), C(2, 1), C(2, 2)]


def test_what_is_damaged_is_not_counted():
    durable = [*facts(1, 1, 2, 3), *facts(1, 4, damaged=True, finite=False)]
    assert going(durable, attempt=1, rule=Rule(2)) == [C(1, 1)]


def test_the_first_at_or_after_each_multiple_stays():
    found = why(facts(1, 40, 90, 130, 160, 200, 290, 410, 415, 417), Rule(2, every=100))
    assert found == {
        (1, 130): ["step 100"],
        (1, 200): ["step 200"],
        (1, 410): ["step 400"],
        (1, 415): ["newest"],
        (1, 417): ["newest"],
    }


def test_what_was_done_again_does_not_stand_for_what_came_of_it():
    first = facts(1, 90, 130, 210, 220)  # from 130 on it was done again
    second = facts(2, 180, 230, 240, parent=C(1, 130))
    found = why([*first, *second], Rule(2, every=100))
    assert found == {
        (1, 130): ["resumed from", "step 100"],
        (2, 230): ["newest", "step 200"],
        (2, 240): ["newest"],
    }


def test_the_end_of_each_fit_stays():
    ends = facts(1, 5, 9, kind="fit")
    assert going([*ends, *facts(1, 3, 10, 11)], attempt=1, rule=Rule(2)) == [C(1, 3)]
    again = facts(2, 9, 12, 13, parent=C(1, 5))
    assert going([*ends, *again], parent=C(1, 5), rule=Rule(2)) == [C(1, 9), C(2, 9)]


def test_the_best_of_all_attempts_stay_each_as_soon_as_it_was_measured():
    durable = [
        *facts(1, 10, metrics={"val_loss": 0.5}),
        *facts(1, 20, 21, metrics={"val_loss": 0.2}),  # 21: other weights since
        *facts(2, 30, metrics={"val_loss": 0.3, "loss": 0.1}, parent=C(1, 21)),
        *facts(2, 31, 32, metrics={"val_loss": 0.9}, parent=C(1, 21)),
        *facts(2, 33, metrics={"val_loss": float("-inf")}, parent=C(1, 21)),
        *facts(2, 34, metrics={"val_loss": 0.1}, finite=False, parent=C(1, 21)),
    ]
    low = why(durable, Rule(2, best=Best("val_loss", "min", 2)))
    assert {id_ for id_, told in low.items() if "best val_loss" in told} == {(1, 20), (2, 30)}
    assert low[2, 33] == ["newest", "last finite"]
    high = why(durable, Rule(2, best=Best("val_loss", "max")))
    assert [id_ for id_, told in high.items() if "best val_loss" in told] == [(2, 31)]


def test_a_metric_that_no_checkpoint_has_is_told():
    rule = Rule(best=Best("val_los", "min"))
    durable = facts(1, 1, metrics={"val_loss": 1.0, "loss": 2.0})
    assert "'val_los' that checkpoint.keep.best names; they have loss, val_loss." in (
        collect.without_metric(durable, rule) or ""
    )
    assert "they have none at all" in (collect.without_metric(facts(1, 1), rule) or "")
    assert collect.without_metric(durable, Rule(best=Best("loss", "min"))) is None
    assert collect.without_metric(durable, Rule()) is None


ids = st.builds(CheckpointId, st.integers(1, 4), st.integers(1, 6))
refs = st.builds(ObjectRef, st.integers(1, 4), st.sampled_from(["a" * 32, "b" * 32]), st.just(3))
bests = st.none() | st.builds(
    Best, st.just("m"), st.sampled_from(["min", "max"]), st.integers(1, 3)
)
rules = st.builds(Rule, st.integers(0, 5), st.none() | st.integers(1, 4), bests)
metrics = st.fixed_dictionaries({}, optional={"m": st.sampled_from([0.1, 0.2, 0.3])})
anything = st.builds(
    Facts, ids, st.none() | ids, st.sampled_from(["cadence", "fit"]), st.booleans(), metrics,
    st.booleans(),
)  # fmt: skip


@given(
    durable=st.lists(anything, unique_by=lambda one: one.id), named=st.data(),
    strays=st.frozensets(refs), attempt=st.integers(1, 4), parent=st.none() | ids, rule=rules,
)  # fmt: skip
def test_nothing_needed_goes(*, durable, named, strays, attempt, parent, rule):
    manifests = {one.id: named.draw(st.frozensets(refs)) for one in durable}
    gone = going(durable, attempt=attempt, parent=parent, rule=rule)
    kept = {id_: objects for id_, objects in manifests.items() if id_ not in gone}
    own = sorted(id_ for id_ in manifests if id_.attempt == attempt)
    assert set(own[-2:]) <= kept.keys()
    assert parent not in gone
    assert all(id_.attempt <= attempt for id_ in gone)
    if len(own) < 2:
        assert all(id_.attempt == attempt for id_ in gone)
    present = strays.union(*manifests.values()) if manifests else strays
    own_whole = sum(id_.attempt == attempt for id_ in kept)
    unused = collect.unused(present, kept, attempt=attempt, own_whole=own_whole)
    for objects in kept.values():
        assert not objects & set(unused)
    assert all(ref.attempt <= attempt for ref in unused)
    if own_whole < 2:
        assert unused == []


lives = st.lists(
    st.tuples(
        st.integers(0, 4),  # how many of the stored ones are passed over for the parent
        st.lists(st.tuples(st.integers(1, 5), metrics, st.booleans()), min_size=2, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


@given(lives=lives, rule=rules)
def test_collecting_after_each_save_keeps_what_the_rule_would_keep_of_all(lives, rule):
    """What goes early is never missed later, however often the job was taken up again."""
    everything, stored = [], []
    for attempt, (passed_over, saves) in enumerate(lives, 1):
        older = sorted(stored, key=lambda one: one.id, reverse=True)[passed_over:]
        parent = older[0].id if older else None
        # What was begun anew beside an attempt takes it away: nothing goes on from it later.
        assume(parent is None or parent.attempt == attempt - 1)
        step = parent.step if parent else 0
        for more, measured, fit in saves:
            step += more
            kind = "fit" if fit else "cadence"
            new = Facts(C(attempt, step), parent, kind, metrics=measured)
            everything.append(new)
            gone = going([*stored, new], attempt=attempt, parent=parent, rule=rule)
            stored = [one for one in [*stored, new] if one.id not in gone]
    present = {one.id for one in stored}
    for id_, told in collect.kept(everything, rule).items():
        if set(told) - {"newest"}:
            assert id_ in present, told
