from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from agent.stores import servers

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


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient, registry: str) -> Iterator[str]:
    """The scikit-learn image, pushed to the registry and not here any more."""
    reference = f"{registry}/outlast/sklearn:1"
    engine.images.get("outlast-ci/sklearn").tag(reference)
    for line in engine.api.push(reference, stream=True, decode=True):
        assert "error" not in line, line
    engine.images.remove(reference)
    yield reference
    for found in engine.images.list(f"{registry}/outlast/sklearn"):
        for name in [*found.tags, *found.attrs["RepoDigests"]]:
            if name.startswith(registry):
                with contextlib.suppress(docker.errors.NotFound):
                    engine.images.remove(name, force=True)


@pytest.fixture
def machine(engine: docker.DockerClient) -> Iterator[str]:
    """A machine's name; its containers are removed afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    yield name
    for container in engine.containers.list(all=True, filters={"label": f"outlast.machine={name}"}):
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The folders of a job on a machine."""
    for name in ("scratch", "outputs", "control", "code", "state"):
        (tmp_path / name).mkdir()
    return tmp_path
