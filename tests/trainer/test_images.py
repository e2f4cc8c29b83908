"""Snapshots copied into memory that is written as it is."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from outlast import tensors
from outlast.arena import PAGE, Arena
from outlast.checkpoint import load_newest
from outlast.images import Copied, Copier, Layout
from outlast.writer import Save, Writer

LIMIT = 10_000

entries = st.lists(st.integers(1, LIMIT), max_size=30).map(
    lambda sizes: [tensors.Entry(f"e{i}", "uint8", 1, size) for i, size in enumerate(sizes)]
)


@given(entries, entries)
def test_objects_begin_at_a_page_and_nothing_overlaps(one: list, two: list) -> None:
    two = [tensors.Entry(f"x{each.name}", "uint8", 1, each.length) for each in two]
    layout = Layout([one, two], LIMIT)
    taken = []
    for laid in layout.laid:
        assert laid.start % PAGE == 0
        taken.append((laid.start, laid.start + len(laid.header)))
        names = {entry.name for entry in laid.entries}
        assert names <= {each.name for each in one} or names <= {each.name for each in two}
        assert sum(entry.length for entry in laid.entries) <= LIMIT * 5 // 4
        taken += [(at := layout.places[e.name], at + e.length) for e in laid.entries]
    assert len(layout.places) == len(one) + len(two)
    taken.sort()
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(taken))
    assert not taken or layout.bytes >= taken[-1][1]


def arrays_of(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "big": random.random((300, 401), np.float32),  # split, and of no round length
        "turned": random.random((40, 50)).T,
        "byte": random.integers(0, 255, 7, np.uint8),
        "number": np.array(random.random()),
        "none": np.zeros((0, 3)),
        "text": np.array([True, False]),
    }


class Chain:
    """Saves live arrays through an arena."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = Writer(folder, job="j", attempt=1)
        self.arena = Arena()
        self.copier = Copier(self.arena, limit=LIMIT)
        self.step = 0

    def save(self, arrays: dict[str, np.ndarray], *, live: bool = True) -> dict:
        copied = self.copier.copy(arrays, live=live, changing=self.writer.changing)
        kept, images = copied or (arrays, ())
        for array in arrays.values():  # the program goes on
            if live and array.size:
                array.reshape(-1)[0] = 0
        self.step += 1
        give = self.arena.give if images else lambda: None
        self.writer.submit(
            Save(self.step, "cadence", {}, kept, images=images, release=lambda _written: give())
        )
        assert self.writer.flush(60)
        return kept

    def load(self) -> dict[str, np.ndarray]:
        loaded = load_newest(self.folder)
        assert loaded is not None
        assert loaded.step == self.step
        return {name: loaded.arrays[name] for name in loaded.arrays}


def check(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes(), name


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sets(st.sampled_from(sorted(arrays_of(0)))), st.booleans()),
                min_size=1, max_size=5))  # fmt: skip
def test_what_is_loaded_is_what_was_there_at_the_snapshot(
    tmp_path_factory, rounds: list[tuple[set[str], bool]]
) -> None:
    chain = Chain(tmp_path_factory.mktemp("scratch"))
    now = arrays_of(0)
    for number, (changed, live) in enumerate(rounds, 1):
        fresh = arrays_of(number)
        now = {name: fresh[name] if name in changed else now[name] for name in now}
        given_ = {name: array.copy() for name, array in now.items()}
        chain.save(given_, live=live)
        check(chain.load(), now)
        for path in (chain.folder / "objects").rglob("*-*"):
            load_file(path)  # readable as what it says it is


def test_what_never_changes_is_not_copied_from_the_third_save_on(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    frozen = np.random.default_rng(1).random((100, 100))
    for number in range(3):
        moving = np.random.default_rng(10 + number).random((100, 100))
        kept = chain.save({"frozen": frozen, "moving": moving}, live=False)
    assert isinstance(kept["moving"], Copied)
    assert kept["frozen"] is frozen
    assert chain.load()["frozen"].tobytes() == frozen.tobytes()


def test_what_was_prepared_for_is_taken_without_making_memory(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    arrays = arrays_of(1)
    chain.copier.prepare(arrays)
    made = chain.arena._memory
    state = {f"$state/{number}": np.full(2500, number, np.uint32) for number in range(20)}
    chain.save({**arrays, **state})
    assert chain.arena._memory is made


def test_one_snapshot_at_a_time_and_none_without_memory(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    arrays = arrays_of(1)
    assert chain.copier.copy(arrays, live=True, changing=()) is not None
    assert chain.copier.copy(arrays, live=True, changing=()) is None
    chain.arena.give()
    assert chain.copier.copy(arrays, live=True, changing=()) is not None


def test_an_arena_is_not_made_where_memory_is_short(monkeypatch) -> None:
    monkeypatch.setattr("outlast.memory.available", lambda: (256 << 20) + 5 * PAGE)
    arena = Arena()
    assert not arena.make(6 * PAGE)
    assert arena.refused == 6 * PAGE
    assert arena.take(6 * PAGE) is None
    assert arena.make(5 * PAGE)
    memory = arena.take(5 * PAGE)
    assert memory is not None
    assert memory.ctypes.data % PAGE == 0
    assert not Arena(processes=2).make(5 * PAGE)


def test_an_array_called_like_a_part_of_another_is_left_alone(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    big, other = np.arange(5000, dtype=np.float32), np.arange(2500, dtype=np.float32)
    kept, _ = chain.copier.copy(  # its parts are of ten thousand bytes
        {"w": big, "w[0:10000]": other}, live=True, changing=()
    ) or ({}, ())
    assert isinstance(kept["w"], Copied)
    assert kept["w[0:10000]"] is other
