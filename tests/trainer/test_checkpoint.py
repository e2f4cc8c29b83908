"""The newest whole checkpoint is read, and nothing torn ever is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from outlast.checkpoint import Loaded, checkpoints_in, load, load_newest
from outlast.manifest import CheckpointId, NewerVersionError, ObjectRef
from outlast.plain import encode
from outlast.progress import Note
from outlast.retention import next_attempt, superseded, sweep
from outlast.writer import Save, Writer


def save(
    scratch, step, attempt=1, *, value=None, kind="cadence", writer=None, finite=True, **state
):
    writer = writer or Writer(scratch, job="test", attempt=attempt)
    told, arrays = encode(state)
    data = np.full(1000, step if value is None else value, np.float32)
    writer.submit(Save(step, kind, told, {"w": data, **arrays}, finite=finite))
    assert writer.flush(10)
    return writer


def newest(scratch) -> tuple[Loaded | None, list[str]]:
    told: list[str] = []
    return load_newest(scratch, on_damaged=lambda id_, why: told.append(f"{id_}: {why}")), told


def objects_of(loaded):
    return [ref.key for ref in loaded.manifest.objects]


def test_what_was_saved_comes_back(tmp_path):
    save(tmp_path, 7, epoch=3, best=float("-inf"), rng=np.arange(3, dtype=np.uint32))
    loaded, told = newest(tmp_path)
    assert told == []
    assert loaded.id == CheckpointId(1, 7)
    assert loaded.state["epoch"] == 3
    assert loaded.state["best"] == float("-inf")
    assert loaded.state["rng"].tolist() == [0, 1, 2]
    assert list(loaded.arrays) == ["w"]
    assert loaded.arrays["w"].tolist() == [7.0] * 1000


def test_nothing_there_is_nothing(tmp_path):
    assert newest(tmp_path) == (None, [])
    assert newest(tmp_path / "not-there") == (None, [])


def test_a_zombie_with_more_steps_does_not_outrank_its_successor(tmp_path):
    save(tmp_path, 900, attempt=1)
    save(tmp_path, 500, attempt=2)
    assert newest(tmp_path)[0].id == CheckpointId(2, 500)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _alter(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm", [_cut, _alter, lambda path: path.unlink(), lambda path: path.write_bytes(b"")]
)
@pytest.mark.parametrize("what", ["manifest", "object"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, harm, what):
    save(tmp_path, 1)
    save(tmp_path, 2)
    loaded, _ = newest(tmp_path)
    if what == "manifest":
        if harm.__name__ == "<lambda>" and not (tmp_path / loaded.id.key).exists():
            return
        harm(tmp_path / loaded.id.key)
    else:
        harm(tmp_path / objects_of(loaded)[0])
    before, told = newest(tmp_path)
    assert before.step == 1
    if (tmp_path / loaded.id.key).exists():
        assert told
        assert told[0].startswith("000001-000000000002: ")


def test_all_damaged_is_nothing_and_each_is_told(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
    for path in tmp_path.glob("checkpoints/*"):
        _cut(path)
    loaded, told = newest(tmp_path)
    assert loaded is None
    assert len(told) == 2


def test_a_newer_format_is_not_passed_over(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / CheckpointId(1, 2).key
    value = json.loads(path.read_bytes())
    del value["check"]
    body = json.dumps({**value, "version": 9}).encode()[1:]
    path.write_bytes(b'{"check":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body))
    with pytest.raises(NewerVersionError, match="update outlast"):
        newest(tmp_path)
    sweep(tmp_path, 5)
    assert len(list(tmp_path.glob("objects/*/*"))) == 2  # what it names cannot be told: all stays


def test_another_number_of_processes_is_told(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(ValueError, match="saved by 1 process and now 2 train"):
        load_newest(tmp_path, world_size=2)


def test_a_checkpoint_alone_in_a_new_folder_is_whole(tmp_path):
    """The daemon brings only the newest manifest and its objects to a new machine."""
    first = tmp_path / "first"
    writer = save(first, 1)
    for step in (2, 3):
        save(first, step, writer=writer, value=1)
    loaded, _ = newest(first)
    second = tmp_path / "second"
    for key in [loaded.id.key, *objects_of(loaded)]:
        (second / key).parent.mkdir(parents=True, exist_ok=True)
        (second / key).write_bytes((first / key).read_bytes())
    assert newest(second)[0].step == 3


def test_only_the_newest_are_kept(tmp_path):
    writer = save(tmp_path, 1)
    save(tmp_path, 2, kind="fit", writer=writer)
    for step in (3, 4, 5):
        save(tmp_path, step, writer=writer)
    left = sorted(path.name for path in tmp_path.glob("checkpoints/*"))
    assert [CheckpointId.parse(name).step for name in left] == [2, 4, 5]
    for id_ in left:
        assert load_newest(tmp_path) is not None, id_
    # The objects of the latest three saves stay a little longer than their manifests.
    assert len(list(tmp_path.glob("objects/*/*"))) == 4


def test_the_attempt_before_goes_once_two_of_ones_own_are_whole(tmp_path):
    for step in (1, 2):
        save(tmp_path, step, attempt=1)
    parent, _ = newest(tmp_path)
    writer = Writer(tmp_path, job="test", attempt=2)
    writer.resumed_from(parent.manifest, parent.all_arrays)
    left = []
    for step in (3, 4):
        save(tmp_path, step, writer=writer)
        left.append(sorted(path.stem[-1] for path in tmp_path.glob("checkpoints/*")))
    assert left == [["1", "2", "3"], ["2", "3", "4"]]


def test_the_newest_with_finite_metrics_stays(tmp_path):
    writer = save(tmp_path, 1)
    save(tmp_path, 2, writer=writer)
    for step in (3, 4, 5):
        save(tmp_path, step, writer=writer, finite=False)
    assert writer.newest_finite == CheckpointId(1, 2)
    assert [id_.step for id_ in checkpoints_in(tmp_path)] == [5, 4, 2]

    parent, _ = newest(tmp_path)  # run again, it goes on from NaN
    writer = Writer(tmp_path, job="test", attempt=2)
    writer.resumed_from(parent.manifest, parent.all_arrays)
    assert writer.newest_finite is None
    for step in (6, 7, 8):
        save(tmp_path, step, writer=writer, finite=False)
    assert [id_.step for id_ in checkpoints_in(tmp_path)] == [8, 7, 5, 2]
    assert load(tmp_path, CheckpointId(1, 2)).arrays["w"][0] == 2.0

    save(tmp_path, 9, writer=writer)
    assert [id_.step for id_ in checkpoints_in(tmp_path)] == [9, 8, 5]


def test_a_later_save_of_a_step_takes_the_place_of_the_earlier(tmp_path):
    writer = save(tmp_path, 5)
    save(tmp_path, 5, writer=writer, kind="fit", value=6)
    loaded, _ = newest(tmp_path)
    assert (loaded.kind, loaded.arrays["w"][0]) == ("fit", 6.0)
    assert len(list(tmp_path.glob("objects/*/*"))) == 2  # someone may be reading the first


@given(
    st.sets(st.builds(CheckpointId, st.integers(1, 4), st.integers(0, 9))),
    st.integers(1, 4),
    st.builds(CheckpointId, st.integers(1, 4), st.integers(0, 9)),
)
def test_retention_never_touches_what_is_needed(whole, attempt, parent):
    gone = set(superseded(whole, attempt=attempt, parent=parent))
    own = sorted((id_ for id_ in whole if id_.attempt == attempt), reverse=True)
    assert not gone & set(own[:2])
    assert parent not in gone
    assert all(id_.attempt <= attempt for id_ in gone)
    if len(own) < 2:
        assert not gone


def test_leftovers_of_killed_writers_are_swept(tmp_path):
    save(tmp_path, 1)
    whole = {path for path in tmp_path.rglob("*") if path.is_file()}
    for name in (
        f"objects/000001/{'a' * 32}-5",
        "objects/000001/.x.tmp",
        "checkpoints/.y.tmp",
        ".outputs.z.tmp",
        "parts/000001-000000000009-1.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    other = tmp_path / f"objects/000009/{'b' * 32}-5"
    other.parent.mkdir()
    other.write_bytes(b"12345")
    sweep(tmp_path, 1)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*whole, other}


def test_attempts_count_up_from_whatever_is_there(tmp_path):
    assert next_attempt(tmp_path) == 1
    save(tmp_path, 1, attempt=3)
    assert next_attempt(tmp_path) == 4
    (tmp_path / "objects/000006").mkdir()
    (tmp_path / ObjectRef(6, "0" * 32, 1).key).write_bytes(b"1")
    assert next_attempt(tmp_path) == 7
    sweep(tmp_path, 7)  # another rank may look only now
    assert next_attempt(tmp_path) == 7


def test_a_save_that_fails_is_told_once_and_the_next_tries_again(tmp_path):
    notes: list[Note] = []
    writer = Writer(tmp_path / "scratch", job="test", attempt=1, on_note=notes.append)
    (tmp_path / "scratch").write_text("in the way")
    for step in (1, 2):
        writer.submit(Save(step, "cadence", None, {}))
        assert not writer.flush(10)
    assert writer.saved is None
    assert len(notes) == 1
    assert "saving step 1 below" in notes[0].text
    assert "Training goes on" in notes[0].text
    (tmp_path / "scratch").unlink()
    save(tmp_path / "scratch", 3, writer=writer)
    assert newest(tmp_path / "scratch")[0].step == 3


def test_a_save_that_fails_at_its_very_end_leaves_nothing(tmp_path):
    notes: list[Note] = []
    writer = Writer(tmp_path, job="test", attempt=1, on_note=notes.append)
    (tmp_path / "checkpoints").write_text("in the way")
    writer.submit(Save(1, "cadence", None, {"w": np.ones(10)}))
    assert not writer.flush(10)
    assert len(notes) == 1
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


def test_a_newer_save_replaces_one_that_has_not_begun(tmp_path):
    writer = Writer(tmp_path, job="test", attempt=1)
    released = []
    for step in range(1, 60):
        release = lambda written, step=step: released.append((step, written is not None))  # noqa: E731
        writer.submit(Save(step, "cadence", None, {"w": np.full(10, step)}, release=release))
    assert writer.flush(10)
    assert newest(tmp_path)[0].step == 59
    assert sorted(step for step, _ in released) == list(range(1, 60))
    assert not all(whole for _, whole in released)
