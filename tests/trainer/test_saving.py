"""Snapshots on their way to the writer: what is copied where, and how long that is held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from outlast.environment import Environment
from outlast.saving import Kind, Saving
from outlast.snapshot import Snapshot

SIZE = 3_000_000


def environment(folder: Path, *, world_size: int = 1) -> Environment:
    return Environment(
        scratch=folder, outputs=None, control=None, job="j", attempt=1, rank=0,
        world_size=world_size, every=10_000.0,
    )  # fmt: skip


@pytest.fixture
def saving(tmp_path: Path) -> Iterator[Saving]:
    made = Saving(environment(tmp_path), on_note=print, monotonic=time.monotonic)
    made.start(time.monotonic())
    yield made
    made.flush(30)
    made.close()


def live(step: int) -> Snapshot:
    array = np.random.default_rng(step).random(SIZE, np.float32)
    return Snapshot(step, {}, {"w": array}, live=True)


def saved(saving: Saving, snapshot: Snapshot, kind: Kind) -> None:
    saving.save(snapshot, kind)
    snapshot.arrays["w"][:] = 0  # training goes on


@pytest.mark.parametrize("kind", ["notice", "fit", "end"])
def test_the_last_live_snapshot_takes_the_memory_of_the_one_before(
    saving: Saving, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving.prepare(live(0).arrays)
    saved(saving, live(1), "cadence")
    assert not saving.idle  # it rests most of the time
    last, made = live(2), []
    real: Callable[..., np.ndarray] = np.array
    monkeypatch.setattr(np, "array", lambda *args, **more: made.append(args) or real(*args, **more))
    saved(saving, last, kind)
    monkeypatch.undo()
    assert made == []
    assert saving.flush(30)
    loaded = saving.load()
    assert loaded is not None
    assert loaded.step == 2
    assert (loaded.arrays["w"] == live(2).arrays["w"]).all()


def test_a_save_that_is_waited_for_does_not_rest(saving: Saving) -> None:
    saved(saving, live(1), "cadence")
    began = time.monotonic()
    assert saving.flush(60)
    assert time.monotonic() - began < 30  # of the five thousand seconds that it may take


def test_memory_is_given_back_when_the_rest_cannot_be_copied(
    saving: Saving, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = np.zeros(3, dtype=[("a", "i4")])  # no numbers: it lies in no image
    snapshot = live(1)
    real = np.array

    def short(value: object, **more: object) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(np, "array", short)
    with pytest.raises(MemoryError):
        saving.save(Snapshot(1, {}, {**snapshot.arrays, "odd": odd}, live=True), "cadence")
    monkeypatch.setattr(np, "array", real)
    assert saving._arena.take(1) is not None
    saving._arena.give()


def test_ranks_do_not_rest_for_one_waits_for_the_other(tmp_path: Path) -> None:
    made = Saving(environment(tmp_path, world_size=2), on_note=print, monotonic=time.monotonic)
    made.start(time.monotonic())
    saves = []
    made._writer.submit = saves.append  # type: ignore[method-assign]
    made.save(live(1), "cadence")
    assert [each.spread for each in saves] == [0.0]
    made.close()
