"""A job whose scratch is in memory: daemon, notice, reboot and cleaning up."""

from __future__ import annotations

import pytest

from agent.daemon_kit import JOB, assert_finished, cluster, train, until
from outlast_agent import layout
from outlast_agent.folders import PLACE_PREFIX, Folders, remove_root
from outlast_agent.scratch.place import MEMORY

pytestmark = pytest.mark.needs("memory-folder")

RAM = {"every_seconds": 0.3, "scratch": "ram"}


@pytest.fixture
def world(tmp_path):
    with cluster(tmp_path) as made:
        yield made
        for vm in made.vms:
            remove_root(vm.root)


def place(vm):
    found = Folders(vm.root, JOB).place
    assert found.parent == MEMORY
    assert found.name.startswith(PLACE_PREFIX)
    return found


def test_a_restarted_daemon_and_the_next_machine(world):
    vm = world.launch(1, train(world, pause=0.05, hold=20), checkpoint=RAM)
    until(lambda: vm.step() > 5)
    until(lambda: list(place(vm).glob("attempts/000001/scratch/checkpoints/*.json")))
    vm.kill_daemon()
    vm.start_daemon()
    until(lambda: "adopted" in world.kinds())
    vm.metadata.evict(30)
    until(lambda: world.has(layout.attempt_end(JOB, 1)))
    end = world.end(1)
    assert end.step == end.durable_step
    vm.power_cut()
    second = world.launch(2, train(world), checkpoint=RAM)
    assert second.wait() == 0
    assert_finished(world, 2)
    assert world.end(2).started_from == f"000001-{end.step:012d}"
    assert [one.text for one in world.events() if one.kind == "scratch"] == [
        "checkpoints are written in memory first: the job asks for it"
    ] * 2
    for machine in (vm, second):
        there = place(machine)
        remove_root(machine.root)
        assert not there.exists()


def test_a_reboot_empties_it(world):
    vm = world.launch(1, train(world, pause=0.05, hold=30), checkpoint=RAM)
    until(lambda: world.durable(1) > 5)
    lost = place(vm)
    vm.power_cut()
    for path in sorted(lost.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    lost.rmdir()
    durable = world.durable(1)
    vm.reboot()
    assert vm.wait() == 0
    assert_finished(world, 2)
    assert place(vm) != lost
    assert int(world.end(2).started_from.split("-")[1]) >= durable
