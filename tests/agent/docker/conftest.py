from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from agent.stores import servers
from outlast_agent.runtimes.base import Work
from outlast_agent.runtimes.docker import DockerRuntime

REGISTRY_CONFIG = """\
version: 0.1
storage:
  filesystem:
    rootdirectory: {folder}
http:
  addr: 127.0.0.1:{port}
"""


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.from_env(timeout=60)) as client:
        yield client


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real image registry; yields ``host:port``."""
    folder = tmp_path_factory.mktemp("registry")
    port = servers.free_port()
    config = folder / "config.yml"
    config.write_text(REGISTRY_CONFIG.format(folder=folder / "data", port=port))
    with servers.server(["docker-registry", "serve", str(config)], port, folder / "log"):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def pushed(engine: docker.DockerClient, image: str, repository: str) -> Iterator[str]:
    """``image``, pushed to ``repository`` of a registry and not here under that name any more."""
    engine.images.get(image).tag(repository, "1")
    for line in engine.api.push(repository, "1", stream=True, decode=True):
        assert "error" not in line, line
    engine.images.remove(f"{repository}:1")
    yield f"{repository}:1"
    for found in engine.images.list(repository):
        for reference in [*found.tags, *found.attrs["RepoDigests"]]:
            if reference.startswith(repository):
                with contextlib.suppress(docker.errors.NotFound):
                    engine.images.remove(reference, force=True)


@pytest.fixture(scope="session")
def small_image(engine: docker.DockerClient, registry: str) -> Iterator[str]:
    """An image without a file in it, which can be pulled in no time."""
    name = f"outlast-ci/empty-{secrets.token_hex(4)}"
    nothing = bytes(10240)  # the end of a tar file
    engine.api.import_image_from_data(nothing, repository=name)
    with pushed(engine, name, f"{registry}/outlast/empty") as reference:
        engine.images.remove(name)
        yield reference


@pytest.fixture(scope="session")
def sklearn_image(engine: docker.DockerClient, registry: str) -> Iterator[str]:
    """Python with scikit-learn and outlast."""
    with pushed(engine, "outlast-ci/sklearn", f"{registry}/outlast/sklearn") as reference:
        yield reference


@pytest.fixture
def machine(engine: docker.DockerClient) -> Iterator[str]:
    """A machine's name; its containers are removed afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    yield name
    for container in engine.containers.list(
        all=True, ignore_removed=True, filters={"label": f"outlast.machine={name}"}
    ):
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The folders of a job on a machine."""
    for name in ("scratch", "outputs", "control", "code", "state"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def runtime() -> DockerRuntime:
    return DockerRuntime()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, a log is waited for to its end."""
    monkeypatch.setattr("outlast_agent.runtimes.docker.LOG_SECONDS", 60.0)


@pytest.fixture
def work(folders: Path, machine: str) -> Work:
    return Work(
        job="digits",
        machine=machine,
        launch=1,
        attempt=1,
        image="outlast-ci/sklearn",
        command=("true",),
        env={},
        scratch=folders / "scratch",
        outputs=folders / "outputs",
        control=folders / "control",
        code=folders / "code",
        log=folders / "log",
        state=folders / "state",
    )
