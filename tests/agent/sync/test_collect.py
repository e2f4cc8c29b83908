"""What may be deleted: never what a resume could need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outlast.manifest import CheckpointId, ObjectRef
from outlast_agent.sync import collect

C = CheckpointId


def going(durable, *, attempt=2, parent=None, pinned=(), keep=3):
    return collect.superseded(durable, attempt=attempt, parent=parent, pinned=pinned, keep=keep)


def test_own_beyond_keep_go_the_oldest_first():
    own = [C(2, step) for step in range(1, 7)]
    assert going(own) == [C(2, 1), C(2, 2), C(2, 3)]


def test_two_stay_whatever_keep_says():
    assert going([C(2, 1), C(2, 2), C(2, 3)], keep=0) == [C(2, 1)]


def test_others_go_only_after_two_of_its_own_and_never_the_parent():
    lower = [C(1, 8), C(1, 9)]
    assert going([*lower, C(2, 10)], parent=C(1, 9)) == []
    assert going([*lower, C(2, 10), C(2, 11)], parent=C(1, 9)) == [C(1, 8)]


def test_a_higher_attempt_is_never_touched():
    assert going([C(3, 1), C(2, 1), C(2, 2), C(2, 3)], keep=2) == [C(2, 1)]


ids = st.builds(CheckpointId, st.integers(1, 4), st.integers(1, 6))
refs = st.builds(ObjectRef, st.integers(1, 4), st.sampled_from(["a" * 32, "b" * 32]), st.just(3))


@given(
    manifests=st.dictionaries(ids, st.frozensets(refs)), strays=st.frozensets(refs),
    attempt=st.integers(1, 4), parent=st.none() | ids, pinned=st.sets(ids), keep=st.integers(0, 5),
)  # fmt: skip
def test_nothing_needed_goes(*, manifests, strays, attempt, parent, pinned, keep):
    gone = going(manifests, attempt=attempt, parent=parent, pinned=pinned, keep=keep)
    kept = {id_: objects for id_, objects in manifests.items() if id_ not in gone}
    own = sorted(id_ for id_ in manifests if id_.attempt == attempt)
    assert set(own[-2:]) <= kept.keys()
    assert not {parent, *pinned} & set(gone)
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
