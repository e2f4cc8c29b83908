"""The place of scratch is settled once, found again, and leaves nothing behind."""

from __future__ import annotations

import subprocess

import pytest

from outlast_agent.folders import Folders, remove_root
from outlast_agent.scratch.place import Places
from outlast_agent.scratch.rate import write_rate


@pytest.fixture
def told():
    return []


@pytest.fixture
def folders(tmp_path):
    found = Folders(tmp_path / "root", "digits")
    yield found
    remove_root(found.root)


@pytest.fixture
def memory(tmp_path):
    """A file system in memory."""
    folder = tmp_path / "memory"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def places(folders, wanted, told, **options):
    return Places(folders, wanted, 30.0, told.append, **options)


@pytest.mark.needs("mount")
def test_memory(folders, told, memory):
    place = places(folders, "ram", told, memory=memory).settle(1 << 20)
    assert place.parent == memory
    assert place.stat().st_mode & 0o777 == 0o700
    assert folders.attempt(1).scratch.is_relative_to(place)
    # A restarted daemon finds it, whatever it would choose by now.
    assert places(folders, "disk", told).settle(None) == place
    assert [chosen.place.kind for chosen in told] == ["ram"]
    remove_root(folders.root)
    assert not place.exists()


@pytest.mark.needs("mount")
def test_a_place_in_memory_beside_scratch_on_a_disk(folders, told, memory):
    places(folders, "disk", told, memory=memory).settle(None)
    attempt = folders.attempt(1)
    attempt.make()
    assert attempt.memory.is_relative_to(memory)
    assert attempt.roots == (attempt.scratch, attempt.memory)
    assert [each.name for each in folders.others(2)] == ["000001"]
    attempt.remove_memory()
    assert attempt.roots == (attempt.scratch,)
    remove_root(folders.root)
    assert not list(memory.iterdir())


@pytest.mark.needs("mount")
def test_after_a_reboot_there_is_a_new_place_in_memory(folders, told, memory, tmp_path):
    fast = tmp_path / "fast"
    fast.mkdir()
    found = {"memory": memory, "local": lambda: [fast], "rate": lambda _: 1e9}
    place = places(folders, "local", told, **found).settle(None)
    folders.memory_link.readlink().rmdir()
    folders.attempt(1).make()  # before it was looked: never made by another than us
    assert folders.attempt(1).roots == (folders.attempt(1).scratch,)
    assert places(folders, "local", told, **found).settle(None) == place
    made = folders.memory_link.readlink()
    assert made.parent == memory
    assert made.stat().st_mode & 0o777 == 0o700


def test_without_memory_there_is_scratch_alone(folders, told, tmp_path):
    places(folders, "disk", told, memory=tmp_path).settle(None)
    attempt = folders.attempt(1)
    attempt.make()
    assert attempt.memory is None
    assert attempt.roots == (attempt.scratch,)


@pytest.mark.needs("mount")
def test_memory_without_room_for_four(folders, told, memory):
    assert places(folders, "ram", told, memory=memory).settle(10 << 20) == folders.home
    assert not told[0].as_wanted


def test_a_disk_is_not_taken_for_memory(folders, told, tmp_path):
    assert places(folders, "ram", told, memory=tmp_path).settle(None) == folders.home


@pytest.mark.needs("mount")
def test_after_a_reboot_it_is_chosen_anew(folders, told, memory):
    place = places(folders, "ram", told, memory=memory).settle(1 << 20)
    place.rmdir()
    assert places(folders, "disk", told).settle(None) == folders.home
    assert not folders.place_link.is_symlink()


def test_the_faster_disk(folders, told, tmp_path):
    fast = tmp_path / "fast"
    fast.mkdir()
    rates = {folders.root: 1e8, fast: 2e9}
    found = places(folders, "auto", told, local=lambda: [fast], rate=rates.get)
    place = found.settle(10**8)
    assert place.parent == fast
    assert found.settle(10**9) == place
    assert len(told) == 1


def test_the_os_disk_is_the_folder_of_the_job(folders, told):
    assert places(folders, "disk", told).settle(None) == folders.home


def test_a_place_that_takes_nothing(folders, told, tmp_path, monkeypatch):
    def refuse(**_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    found = places(folders, "local", told, local=lambda: [tmp_path])
    assert found.settle(None) == folders.home
    assert not told[0].as_wanted
    assert "No space left" in told[0].why


def test_a_rate_is_measured_and_nothing_left(tmp_path):
    rate = write_rate(tmp_path)
    assert rate is not None
    assert rate > 0
    assert list(tmp_path.iterdir()) == []
    assert write_rate(tmp_path / "nowhere") is None
