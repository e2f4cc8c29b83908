"""Machines that are process trees on this one, so that the whole story runs on a laptop.

Each has a folder and a supervisor (``local_vm``) that outlives whoever asked for it. Of all
machines of one user, those of another ``home`` (``OUTLAST_HOME``) are not seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from outlast.durable import read_json, replace_json
from outlast_agent.folders import remove_root, remove_tree
from outlast_provisioning.providers.base import (
    GiveUpError,
    Machine,
    MachineState,
    Provider,
    Request,
    TryAgainError,
)
from outlast_provisioning.providers.local_folder import MachineFolder, Order, Supervised
from outlast_provisioning.providers.local_vm import MACHINE_VARIABLE, remove_containers
from outlast_provisioning.providers.processes import kill, with_variable

START_SECONDS = 20.0
COMING_UP_SECONDS = 60.0
"""A machine without a word of its supervisor this long after it was asked for has none."""
STOP_SECONDS = 15.0
_DAMAGE = (OSError, ValueError, KeyError, TypeError)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")


class LocalProvider(Provider):
    """See :class:`Provider`."""

    name = "local"

    def __init__(self, home: Path) -> None:
        """Machines are folders of ``home/local``, which is made with the first of them."""
        self._root = home.absolute() / "local"

    def ask(self, request: Request) -> Machine:
        """See :meth:`Provider.ask`."""
        if _NAME.fullmatch(request.machine) is None:
            raise GiveUpError(f"{request.machine!r:.100} cannot be the name of a machine")
        folder = MachineFolder(self._root / request.machine)
        with _faults(f"making machine {request.machine}"), self._locked(request.machine):
            if folder.supervised() is None:
                folder.path.mkdir(parents=True, exist_ok=True)
                replace_json(
                    folder.request,
                    {
                        "spec": request.spec.model_dump(mode="json"),
                        "grace_seconds": request.pool.grace_seconds,
                        "max_lifetime_seconds": request.max_lifetime_seconds,
                    },
                )
                try:
                    self._boot(folder)
                except BaseException:
                    with contextlib.suppress(OSError, TryAgainError):  # then it is listed
                        self._sweep(folder)
                        self._remove(folder)
                    raise
            return self._machine(folder)

    def list(self) -> list[Machine]:
        """See :meth:`Provider.list`."""
        machines = []
        with _faults("listing the machines"):
            for path in sorted(self._root.glob("*/request.json")):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    machines.append(self._seen(MachineFolder(path.parent)))
        return machines

    def start(self, name: str) -> None:
        """See :meth:`Provider.start`."""
        folder = self._folder(name)
        with _faults(f"starting machine {name}"), self._locked(name):
            if self._machine(folder).state == "gone":
                raise GiveUpError(f"machine {name} is gone and cannot be started again")
            found = folder.supervised()
            if found is None or not found.runs:
                self._boot(folder)

    def delete(self, name: str) -> None:
        """See :meth:`Provider.delete`."""
        folder = MachineFolder(self._root / name)
        if _NAME.fullmatch(name) is None or not folder.path.exists():
            return
        with _faults(f"deleting machine {name}"), self._locked(name):
            try:
                found = folder.supervised()
            except _DAMAGE:
                found = None  # the sweep ends its supervisor too
            if found is not None and found.runs:
                folder.order("delete")
                if not _until(lambda: not found.runs, STOP_SECONDS):
                    kill(found.supervisor)
            self._sweep(folder)
            self._remove(folder)

    def evict(self, name: str, *, notice: bool = True) -> None:
        """See :meth:`Provider.evict`."""
        self._order(name, "evict" if notice else "kill")

    def cancel_notice(self, name: str) -> None:
        """Take the notice of an eviction back, as clouds do now and then."""
        self._order(name, "cancel")

    def _order(self, name: str, order: Order) -> None:
        folder = self._folder(name)
        with _faults(f"reaching machine {name}"):
            found = folder.supervised()
            if found is None or not found.runs:
                raise GiveUpError(f"machine {name} does not run")
            folder.order(order)

    def _folder(self, name: str) -> MachineFolder:
        folder = MachineFolder(self._root / name)
        if _NAME.fullmatch(name) is None or not folder.request.exists():
            raise GiveUpError(f"there is no machine {name!r:.100} in {self._root}")
        return folder

    def _seen(self, folder: MachineFolder) -> Machine:
        """A machine in the list; one that cannot be made out hides no other, and is not gone."""
        try:
            return self._machine(folder)
        except FileNotFoundError:
            raise
        except TryAgainError as error:
            state, detail = "stopping", str(error)
        except _DAMAGE as error:
            state, detail = "running", f"its folder is damaged: {error}"
        job, launch = "", 0
        with contextlib.suppress(*_DAMAGE):
            spec = read_json(folder.request)["spec"]
            job, launch = str(spec["job"]), int(spec["launch"])
        return Machine(folder.path.name, job, launch, cast(MachineState, state), detail)

    def _machine(self, folder: MachineFolder) -> Machine:
        request = read_json(folder.request)
        found = folder.supervised()
        state, detail = self._state(folder, found)
        return Machine(
            name=folder.path.name,
            job=str(request["spec"]["job"]),
            launch=int(request["spec"]["launch"]),
            state=state,
            detail=detail,
        )

    def _state(self, folder: MachineFolder, found: Supervised | None) -> tuple[MachineState, str]:
        if found is None:
            if time.time() - folder.request.stat().st_mtime < COMING_UP_SECONDS:
                return "starting", "booting"
            self._sweep(folder)
            return "gone", "it did not start"
        if found.state in ("stopped", "gone") or found.runs:
            return found.state, found.detail
        # Its supervisor was killed: what it left behind must not go on.
        self._sweep(folder)
        folder.write(replace(found, state="gone", detail="crashed"))
        return "gone", "crashed"

    def _sweep(self, folder: MachineFolder) -> None:
        """End whatever the machine left behind when its supervisor could not."""
        left = True
        deadline = time.monotonic() + STOP_SECONDS
        while left and time.monotonic() < deadline:
            left = False
            for process in with_variable(MACHINE_VARIABLE, str(folder.path)):
                left = True
                kill(process)
            time.sleep(0.01 if left else 0)
        if left:
            raise TryAgainError(f"machine {folder.path.name}: its processes do not end")
        try:
            plain = read_json(folder.request)["spec"]["runtime"] == "process"
        except _DAMAGE:
            plain = False
        if not plain:
            remove_containers(folder.path.name, folder.disk)

    def _remove(self, folder: MachineFolder) -> None:
        """The request goes last: until then it is listed, and what is left is tried again."""
        last = (folder.path / "machine.json", folder.request)
        remove_root(folder.disk)
        for path in folder.path.iterdir():
            if path.is_dir():
                remove_tree(path)
            elif path not in last:
                path.unlink(missing_ok=True)
        for path in last:
            path.unlink(missing_ok=True)
        folder.path.rmdir()

    def _boot(self, folder: MachineFolder) -> None:
        for left in folder.orders.glob("*"):
            left.unlink()
        (folder.path / "machine.json").unlink(missing_ok=True)
        os.utime(folder.request)  # from now on it is coming up
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        with (folder.path / "supervisor.log").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "outlast_provisioning.providers.local_vm", folder.path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                timeout=START_SECONDS,
                env={**os.environ, "PATH": path, MACHINE_VARIABLE: str(folder.path)},
                cwd="/",
            )
        if done.returncode != 0:
            raise TryAgainError(f"machine {folder.path.name} did not start: {_last_line(log.name)}")
        if not _until(lambda: folder.supervised() is not None, START_SECONDS):
            raise TryAgainError(
                f"machine {folder.path.name} did not start in {START_SECONDS:.0f} s: "
                f"{_last_line(log.name)}"
            )

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One at a time for each machine, over all controllers of this user."""
        # A fixed number of files: removing a lock's file is a race of its own.
        locks = self._root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / f"{zlib.crc32(name.encode()) % 64:02d}").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _last_line(path: str) -> str:
    lines = Path(path).read_text(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it says nothing")


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextlib.contextmanager
def _faults(what: str) -> Iterator[None]:
    """Faults of this machine, in the words of the contract."""
    try:
        yield
    except (*_DAMAGE, subprocess.SubprocessError) as error:
        raise TryAgainError(f"{what}: {error}") from error
