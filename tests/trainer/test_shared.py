"""A save at a notice lies in memory that the daemon reads, and nothing of it in scratch."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
import xxhash
from safetensors.numpy import load

from outlast.arena import Arena
from outlast.checkpoint import load_newest
from outlast.images import Copier
from outlast.manifest import ObjectRef, parse_manifest
from outlast.writer import Save, Writer


class Program:
    """Saves like a managed one."""

    def __init__(self, folder: Path, size: int = 1 << 20) -> None:
        self.scratch, self.memory = folder / "scratch", folder / "memory"
        self.memory.mkdir()
        self.arena = Arena(self.memory)
        assert self.arena.make(size)
        self.copier = Copier(self.arena)
        self.writer = Writer(self.scratch, job="j", attempt=1, arena=self.arena)
        self.step = 0

    def save(self, arrays: dict[str, np.ndarray], *, live: bool = False) -> None:
        self.step += 1
        images = ()
        if live:
            arrays, images = self.copier.copy(arrays, live=True, changing=self.writer.changing)
        save = Save(self.step, "notice", {}, arrays, images=images, fsync=False)
        self.writer.submit(save)
        assert self.writer.flush(60)
        if images:
            self.arena.give()

    def in_memory(self) -> dict[ObjectRef, bytes]:
        found = {}
        for path in self.memory.glob("objects/000001/*"):
            name, _, start = path.name.partition("@")
            ref = ObjectRef.parse(f"objects/000001/{name}")
            found[ref] = path.read_bytes()[int(start) :][: ref.size]
            assert xxhash.xxh3_128_hexdigest(found[ref]) == ref.hash
        return found

    def published(self) -> list[Path]:
        return [path for path in self.memory.glob("*/**/*") if path.is_file()]

    def in_scratch(self) -> list[Path]:
        return [path for path in self.scratch.rglob("*") if path.is_file()]


def arrays_of(seed: int, size: int = 50_000) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {"w": random.random(size), "v": random.random(size // 3).astype(np.float32)}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.mark.parametrize("live", [False, True])
def test_all_of_it_is_in_memory(program: Program, live: bool) -> None:
    arrays = arrays_of(1)
    program.save(dict(arrays), live=live)
    (path,) = program.memory.glob("checkpoints/*")
    manifest = parse_manifest(path.read_bytes(), name=path.stem)
    objects = program.in_memory()
    assert set(objects) == set(manifest.objects)
    found = {name: array for data in objects.values() for name, array in load(data).items()}
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }
    assert program.in_scratch() == []


def test_the_next_save_takes_the_place_of_the_one_before(program: Program) -> None:
    program.save(arrays_of(1))
    before = program.in_memory()
    program.save(arrays_of(2))
    after = program.in_memory()
    assert len(after) == len(before)
    assert not set(before) & set(after)
    assert [path.name for path in program.memory.glob("checkpoints/*")] == [
        "000001-000000000002.json"
    ]


def test_what_somebody_reads_is_not_written_over(program: Program) -> None:
    program.save(arrays_of(1))
    path = next(program.memory.glob("objects/000001/*"))
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        before = reader.read()
        program.save(arrays_of(2))
        assert program.in_memory() == {}
        assert len(list(program.scratch.glob("objects/*/*"))) == 1
        reader.seek(0)
        assert reader.read() == before
    program.save(arrays_of(3))
    assert len(program.in_memory()) == 1


def is_whole(program: Program) -> bool:
    loaded = load_newest(program.scratch)
    return loaded is not None and loaded.step == program.step and program.published() == []


def test_what_has_no_room_goes_to_scratch(tmp_path: Path) -> None:
    program = Program(tmp_path, size=300_000)
    program.save({"small": np.arange(30_000.0), "large": np.arange(2_000_000.0)})
    assert is_whole(program)
    program.save(arrays_of(1, size=10_000))
    assert len(program.in_memory()) == 1


def failing(*_args: object, **_more: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["posix_fallocate", "link"])
def test_a_file_system_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(os, what, failing)
    program = Program(tmp_path)
    program.save(arrays_of(1))
    assert is_whole(program)


def test_a_manifest_that_has_no_room(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.shared.replace_file", failing)
    program.save(arrays_of(1))
    assert is_whole(program)


def test_what_a_killed_process_left_goes(program: Program) -> None:
    arrays = arrays_of(1)
    program.save(arrays)
    published = program.in_memory()
    again = Arena(program.memory)  # the daemon may not have sent it yet
    assert again.make(1 << 20)
    assert program.in_memory() == published
    assert len(list(program.memory.glob(".*"))) == 1


def test_what_was_published_stays_when_the_program_ends(program: Program) -> None:
    program.save(arrays_of(1))
    objects = program.in_memory()
    program.arena.close()
    assert program.in_memory() == objects
    assert not list(program.memory.glob(".*"))


def test_without_a_save_nothing_stays(program: Program) -> None:
    assert list(program.memory.iterdir())
    program.arena.close()
    assert not list(program.memory.iterdir())
