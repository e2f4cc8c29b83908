"""What torture stands on: a process is killed before exactly that call, or in the midst of it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from torture.gate import works
from torture.machine import ChildEndedError, Machine, Point

pytestmark = pytest.mark.skipif(not works(), reason="system calls are known by number on x86-64")


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path, 1, 1)
    yield made
    made.kill("writer")


def writes(path, count, *, threads=1):
    def main(channel):
        def work(number):
            file = os.open(f"{path}{number}", os.O_CREAT | os.O_WRONLY)
            for at in range(count):
                os.pwrite(file, b"x" * 100, at * 100)

        begun = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for each in begun:
            each.start()
        for each in begun:
            each.join()

    return main


@pytest.mark.parametrize(("torn", "size"), [(False, 600), (True, 650)])
def test_killed_before_that_call_or_in_the_midst_of_it(machine, torn, size):
    machine.start("writer", writes(machine.home / "f", 20))
    call = machine.run(lambda: False, point=Point("writer", "pwrite64", 7, ("writer",), torn))
    assert call.name == "pwrite64"
    assert (machine.home / "f0").stat().st_size == size
    assert machine.children == {}


def test_the_calls_of_all_threads_are_counted_together(machine):
    machine.start("writer", writes(machine.home / "f", 20, threads=2))
    machine.run(lambda: False, point=Point("writer", "pwrite64", 31, ("writer",), False))
    found = sum((machine.home / f"f{number}").stat().st_size for number in range(2))
    assert found in (2900, 3000)  # the other thread's last may have been allowed and not done yet


def test_a_process_that_ends_by_itself_is_told(machine):
    machine.start("writer", writes(machine.home / "f", 3))
    with pytest.raises(ChildEndedError, match="ended by itself with 0"):
        machine.run(lambda: False, point=Point("writer", "pwrite64", 4, ("writer",), False))


def deletes(store, count):
    def main(channel):
        folder = os.open(store, os.O_DIRECTORY)
        for number in range(count):
            for name in (f"temporary{number}", f"object-{number}"):
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
                os.unlink(name, dir_fd=folder)
        channel.recv(1)

    return main


def test_stopped_before_a_delete_and_continued(machine):
    def left():
        return list(machine.home.glob("object-*"))

    child = machine.start("writer", deletes(machine.home, 5))
    point = Point("writer", "delete", 3, (), False, stops=True)
    assert machine.run(lambda: False, point=point).name == "delete"
    machine.run(lambda: False, seconds=0.1)
    assert (machine.home / "object-2").exists()  # nothing goes on
    os.kill(child.pid, signal.SIGCONT)
    # One of them is asked for twice; the last is under way as it is counted.
    machine.run(lambda: child.calls["delete"] >= 6 and not left(), seconds=5)
    assert not left()
