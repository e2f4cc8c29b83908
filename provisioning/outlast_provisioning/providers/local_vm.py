"""The supervisor of one local machine: a process of its own that outlives the controller.

Started as ``python -m outlast_provisioning.providers.local_vm FOLDER``. It serves the metadata
endpoint, runs the daemon (again, if it fails, as systemd would; no more once it exits with 0,
which is a power-off), and takes everything down at an eviction: the whole tree of processes and
the containers, by SIGKILL, after the notice or as soon as it is acknowledged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Literal

from outlast.durable import read_json, replace_json
from outlast_agent.folders import remove_root
from outlast_provisioning.providers.base import MachineState, TryAgainError
from outlast_provisioning.providers.local_folder import MachineFolder, Supervised
from outlast_provisioning.providers.local_metadata import Metadata
from outlast_provisioning.providers.processes import adopt_orphans, kernel, kill_descendants, me

POLL_SECONDS = 0.05
RESTART_SECONDS = 1.0
MOST_STARTS = 200
STARTS_WITHIN = 600.0
"""A daemon that cannot even begin is not started for ever; so it is in its systemd unit."""
EXTRA_LIFETIME = 60.0
"""The daemon ends itself first; this is for one that cannot."""

MACHINE_VARIABLE = "OUTLAST_MACHINE"
"""Of all processes of a machine: its folder, since other users' machines may have its name."""
BOOT_VARIABLE = "OUTLAST_BOOT_ID"

Fate = Literal["evicted", "killed", "powered-off", "deleted", "lifetime"]


class Supervisor:
    """One boot of one machine."""

    def __init__(self, folder: MachineFolder) -> None:
        request = read_json(folder.request)
        self._folder = folder
        self._spec = dict(request["spec"])
        self._machine = str(self._spec["machine"])
        self._grace = float(request["grace_seconds"])
        self._lifetime = float(request["max_lifetime_seconds"]) + EXTRA_LIFETIME
        self._boot_id = str(uuid.uuid4())
        self._metadata = Metadata(self._machine)
        self._child: int | None = None
        self._restart_at = 0.0
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)
        self._evict_at: float | None = None

    def run(self) -> None:
        """Until the machine's end."""
        adopt_orphans()
        self._folder.disk.mkdir(exist_ok=True)
        self._spec["watcher"] = {
            "kind": "azure",
            "endpoint": self._metadata.endpoint,
            "resource": self._machine,
        }
        replace_json(self._folder.spec, self._spec)
        self._write("running")
        fate = self._watch(time.monotonic() + self._lifetime)
        self._write("stopping", fate)
        self._take_down()
        if fate != "powered-off":
            # An evicted spot machine is deleted with its disk: nothing on it may be relied on.
            with contextlib.suppress(OSError):  # what is left goes when the machine is deleted
                remove_root(self._folder.disk)
        self._write("stopped" if fate == "powered-off" else "gone", fate)

    def _watch(self, end_at: float) -> Fate:
        while True:
            now = time.monotonic()
            if self._reap():
                return "powered-off"
            if self._child is None and now >= self._restart_at:
                if len(self._starts) == MOST_STARTS and now < self._starts[0] + STARTS_WITHIN:
                    return "powered-off"
                self._starts.append(now)
                self._start()
            if self._folder.take("delete"):
                return "deleted"
            if self._folder.take("kill"):
                return "killed"
            if self._folder.take("evict") and self._evict_at is None:
                self._evict_at = now + self._grace
                self._metadata.publish("Preempt", self._grace)
            if self._folder.take("cancel"):
                self._evict_at = None
                self._metadata.withdraw()
            if self._evict_at is not None and (
                now >= self._evict_at or self._metadata.acknowledged.is_set()
            ):
                self._metadata.begin()
                return "evicted"
            if now >= end_at:
                return "lifetime"
            time.sleep(POLL_SECONDS)

    def _start(self) -> None:
        """Start the daemon, in a session of its own, its words appended to the log."""
        environment = {
            **os.environ,
            MACHINE_VARIABLE: str(self._folder.path),
            BOOT_VARIABLE: self._boot_id,
        }
        command = [sys.executable, "-m", "outlast_agent", "run"]
        command += ["--spec", str(self._folder.spec), "--root", str(self._folder.disk)]
        with self._folder.log.open("ab") as log, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            self._child = os.posix_spawn(
                sys.executable,
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,
            )

    def _reap(self) -> bool:
        """Collect ended children, adopted ones too; True once the daemon exited with 0."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return False
            if pid == self._child:
                self._child = None
                self._restart_at = time.monotonic() + RESTART_SECONDS
                if os.waitstatus_to_exitcode(status) == 0:
                    return True

    def _take_down(self) -> None:
        kill_descendants(os.getpid(), lambda: (self._reap(), None)[1])
        while self._spec["runtime"] == "docker":
            try:
                return remove_containers(self._machine, self._folder.disk)
            except TryAgainError as error:
                # As long as a container may run, this machine is not gone.
                self._write("stopping", str(error))
                time.sleep(RESTART_SECONDS)
        return None

    def _write(self, state: MachineState, detail: str = "") -> None:
        own = me()
        self._folder.write(
            Supervised(
                pid=own.pid,
                start=own.start,
                state=state,
                boot_id=self._boot_id,
                endpoint=self._metadata.endpoint,
                kernel=kernel(),
                detail=detail,
            )
        )


def remove_containers(machine: str, disk: Path) -> None:
    """SIGKILL and remove the containers of a machine. Raises TryAgainError.

    ``disk`` is the machine's: other users' machines may have its name.
    """
    import docker  # noqa: PLC0415 - only machines that run containers need it

    scheme, _, path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    if scheme == "unix" and not Path(path).exists():
        return  # no engine is installed, or it was stopped with all that it ran
    label = f"outlast.machine={machine}"
    try:
        with contextlib.closing(docker.from_env(timeout=30)) as client:
            for container in client.containers.list(
                all=True, filters={"label": label}, ignore_removed=True
            ):
                attempts = Path(container.labels.get("outlast.attempts", "")).resolve()
                if attempts.is_relative_to(disk.resolve()):
                    with contextlib.suppress(docker.errors.NotFound):
                        container.remove(force=True)
    except (docker.errors.DockerException, OSError) as error:
        raise TryAgainError(f"the containers of {machine} cannot be removed: {error}") from error


def main(path: str) -> None:
    """Detach from whoever asked for the machine, and be it."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    folder = MachineFolder(Path(path))
    # Held for life, and by nobody else: of two supervisors that were started, one goes.
    lock = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    Supervisor(folder).run()


if __name__ == "__main__":
    main(sys.argv[1])
