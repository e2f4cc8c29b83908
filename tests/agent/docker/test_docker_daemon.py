"""The whole story in containers: a scikit-learn job, its image pulled, its machines taken away."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from agent.daemon_kit import JOB, Cluster, Vm, cluster, until
from outlast_agent import layout, records
from outlast_provisioning import reading
from provisioning.live.jobs import NAME, Place

pytestmark = pytest.mark.needs("docker", "registry", "sklearn-image")

STEPS = 40
TRAIN = """
import os, sys, time
from pathlib import Path
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
import outlast

session = outlast.Session()
rng = np.random.default_rng(7)
session.track(rng=rng)
images, labels = load_digits(return_X_y=True)
model = SGDClassifier(loss="log_loss", random_state=1)
model.partial_fit(images[:50], labels[:50], classes=np.arange(10))
if session.restored:
    model.coef_, model.intercept_ = session.arrays["coef"], session.arrays["intercept"]
    model.t_ = session.state["t"]
print("from step", session.steps_done, flush=True)
outputs = Path(os.environ["OUTLAST_OUTPUTS"])
for step in session.steps(int(sys.argv[1])):
    batch = rng.integers(0, len(images), 32)
    model.partial_fit(images[batch], labels[batch])
    session.arrays.update(coef=model.coef_.copy(), intercept=model.intercept_.copy())
    session.state["t"] = model.t_
    with (outputs / "log.csv").open("a") as file:
        file.write(f"{step},{model.score(images, labels)!r}\\n")
    print("step", step, flush=True)
    time.sleep(float(os.environ.get("STEP_SECONDS", "0.1")))
np.save(outputs / "coef.npy", model.coef_)
"""


@pytest.fixture
def world(tmp_path: Path, engine: docker.DockerClient) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        yield made
        for vm in made.vms:
            vm.power_cut()
            stop_containers(engine, vm)


def containers(engine: docker.DockerClient, vm: Vm) -> list[Any]:
    return engine.containers.list(
        all=True, ignore_removed=True, filters={"label": f"outlast.machine={vm.name}"}
    )


def stop_containers(engine: docker.DockerClient, vm: Vm) -> None:
    for container in containers(engine, vm):
        with contextlib.suppress(docker.errors.APIError):  # the daemon removes it
            container.remove(force=True)


def power_cut(engine: docker.DockerClient, vm: Vm) -> None:
    vm.power_cut()
    stop_containers(engine, vm)


def launch(world: Cluster, number: int, image: str, *command: str, **spec: Any) -> Vm:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(TRAIN.encode())
        archive.addfile(member, io.BytesIO(TRAIN.encode()))
    sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
    if not world.has(layout.code(JOB, sha256)):
        world.store.create(layout.code(JOB, sha256), packed.getvalue())
    train = list(command) or ["python3", "train.py", str(STEPS)]
    return world.launch(number, train, runtime="docker", image=image, code_sha256=sha256, **spec)


def finished(world: Cluster, attempt: int) -> dict[str, bytes]:
    result = world.read(records.Result, layout.result(JOB))
    assert (result.outcome, result.attempt, result.step) == ("finished", attempt, STEPS)
    return world.outputs(attempt)


@pytest.fixture(scope="module")
def uninterrupted(sklearn_image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with cluster(tmp_path_factory.mktemp("uninterrupted")) as world:
        vm = launch(world, 1, sklearn_image)
        assert vm.wait(60) == 0, vm.journal()
        outputs = finished(world, 1)
    assert sorted(outputs) == ["coef.npy", "log.csv"]
    assert len(outputs["log.csv"].splitlines()) == STEPS
    return outputs


def test_noticed_and_resumed_it_ends_with_the_same_bits(
    world: Cluster, engine: docker.DockerClient, sklearn_image: str, uninterrupted: dict[str, bytes]
) -> None:
    first = launch(world, 1, sklearn_image)
    until(lambda: first.step() > 5, 60)
    digest = world.read(records.Image, layout.image(JOB)).digest
    assert digest.startswith(sklearn_image.removesuffix(":1") + "@sha256:")
    event = first.metadata.evict(10)
    until(lambda: first.metadata.acknowledged == [event])
    end = world.end(1)
    assert (end.outcome, end.step) == ("yielded", end.durable_step)
    assert end.step is not None
    assert 5 < end.step < STEPS
    power_cut(engine, first)

    second = launch(world, 2, sklearn_image)
    assert second.wait(60) == 0, second.journal()
    assert finished(world, 2) == uninterrupted
    assert world.end(2).started_from == f"000001-{end.step:012d}"
    # Nothing was repeated, and every line of both logs is in the store once.
    steps = [f"step {number}" for number in range(STEPS)]
    assert world.log(1).splitlines()[: end.step + 1] == ["from step 0", *steps[: end.step]]
    assert world.log(2).splitlines() == [f"from step {end.step}", *steps[end.step :]]
    assert containers(engine, second) == []


def test_without_notice_it_goes_on_from_what_is_durable(
    world: Cluster, engine: docker.DockerClient, sklearn_image: str, uninterrupted: dict[str, bytes]
) -> None:
    first = launch(world, 1, sklearn_image)
    until(lambda: world.durable(1) > 3, 60)
    power_cut(engine, first)
    lost = records.AttemptEnd(attempt=1, by="controller", outcome="lost")
    world.store.create(layout.attempt_end(JOB, 1), records.dump(lost))
    assert launch(world, 2, sklearn_image).wait(60) == 0
    assert finished(world, 2) == uninterrupted


def test_a_daemon_killed_while_the_container_trains_adopts_it(
    world: Cluster, engine: docker.DockerClient, sklearn_image: str, uninterrupted: dict[str, bytes]
) -> None:
    vm = launch(world, 1, sklearn_image)
    until(lambda: vm.step() > 5, 60)
    (before,) = containers(engine, vm)
    vm.kill_daemon()
    at = vm.step()
    until(lambda: vm.step() > at + 2)  # it trains on alone
    vm.start_daemon()
    until(lambda: vm.step() > at + 12)
    if found := containers(engine, vm):  # not ended yet
        assert [container.id for container in found] == [before.id]
    assert vm.wait(60) == 0, vm.journal()
    assert finished(world, 1) == uninterrupted
    assert world.log(1).splitlines() == ["from step 0", *(f"step {n}" for n in range(STEPS))]


@dataclass(frozen=True)
class Failure:
    command: list[str]
    cause: str
    message: str
    memory_bytes: int | None = None
    log_tail: tuple[str, ...] | None = None


@pytest.mark.parametrize(
    "case",
    [
        Failure(["no-such-program"], "command", "not found.*check `command`"),
        Failure(
            ["python3", "-c", "x = bytearray(1 << 30)"],
            "out-of-memory",
            r"too much memory.*resources\.memory",
            memory_bytes=128 << 20,
        ),
        Failure(
            ["python3", "-c", "raise SystemExit('no data')"],
            "error",
            "exit code 1",
            log_tail=("no data",),
        ),
    ],
    ids=lambda case: case.cause,
)
def test_failures_are_told_apart(world: Cluster, sklearn_image: str, case: Failure) -> None:
    launch(world, 1, sklearn_image, *case.command, resources={"memory_bytes": case.memory_bytes})
    until(lambda: world.has(layout.attempt_end(JOB, 1)), 60)
    end = world.end(1)
    assert (end.outcome, end.cause) == ("failed", case.cause)
    assert re.fullmatch(f".*{case.message}.*", end.message or "")
    if case.log_tail is not None:
        assert end.log_tail == case.log_tail


def test_an_image_that_cannot_be_pulled_is_told(world: Cluster, sklearn_image: str) -> None:
    vm = launch(world, 1, sklearn_image.removesuffix(":1") + ":2")
    until(lambda: world.has(layout.attempt_end(JOB, 1)), 60)
    end = world.end(1)
    assert (end.outcome, end.cause) == ("setup-failed", "image"), vm.journal()
    assert "cannot be pulled" in (end.message or "")


def test_the_whole_story_with_a_controller(
    tmp_path: Path,
    engine: docker.DockerClient,
    sklearn_image: str,
    uninterrupted: dict[str, bytes],
) -> None:
    place = Place(tmp_path)
    (tmp_path / "code" / "train.py").write_text(TRAIN)
    file = tmp_path / "job.yaml"
    file.write_text(
        f"version: 1\nname: {NAME}\nimage: {sklearn_image}\ncode: code\nstore: {place.url}\n"
        f'command: [python3, train.py, "{STEPS}"]\ncheckpoint: {{every: 1s}}\n'
        # Slow enough that both losses fall into it, however fast the machine is.
        'env: {STEP_SECONDS: "0.4"}\n'
        "pools: [{provider: local, grace: 10s}]\n"
    )

    def step() -> int:
        return reading.read_status(place.store, NAME).step or 0

    place.submit(file)
    try:
        with place.controller():
            place.wait(lambda: step() > 5, "step 5", 60)
            place.provider.evict(place.training_machine())
            place.wait(lambda: len(place.attempts()) == 2 and step() > 20, "step 20", 60)
            place.provider.evict(place.training_machine(), notice=False)
            place.wait(place.result, "the result", 60)
            place.wait(lambda: not place.provider.list(), "the machines to be deleted")
    finally:
        for machine in place.provider.list():
            place.provider.delete(machine.name)
    result = place.result()
    assert result is not None
    assert (result.outcome, result.attempt) == ("finished", 3)
    prefix = layout.output(NAME, 3, "")
    found = {entry.key.removeprefix(prefix) for entry in place.store.list(prefix)}
    assert {name: place.store.read(prefix + name) for name in found} == uninterrupted
    labels = {"label": f"outlast.job={NAME}"}
    assert engine.containers.list(all=True, ignore_removed=True, filters=labels) == []
