"""For all tests: real components that may be missing, and nothing of this machine's user."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from outlast_agent.folders import remove_place


@dataclass(frozen=True)
class Component:
    """A real part that some tests need."""

    missing: Callable[[], str | None]
    """Why it cannot be used here, or None."""
    required: bool = True
    """Whether ``.ci/run`` has it, so that a test without it fails there."""


def _program(name: str, install: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not installed: {install}"


def _module(name: str, install: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # its parent
            found = None
        return None if found else f"{name} is not installed: {install}"

    return missing


def _docker() -> str | None:
    import docker

    try:
        client = docker.from_env(timeout=10)
        client.ping()
        client.close()
    except docker.errors.DockerException as error:
        return f"no container engine answers: {error}"[:200]
    return None


def _sklearn_image() -> str | None:
    reason = _missing("docker")
    if reason is None:
        import docker

        with contextlib.closing(docker.from_env(timeout=10)) as client:
            if not client.images.list(name="outlast-ci/sklearn"):
                reason = "there is no image outlast-ci/sklearn: run .ci/build-image as root"
    return reason


def _strace() -> str | None:
    if not shutil.which("strace"):
        return "strace is not installed: apt-get install strace"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "strace may not trace here"


def _mount() -> str | None:
    tried = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"],
        capture_output=True,
        check=False,
    )
    return None if tried.returncode == 0 else "only root can mount a small file system"


def _memory_folder() -> str | None:
    from outlast_agent.scratch.place import MEMORY, is_memory

    return None if is_memory(MEMORY) else f"{MEMORY} is not in memory here"


COMPONENTS = {
    "azurite": Component(_program("azurite-blob", "npm install --global azurite")),
    "docker": Component(_docker),
    "memory-folder": Component(_memory_folder, required=False),
    "moto": Component(_module("moto.server", "pip install 'moto[server,s3]'")),
    "mount": Component(_mount),
    "registry": Component(_program("docker-registry", "apt-get install docker-registry")),
    "strace": Component(_strace),
    "sklearn-image": Component(_sklearn_image),
    "jax": Component(_module("jax", "make test-backends"), required=False),
    "torch": Component(_module("torch", "make test-backends or test-examples"), required=False),
}


@cache
def _missing(component: str) -> str | None:
    return COMPONENTS[component].missing()


def pytest_configure() -> None:
    """Let programs under test see Ctrl-C, also where the tests run behind nohup or ``&``.

    And let Python keep what it compiled: tests start hundreds of programs.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST = (
    "agent/docker/test_docker_daemon.py",
    "trainer/exactness/test_training.py",
    "trainer/exactness/test_data.py",
    "trainer/exactness/test_phases.py",
    "trainer/exactness/test_arrays.py",
    "trainer/exactness/test_callbacks.py",
    "trainer/keras/test_resume.py",
    "trainer/files/test_files.py",
    "agent/test_daemon.py",
    "agent/test_contract.py",
    "agent/stores/test_contract.py",
    "trainer/keras/test_calls.py",
    "trainer/exactness/test_told.py",
    "agent/test_endings.py",
    "provisioning/cli/test_weights.py",
    "trainer/exactness/test_kills.py",
)
"""Files of more than thirty seconds: begun first, so that no process is left alone with one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    turns = {here / name: turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turns.get(item.path, len(turns)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for component in marker.args:
            reason = _missing(component)
            if reason is None:
                continue
            if os.environ.get("CI_REQUIRE_ALL") and COMPONENTS[component].required:
                pytest.fail(f"needs {component}: {reason}", pytrace=False)
            pytest.skip(f"needs {component}: {reason}")


_FOREIGN = ("OUTLAST_", "AWS_", "AZURE_", "GOOGLE_", "RANK", "WORLD_SIZE")


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of the test run's own, and no credentials or settings of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        # A test that reached for the user's files or clouds would be a danger to both.
        for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
            if name != "AWS_CA_BUNDLE":
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield home


@pytest.fixture(autouse=True)
def no_memory_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A daemon that is killed and never started again leaves its place in memory behind."""
    used = "tmp_path" in request.fixturenames
    folder: Path | None = request.getfixturevalue("tmp_path") if used else None
    yield
    for link in folder.glob("**/jobs/*/memory") if folder is not None else ():
        remove_place(link.parent)
