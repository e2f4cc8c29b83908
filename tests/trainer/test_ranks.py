"""The parts of a checkpoint that several processes write, on their way into one."""

from __future__ import annotations

import numpy as np
import pytest

from outlast.checkpoint import load_newest
from outlast.writer import Save, Writer


@pytest.fixture
def writers(tmp_path):
    return [
        Writer(tmp_path, job="ranks", attempt=1, rank=rank, world_size=2, fingerprint=dict)
        for rank in (0, 1)
    ]


def save(writer, number, step, kind, value):
    arrays = {"x": np.full(3, value)}
    writer.submit(Save(step, kind, {"kind": kind}, arrays, number=number, fsync=False))
    return writer.flush(timeout=10)


def test_a_step_that_is_saved_twice_takes_each_part_once(tmp_path, writers):
    # A save is due after the last step, and the end is saved after it: rank 1 is ahead by both.
    rank_0, rank_1 = writers
    assert save(rank_1, 1, 60, "cadence", 1.0)
    assert save(rank_1, 2, 60, "end", 2.0)
    assert save(rank_0, 1, 60, "cadence", 3.0)
    loaded = load_newest(tmp_path, rank=1, world_size=2)
    assert (loaded.kind, loaded.arrays["x"][0]) == ("cadence", 1.0)
    assert save(rank_0, 2, 60, "end", 4.0)
    loaded = load_newest(tmp_path, rank=1, world_size=2)
    assert (loaded.kind, loaded.arrays["x"][0]) == ("end", 2.0)
    assert not list((tmp_path / "parts").iterdir())


def test_a_part_of_a_save_that_rank_0_passed_over_goes_with_its_objects(tmp_path, writers):
    rank_0, rank_1 = writers
    for number, step in ((1, 20), (2, 22), (3, 24)):
        assert save(rank_1, number, step, "cadence", float(step))
    assert save(rank_0, 3, 24, "cadence", 0.0)
    assert load_newest(tmp_path, rank=1, world_size=2).arrays["x"][0] == 24.0
    assert not list((tmp_path / "parts").iterdir())
    manifest = load_newest(tmp_path, rank=0, world_size=2).manifest
    named = {tmp_path / ref.key for ref in manifest.objects}
    assert set(tmp_path.glob("objects/*/[!.]*")) == named


def test_one_rank_s_nan_is_all_s(tmp_path, writers):
    for number, finite in enumerate((True, False), start=1):
        for rank, writer in enumerate(writers):
            good = finite or rank == 0
            writer.submit(Save(number, "cadence", None, {}, finite=good, number=number))
        assert all(writer.flush(10) for writer in writers)
    assert load_newest(tmp_path, rank=0, world_size=2).manifest.finite is False
    assert [writer.newest_finite.step for writer in writers] == [1, 1]
