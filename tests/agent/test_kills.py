"""The daemon killed at many points and started again: the job ends as if nothing had been."""

from __future__ import annotations

import random
import time

import pytest

from agent.daemon_kit import JOB, assert_finished, cluster, train, until
from outlast_agent import layout, records


@pytest.fixture
def world(tmp_path):
    with cluster(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "moment",
    ["claim", "checkpoint", "output", "end"],
)
def test_killed_the_moment_something_is_in_the_store(world, moment):
    vm = world.launch(1, train(world))
    key = {
        "claim": layout.claim(JOB, 1),
        "checkpoint": f"{layout.checkpoints(JOB)}000001-",
        "output": layout.output(JOB, 1, ""),
        "end": layout.attempt_end(JOB, 1),
    }[moment]
    until(lambda: any(True for _ in world.store.list(key)))
    vm.kill_daemon()
    vm.start_daemon()
    assert vm.wait() == 0, vm.journal()
    result = world.read(records.Result, layout.result(JOB))
    assert_finished(world, result.attempt, signalled=False)
    assert vm.processes() == []


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_again_and_again(world, seed):
    chance = random.Random(seed)
    vm = world.launch(1, train(world, pause=0.08))
    for _ in range(7):
        time.sleep(chance.uniform(0.05, 1.3))
        if vm.daemon.poll() is not None:
            break
        vm.kill_daemon()
        vm.start_daemon()
    assert vm.wait() == 0, vm.journal()
    assert_finished(world, 1)
    assert vm.processes() == []
    assert not world.has(layout.claim(JOB, 2))


def test_killed_under_a_notice(world):
    vm = world.launch(1, train(world, pause=0.05, hold=10))
    until(lambda: vm.step() > 5)
    event = vm.metadata.evict(60)
    until(lambda: world.has(layout.attempt_notice(JOB, 1)))
    vm.kill_daemon()
    vm.start_daemon()
    end = until(lambda: world.has(layout.attempt_end(JOB, 1)) and world.end(1))
    assert end.outcome == "yielded"
    assert end.step == end.durable_step
    until(lambda: vm.metadata.acknowledged == [event])
    vm.power_cut()
    assert world.launch(2, train(world)).wait() == 0
    assert_finished(world, 2)
