"""Local machines of containers: an eviction takes them along, with an engine or without."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from outlast_provisioning.providers import processes
from outlast_provisioning.providers.local import LocalProvider
from provisioning.providers.local_kit import ask, until


@pytest.mark.needs("docker", "sklearn-image")
def test_an_eviction_takes_the_containers_too(provider: LocalProvider, tmp_path: Path) -> None:
    import docker

    folder = ask(provider, tmp_path, runtime="docker")
    with contextlib.closing(docker.from_env(timeout=60)) as client:
        mine = {"label": "outlast.machine=digits-1"}
        own, others = (
            client.containers.run(
                "outlast-ci/sklearn", ["sleep", "600"], detach=True, init=True,
                labels={"outlast.machine": "digits-1", "outlast.attempts": str(attempts)},
            )
            for attempts in (folder.disk / "jobs/digits/attempts", "/home/other/digits-1")
        )  # fmt: skip
        try:
            provider.evict("digits-1", notice=False)
            until(lambda: provider.list()[0].state == "gone", 30)
            left = client.containers.list(all=True, ignore_removed=True, filters=mine)
            assert own.id not in {each.id for each in left}
            others.reload()
            assert others.status == "running"
        finally:
            others.remove(force=True)
    assert not folder.disk.exists()


def test_where_no_engine_is_there_are_no_containers(
    provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    ask(provider, tmp_path, runtime="docker")
    provider.evict("digits-1", notice=False)
    until(lambda: provider.list()[0].state == "gone")


def test_while_the_engine_does_not_answer_a_machine_of_containers_is_not_gone(
    provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(f"{tmp_path}/dead.sock")  # as an engine leaves it that was killed
    folder = ask(provider, tmp_path, runtime="docker")
    provider.evict("digits-1", notice=False)
    until(lambda: "cannot be removed" in provider.list()[0].detail)
    assert provider.list()[0].state == "stopping"
    found = folder.supervised()
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    until(lambda: not processes.alive(found.supervisor))
    (machine,) = provider.list()
    assert machine.state == "stopping"
    assert "cannot be removed" in machine.detail
    request = json.loads(folder.request.read_text())
    request["spec"]["runtime"] = "process"  # nothing of it runs in a container: let it go
    folder.request.write_text(json.dumps(request))
    assert provider.list()[0].state == "gone"
