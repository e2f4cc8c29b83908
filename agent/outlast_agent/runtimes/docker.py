"""Containers of a Docker engine (20.10 or newer), by its SDK.

What the container gets: its folders below ``/outlast``, the inputs where the job wants them, a
network of its own, GPUs if the job asks for them. What it does not get: capabilities, new
privileges, the engine's socket, the host's network, the machine's identity
(:mod:`outlast_agent.runtimes.metadata_block`). It runs as the owner of its scratch folder.

The command follows the image's entry point, as with ``docker run IMAGE COMMAND``. A small init
is the container's first process: without one, a program that has no handler for SIGTERM would
never see it. The init passes SIGTERM to the command alone, and when the command ends, all that
it left running ends with the container.

A container survives the daemon; it is found again by its labels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Mount

from outlast_agent.runtimes import docker_errors, docker_log, metadata_block
from outlast_agent.runtimes.base import (
    CannotStartError,
    Exit,
    Running,
    Runtime,
    TryAgainError,
    Work,
)
from outlast_agent.runtimes.docker_log import LogFollower

JOB, MACHINE, ATTEMPT = "outlast.job", "outlast.machine", "outlast.attempt"
ATTEMPTS = "outlast.attempts"
"""Label: the folder of all attempts, which tells apart two machines of one name on one engine."""
FOLDER = "/outlast"
"""Where the container finds its folders."""

ENGINE_SECONDS = 60
PULL_SECONDS = 300
"""Without a word from the engine while it pulls."""

LOG_SECONDS = 3.0
"""For the rest of the log after the end; a notice may be running. Then its last lines do."""

# If the machine runs out of memory, the training goes first: the daemon has to tell of it.
_OOM_SCORE = 500


class DockerRuntime(Runtime):
    """See the module."""

    def __init__(self, *, block_metadata: Callable[[], None] = metadata_block.ensure) -> None:
        """Nothing is asked of the engine yet; ``block_metadata`` is called at each start."""
        self._block_metadata = block_metadata
        self._client: docker.DockerClient | None = None
        self._followers: dict[str, LogFollower] = {}
        self._lock = threading.Lock()

    def prepare(self, image: str | None) -> str | None:
        """Pull ``image`` and name it by its digest. See :meth:`Runtime.prepare`."""
        if not image:
            raise CannotStartError("image", "the job names no image: add `image:` to the job file")
        with self._engine(f"pulling {image}") as client, docker_errors.image_faults(image):
            if "@" in image and (known := _digest(client, image, image)):
                return known  # what a digest names never changes, so nothing has to be asked
            self._pull(image)
            digest = _digest(client, image, image)
        if digest is None:
            raise TryAgainError(f"{image} was pulled, but the engine names no digest of it")
        return digest

    def start(self, work: Work) -> Running:
        """See :meth:`Runtime.start`."""
        if not work.image:
            raise CannotStartError("image", "the job names no image: add `image:` to the job file")
        if work.network == "host" or work.network.startswith("container:"):
            raise CannotStartError("error", f"network {work.network!r} is not the container's own")
        self._block_metadata()
        with self._engine(f"starting {work.image}") as client:
            try:
                with docker_errors.start_faults(work):
                    container = client.containers.create(**_options(work))
                    follower = LogFollower(container, work.log, work.state)
                    follower.begin()
                    container.start()
            except BaseException:
                self._discard(client, work)
                raise
            follower.start()
            self._followers[_id(container)] = follower
        return Running(work, _id(container))

    def adopt(self, work: Work) -> Running | None:
        """See :meth:`Runtime.adopt`."""
        adopted: Container | None = None
        with self._engine("looking for containers") as client:
            for container in _containers(client, work):
                ours = container.labels.get(ATTEMPT) == str(work.attempt)
                # "created": a start that was cut short; its command never ran.
                if ours and container.status != "created" and adopted is None:
                    adopted = container
                else:
                    _remove(container)
            if adopted is None:
                return None
            with self._lock:
                if _id(adopted) not in self._followers:
                    follower = LogFollower(adopted, work.log, work.state)
                    follower.start()
                    self._followers[_id(adopted)] = follower
        return Running(work, _id(adopted))

    def terminate(self, running: Running) -> None:
        """See :meth:`Runtime.terminate`."""
        self._signal(running, "SIGTERM")

    def kill(self, running: Running) -> None:
        """See :meth:`Runtime.kill`."""
        self._signal(running, "SIGKILL")

    def wait(self, running: Running, timeout: float) -> Exit | None:
        """See :meth:`Runtime.wait`."""
        with self._engine("waiting for the container") as client:
            try:
                client.api.wait(running.id, timeout=max(0.05, timeout))  # type: ignore[arg-type]
            except NotFound:
                return Exit(137, message="somebody removed the container")
            except requests.exceptions.RequestException:
                # The time is over, or the engine is gone: what it says next tells which.
                pass
            try:
                state = client.api.inspect_container(running.id)["State"]
            except NotFound:
                return Exit(137, message="somebody removed the container")
        if state["Status"] not in {"exited", "dead"}:
            return None
        follower = self._followers.get(running.id)
        whole = follower is None or follower.finish(LOG_SECONDS)
        # A full disk must not keep an attempt from ending.
        lost = "" if whole or follower is None else f"the end of its log is lost: {follower.fault}"
        return _exit(state, lost)

    def remove(self, running: Running) -> None:
        """See :meth:`Runtime.remove`."""
        with self._engine("removing the container") as client, suppress(NotFound):
            _remove(client.containers.get(running.id))
        follower = self._followers.pop(running.id, None)
        if follower:
            follower.finish(LOG_SECONDS)

    def _signal(self, running: Running, name: str) -> None:
        with self._engine(f"sending {name}") as client:
            try:
                client.api.kill(running.id, name)
            except APIError as error:
                if error.status_code not in {404, 409}:  # it is gone, or has ended
                    raise

    def _pull(self, image: str) -> None:
        # Its own client: a pull may be silent for longer than any other request.
        client = docker.from_env(timeout=PULL_SECONDS)
        try:
            for line in client.api.pull(image, stream=True, decode=True):
                if "error" in line:
                    raise APIError(str(line["error"]))
        finally:
            client.close()

    def _discard(self, client: docker.DockerClient, work: Work) -> None:
        """Remove what a failed start left. If the engine does not answer, ``adopt`` will."""
        try:
            for container in _containers(client, work):
                if container.labels.get(ATTEMPT) == str(work.attempt):
                    _remove(container)
        except (DockerException, requests.exceptions.RequestException):
            pass

    @contextmanager
    def _engine(self, doing: str) -> Iterator[docker.DockerClient]:
        """The engine's client; a fault of the engine becomes TryAgainError."""
        try:
            with self._lock:
                if self._client is None:
                    self._client = docker.from_env(timeout=ENGINE_SECONDS)
            yield self._client
        except (DockerException, requests.exceptions.RequestException) as error:
            said = docker_errors.one_line(error)
            raise TryAgainError(
                f"{doing}: the container engine does not do it: {said}: "
                "see that Docker runs and that this user may use it"
            ) from error


def _options(work: Work) -> dict[str, Any]:
    owner = work.scratch.stat()
    resources = work.resources
    folders = {name: f"{FOLDER}/{name}" for name in ("scratch", "outputs", "control")}
    mounts = [
        _mount(work.scratch, folders["scratch"]),
        _mount(work.outputs, folders["outputs"]),
        _mount(work.control, folders["control"]),
        *(_mount(source, target, read_only=True) for source, target in work.inputs),
    ]
    options: dict[str, Any] = {}
    if work.memory is not None:
        folders["memory"] = f"{FOLDER}/memory"
        mounts.append(_mount(work.memory, folders["memory"]))
    if work.code is not None:
        mounts.append(_mount(work.code, f"{FOLDER}/code", read_only=True))
        options["working_dir"] = f"{FOLDER}/code"
    if resources.cpus is not None:
        options["nano_cpus"] = int(resources.cpus * 1e9)
    if resources.memory_bytes is not None:
        options["mem_limit"] = resources.memory_bytes
        # Equal: no swap. A training that swaps is slower than one that is told to shrink.
        options["memswap_limit"] = resources.memory_bytes
    if resources.shm_bytes is not None:
        options["shm_size"] = resources.shm_bytes
    if resources.gpus:
        options["device_requests"] = [DeviceRequest(count=resources.gpus, capabilities=[["gpu"]])]
    # An unknown user has no home, and much that trains wants to keep a cache in one.
    home = {} if owner.st_uid == 0 else {"HOME": "/tmp"}  # noqa: S108 - inside the container
    return options | {
        "image": work.image,
        "command": list(work.command),
        "environment": {
            **home,
            **work.env,
            **{f"OUTLAST_{name.upper()}": path for name, path in folders.items()},
            "OUTLAST_JOB": work.job,
            "OUTLAST_ATTEMPT": str(work.attempt),
        },
        "labels": {
            JOB: work.job,
            MACHINE: work.machine,
            ATTEMPT: str(work.attempt),
            ATTEMPTS: str(work.attempts),
            "outlast.launch": str(work.launch),
        },
        "mounts": mounts,
        "user": f"{owner.st_uid}:{owner.st_gid}",
        "network": work.network,
        "init": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "oom_score_adj": _OOM_SCORE,
        "log_config": LogConfig(type=LogConfig.types.JSON, config=docker_log.ENGINE_LOG),
        "detach": True,
    }


def _mount(source: Path, target: str, *, read_only: bool = False) -> Mount:
    return Mount(target, str(source), type="bind", read_only=read_only)


def _containers(client: docker.DockerClient, work: Work) -> list[Container]:
    labels = [f"{JOB}={work.job}", f"{MACHINE}={work.machine}", f"{ATTEMPTS}={work.attempts}"]
    return client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)


def _id(container: Container) -> str:
    return str(container.id)


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except APIError as error:
        if error.status_code not in {404, 409}:  # it is gone, or about to be
            raise


def _digest(client: docker.DockerClient, image: str, reference: str) -> str | None:
    """``name@sha256:...`` of ``image`` as it is here, or None."""
    try:
        digests = client.images.get(reference).attrs.get("RepoDigests") or []
    except NotFound:
        return None
    name = docker_errors.repository(image)
    return next((each for each in digests if each.split("@")[0] == name), None)


def _exit(state: dict[str, Any], lost: str) -> Exit:
    code = int(state["ExitCode"])
    # The engine also sets it when only a child was killed and the command went on.
    memory = bool(state.get("OOMKilled")) and code != 0
    return Exit(code, out_of_memory=memory, message=str(state.get("Error") or lost)[:300])
