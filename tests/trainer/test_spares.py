"""Files that are written over: only those that nobody reads or has another name for."""

from __future__ import annotations

import fcntl
import os

import numpy as np
import pytest

from outlast.checkpoint import load_newest
from outlast.retention import sweep
from outlast.spares import Spares
from outlast.writer import Save, Writer


@pytest.fixture
def spares(tmp_path) -> Spares:
    found = Spares(tmp_path)
    found.most = 100
    return found


def file(folder, name="object", size=10):
    path = folder / name
    path.write_bytes(b"x" * size)
    return path


def inode(path):
    return path.stat().st_ino


def test_a_spare_is_given_back(tmp_path, spares) -> None:
    path = file(tmp_path)
    number = inode(path)
    spares.put(path, 10)
    assert not path.exists()
    found, descriptor = spares.take(10)
    os.close(descriptor)
    assert inode(found) == number
    assert spares.take(10) is None


def test_the_spare_of_the_nearest_size_is_taken(tmp_path, spares) -> None:
    for size in (3, 40, 50, 7):
        spares.put(file(tmp_path, str(size), size), size)
    sizes = []
    for size in (45, 45, 45, 6, 4, 1000, 1):
        if taken := spares.take(size):
            sizes.append(os.fstat(taken[1]).st_size)
            os.close(taken[1])
        else:
            sizes.append(None)
    assert sizes == [40, 50, None, 7, 3, None, None]


def test_spares_of_a_size_that_nobody_needs_make_room_for_others(tmp_path, spares) -> None:
    spares.put(file(tmp_path, "old", 90), 90)
    spares.put(file(tmp_path, "new", 20), 20)
    assert spares.take(90) is None
    path, descriptor = spares.take(20)
    assert os.fstat(descriptor).st_size == 20
    os.close(descriptor)
    assert [each.stat().st_size for each in tmp_path.iterdir()] == [20]
    assert path.exists()


def test_what_somebody_reads_is_not_written_over(tmp_path, spares) -> None:
    path = file(tmp_path)
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        spares.put(path, 10)
        assert spares.take(10) is None
        assert reader.read() == b"x" * 10
    assert not list(tmp_path.iterdir())


def test_what_has_another_name_is_not_written_over(tmp_path, spares) -> None:
    path = file(tmp_path)
    os.link(path, tmp_path / "mine")
    spares.put(path, 10)
    assert spares.take(10) is None
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_more_than_one_save_makes_is_removed(tmp_path, spares) -> None:
    for number in range(12):
        spares.put(file(tmp_path, str(number)), 10)
    assert len(list(tmp_path.iterdir())) == 10
    spares.clear()
    assert not list(tmp_path.iterdir())


def test_what_lies_elsewhere_or_is_gone_is_no_spare(tmp_path, spares) -> None:
    (tmp_path / "000001").mkdir()
    other = file(tmp_path / "000001")
    spares.put(other, 10)
    spares.put(tmp_path / "gone", 10)
    assert not other.exists()
    assert spares.take(10) is None


def saved(scratch, steps, size=300_000):
    writer = Writer(scratch, job="test", attempt=1)
    for step in steps:
        arrays = {"w": np.full(size + step, step), "v": np.full(size // 2, -step)}
        writer.submit(Save(step, "cadence", {"step": step}, arrays))
        assert writer.flush(20), writer.failed
        yield
    writer.close()


def test_checkpoints_are_whole_in_files_that_were_written_over(tmp_path) -> None:
    inodes: list[set[int]] = []
    for step, _ in enumerate(saved(tmp_path, range(1, 8)), start=1):
        inodes.append({inode(path) for path in (tmp_path / "objects" / "000001").iterdir()})
        told: list[str] = []
        loaded = load_newest(tmp_path, on_damaged=lambda _id, why, told=told: told.append(why))
        assert (told, loaded.step) == ([], step)
        assert (loaded.arrays["w"] == step).all()
        assert (loaded.arrays["v"] == -step).all()
    assert inodes[-1] <= set().union(*inodes[:-1])  # no new file
    assert not list(tmp_path.rglob(".*.tmp"))  # the writer was closed


def test_spares_that_a_kill_left_go_at_the_next_start(tmp_path) -> None:
    saves = saved(tmp_path, range(1, 8))
    for _ in range(5):
        next(saves)
    assert list(tmp_path.rglob(".*.tmp"))
    sweep(tmp_path, 2)
    assert not list(tmp_path.rglob(".*.tmp"))
    assert load_newest(tmp_path).step == 5


def test_a_reader_of_an_old_checkpoint_keeps_its_bytes(tmp_path) -> None:
    saves = saved(tmp_path, range(1, 8))
    next(saves)
    (path,) = (tmp_path / "objects" / "000001").iterdir()
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        before = path.read_bytes()
        for _ in saves:
            pass
        assert not path.exists()
        assert reader.read() == before
