"""The folder of a local machine: what its provider and its supervisor tell each other.

::

    <machine>/request.json    what was asked for: spec, grace, longest lifetime
              machine.json    its supervisor (pid, start time), state, metadata endpoint
              orders/         empty files put there by the provider: evict, kill, cancel, delete
              disk/           the machine's disk: the daemon's root; gone with the machine
              spec.json       the job spec as the daemon reads it
              agent.log       what the daemon said
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from outlast.durable import read_json, replace_json
from outlast_provisioning.providers.base import MachineState
from outlast_provisioning.providers.processes import Process, alive, kernel

Order = Literal["evict", "kill", "cancel", "delete"]


@dataclass(frozen=True)
class Supervised:
    """``machine.json``."""

    pid: int
    start: int
    state: MachineState
    boot_id: str
    endpoint: str
    kernel: str
    """The boot of the host in which ``pid`` and ``start`` mean something."""
    detail: str = ""

    @property
    def supervisor(self) -> Process:
        """Who wrote this."""
        return Process(self.pid, self.start)

    @property
    def runs(self) -> bool:
        """Whether its supervisor is alive."""
        return self.kernel == kernel() and alive(self.supervisor)


@dataclass(frozen=True)
class MachineFolder:
    """Paths and small files of one machine."""

    path: Path

    @property
    def request(self) -> Path:
        """What was asked for."""
        return self.path / "request.json"

    @property
    def disk(self) -> Path:
        """The daemon's root."""
        return self.path / "disk"

    @property
    def spec(self) -> Path:
        """The job spec, with the metadata endpoint filled in."""
        return self.path / "spec.json"

    @property
    def log(self) -> Path:
        """What the daemon said."""
        return self.path / "agent.log"

    @property
    def orders(self) -> Path:
        """Where the provider leaves orders."""
        return self.path / "orders"

    def order(self, order: Order) -> None:
        """Leave an order for the supervisor. Raises OSError."""
        self.orders.mkdir(exist_ok=True)
        (self.orders / order).touch()

    def take(self, order: Order) -> bool:
        """Whether this order was left; it is taken away."""
        try:
            (self.orders / order).unlink()
        except FileNotFoundError:
            return False
        return True

    def supervised(self) -> Supervised | None:
        """``machine.json``, or None before there is one. Raises OSError, ValueError."""
        try:
            value = read_json(self.path / "machine.json")
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not isinstance(value, dict) or value.get("state") not in get_args(MachineState):
            raise ValueError(f"{self.path / 'machine.json'} has no state")
        return Supervised(
            pid=int(value["pid"]),
            start=int(value["start"]),
            state=cast(MachineState, value["state"]),
            boot_id=str(value["boot_id"]),
            endpoint=str(value["endpoint"]),
            kernel=str(value["kernel"]),
            detail=str(value.get("detail", "")),
        )

    def write(self, value: Supervised) -> None:
        """Replace ``machine.json``. Raises OSError."""
        replace_json(self.path / "machine.json", asdict(value), fsync=False)
