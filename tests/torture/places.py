"""Stores that fail as they are told: servers behind a front, a small disk."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from agent.stores import servers
from torture.front import KINDS, STATUSES, Front, Plan
from torture.machine import Machine

DISK = "24m"
_NEW_MOUNTS = 0x00020000


class Server:
    """A bucket of a real server, reached through a front that fails."""

    def __init__(self, scheme: str, endpoint: str) -> None:
        self.name = self.kind = scheme
        self._target, _, self._path = endpoint.removeprefix("http://").partition("/")
        self._front = Front(self._target)

    def take(self, machine: Machine) -> None:
        """Let this machine's store be here."""
        where = f"{servers.BUCKET}/{machine.root.name}"
        machine.url = f"s3://{where}" if self.name == "s3" else f"az://{servers.ACCOUNT}/{where}"
        machine.environ = self._environ(self._front.address)
        machine.environ_read = self._environ(self._target)

    def _environ(self, address: str) -> dict[str, str]:
        if self.name == "s3":
            login = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
            return {"AWS_ENDPOINT_URL": f"http://{address}", "AWS_REGION": "us-east-1", **login}
        endpoint = f"http://{address}/{self._path}"
        return {
            "AZURE_STORAGE_ENDPOINT": endpoint,
            "AZURE_STORAGE_ACCOUNT_KEY": servers.ACCOUNT_KEY,
        }

    def trouble(self, chance: random.Random, *, seconds: float) -> str:
        """Fail for so long; what it is called."""
        years = chance.choice((0, 0, 0, -30, 12, 60))
        if chance.random() < 0.3:  # one fault, and nothing else is answered
            kinds: tuple[str, ...] = (chance.choice((*STATUSES, "hang", "cut-up")),)
            share = 1.0
        else:
            kinds = tuple(chance.sample(KINDS, chance.choice((1, 1, 2, 4))))
            share = chance.choice((0.1, 0.3, 0.6))
        seed = chance.randrange(1 << 30)
        self._front.plan(Plan(kinds, share, seconds, seed, years))
        wrong = ", its clock wrong" if years else ""
        self.kind = f"{self.name} {kinds[0]}{' and more' if kinds[1:] else ''}"
        return f"{self.name}: {'all' if share == 1 else 'some'} {' '.join(kinds)}{wrong}"

    def heal(self) -> None:
        """All is well again."""
        self._front.plan(Plan())

    def end(self) -> None:
        """Of one job."""
        self.heal()


class Disk:
    """A folder as a store, and scratch, each on a small file system of its own."""

    name = "file"

    def __init__(self) -> None:
        """Raises OSError where nobody may mount anything."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_MOUNTS):  # what is mounted here goes with this process
            raise OSError(ctypes.get_errno(), "only root can mount a small file system")
        _mount("--make-rprivate", "/")
        self.kind = ""
        self._mounted: list[Path] = []
        self._filled: Path | None = None
        self._read_only: Path | None = None

    def take(self, machine: Machine) -> None:
        """Let this machine's store be here."""
        store = machine.root / "store"
        local = machine.home / "disk"
        for folder in (store, local):
            folder.mkdir(exist_ok=True)
            if folder not in self._mounted:
                _mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder))
                self._mounted.append(folder)
        machine.scratch, machine.downloads = local / "scratch", local / "downloads"
        for folder in (machine.scratch, machine.downloads):
            folder.mkdir(exist_ok=True)
        self._store, self._scratch = store, local

    def trouble(self, chance: random.Random, *, seconds: float) -> str:
        """Until it is healed, however long; what it is called."""
        del seconds
        whose = chance.choice(("store", "scratch"))
        folder = self._store if whose == "store" else self._scratch
        if chance.random() < 0.5:
            for _ in range(200):
                with suppress(subprocess.CalledProcessError):  # something is written just now
                    _mount("-o", "remount,ro", str(folder))
                    self._read_only = folder
                    self.kind = f"{whose} read-only"
                    return self.kind
                time.sleep(0.005)
        self._fill(folder, chance.choice((0, 0, 4096, 40_000, 300_000)))
        self.kind = f"{whose} full"
        return self.kind

    def _fill(self, folder: Path, left: int) -> None:
        self._filled = folder / "other"
        block = bytes(1 << 16)
        written = 0
        with self._filled.open("wb", buffering=0) as file:
            with suppress(OSError):
                while count := file.write(block):
                    written += count
            file.truncate(max(0, written - left))

    def heal(self) -> None:
        """All is well again."""
        if self._read_only is not None:
            _mount("-o", "remount,rw", str(self._read_only))
        if self._filled is not None:
            self._filled.unlink()
        self._read_only = self._filled = None

    def end(self) -> None:
        """Of one job: nothing of it is mounted any more."""
        self.heal()
        for folder in self._mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        self._mounted = []


Place = Server | Disk


def places(endpoints: dict[str, str]) -> list[Place]:
    """Those that there are here."""
    found: list[Place] = [Server(scheme, endpoint) for scheme, endpoint in endpoints.items()]
    with suppress(OSError, subprocess.CalledProcessError):
        found.append(Disk())
    return found


def _mount(*arguments: str) -> None:
    environ = {**os.environ, "LC_ALL": "C"}
    subprocess.run(["mount", *arguments], check=True, stderr=subprocess.DEVNULL, env=environ)
