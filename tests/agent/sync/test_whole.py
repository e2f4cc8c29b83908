"""What is held of scratch while it is carried, so that nobody writes over it."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack

import pytest

from agent.scratch_kit import JOB, write
from outlast.manifest import CheckpointId
from outlast.spares import Spares
from outlast_agent.sync import whole
from outlast_agent.sync.beneath import HostileError, read_object
from outlast_agent.sync.whole import MOST_TOLD, Lineage, Scratch


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


def look(scratch, refused):
    return Scratch([scratch], Lineage(JOB, 1, None), refused.append)


def test_what_is_held_is_not_written_over(scratch):
    manifest = write(scratch, 1, 1, [b"weights"])
    (ref,) = manifest.objects
    spares = Spares((scratch / ref.key).parent)
    spares.most = 100
    with ExitStack() as held:
        descriptors = look(scratch, []).hold(manifest, [ref], held)
        spares.put(scratch / ref.key, ref.size)
        assert spares.take(ref.size) is None
        assert os.pread(descriptors[ref].descriptor, 100, 0) == b"weights"


def test_what_is_being_written_over_has_gone(scratch):
    refused: list[str] = []
    manifest = write(scratch, 1, 1, [b"weights"])
    (ref,) = manifest.objects
    path = scratch / ref.key
    with path.open("rb") as writer, ExitStack() as held:
        fcntl.flock(writer, fcntl.LOCK_EX)
        (scratch / manifest.id.key).unlink()  # first, as the library does
        assert look(scratch, refused).hold(manifest, [ref], held) is None
    assert refused == []


def test_a_file_system_without_locks_does(scratch, monkeypatch):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    manifest = write(scratch, 1, 1, [b"weights"])
    with ExitStack() as held:
        assert list(look(scratch, []).hold(manifest, manifest.objects, held)) == list(
            manifest.objects
        )
        spares = Spares((scratch / manifest.objects[0].key).parent)
        spares.most = 100
        spares.put(scratch / manifest.objects[0].key, 7)
        assert spares.take(manifest.objects[0].size) is None


def test_however_many_are_refused_only_some_are_told(scratch):
    refused: list[str] = []
    looking = look(scratch, refused)
    for step in range(100):
        (scratch / CheckpointId(1, step).key).touch()
    assert not any(looking.manifest(id_) for id_ in looking.newer_than(None))
    assert len(refused) == MOST_TOLD + 1
    assert looking.newer_than(None) == []


def test_what_was_taken_away_before_it_was_held_has_gone(scratch, monkeypatch):
    refused: list[str] = []
    manifest = write(scratch, 1, 1, [b"weights"])
    (ref,) = manifest.objects
    lock = whole._lock

    def late(descriptor):
        """The library needs it no more, and writes over it, before it is locked."""
        (scratch / manifest.id.key).unlink()
        (scratch / ref.key).rename(scratch / "another")
        lock(descriptor)

    monkeypatch.setattr(whole, "_lock", late)  # this instant cannot be had otherwise
    with ExitStack() as held:
        assert look(scratch, refused).hold(manifest, [ref], held) is None
    assert refused == []


def publish(memory, manifest, start, *, name=None):
    """As the library does: a larger file that has another name at each object's first byte."""
    (ref,) = manifest.objects
    path = memory / ref.key
    data = path.read_bytes()
    path.unlink()
    path.with_name(f"{path.name}@{start if name is None else name}").write_bytes(
        b"before" + data + b"behind"
    )
    return data


def test_an_object_inside_a_larger_file(scratch, tmp_path):
    memory = tmp_path / "memory"
    refused: list[str] = []
    looking = Scratch([scratch, memory], Lineage(JOB, 1, None), refused.append)
    write(scratch, 1, 1, [b"in scratch"])
    manifest = write(memory, 1, 2, [b"in memory"])
    data = publish(memory, manifest, 6)
    assert [id_.step for id_ in looking.newer_than(None)] == [2, 1]
    assert looking.manifest(manifest.id) == manifest
    with ExitStack() as held:
        opened = looking.hold(manifest, manifest.objects, held)
        (ref,) = manifest.objects
        into = memoryview(bytearray(ref.size))
        assert read_object(opened[ref], into, digest=ref.hash, name=ref.key) == data
    assert refused == []


@pytest.mark.parametrize("name", ["5", "-6", "6.0", "", "9" * 18, "9" * 30, "6@6"])
def test_a_first_byte_that_lies_is_refused(scratch, tmp_path, name):
    memory = tmp_path / "memory"
    looking = Scratch([scratch, memory], Lineage(JOB, 1, None), [].append)
    manifest = write(memory, 1, 2, [b"in memory"])
    publish(memory, manifest, 6, name=name)
    (ref,) = manifest.objects

    def look_inside():
        with looking.open(ref) as opened:
            into = memoryview(bytearray(ref.size))
            read_object(opened, into, digest=ref.hash, name=ref.key)

    with pytest.raises((HostileError, FileNotFoundError)):
        look_inside()


def test_an_object_that_is_published_after_a_look(scratch, tmp_path):
    memory = tmp_path / "memory"
    looking = Scratch([scratch, memory], Lineage(JOB, 1, None), [].append)
    assert looking.objects() == []
    manifest = write(memory, 1, 2, [b"in memory"])
    publish(memory, manifest, 6)
    with looking.open(manifest.objects[0]) as opened:
        assert opened.start == 6
