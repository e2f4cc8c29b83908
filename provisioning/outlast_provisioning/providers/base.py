"""What a provider is: it asks for, lists, stops and deletes machines. One contract suite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # a machine's supervisor starts in half the time without the models
    from outlast_agent.spec import JobSpec

EVICTED = "evicted"
"""Detail of a machine that the cloud took away after a notice."""

MachineState = Literal["starting", "running", "stopping", "stopped", "gone"]


class ProviderError(Exception):
    """Something a provider said; the class names what the caller does next."""


class NoCapacityError(ProviderError):
    """Nothing is free in this pool now: ask the next pool."""


class QuotaError(ProviderError):
    """The account may not have more: the message says which quota and where to raise it."""


class NotAllowedError(ProviderError):
    """The account may not do this: the message names the missing action."""


class TryAgainError(ProviderError):
    """A passing fault."""


class GiveUpError(ProviderError):
    """The request is wrong and will stay wrong: end the job and say so."""


@dataclass(frozen=True)
class Pool:
    """A place where a machine may be asked for."""

    provider: str
    region: str = "here"
    zone: str | None = None
    size: str = "process"
    spot: bool = True
    price: float = 0.0
    """USD per hour."""
    grace_seconds: float = 30.0
    """Notice that it promises."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people and for cool-downs: provider, region, zone and size."""
        where = "/".join(
            part for part in (self.provider, self.region, self.zone, self.size) if part
        )
        return where if self.spot else f"{where} on demand"


@dataclass(frozen=True)
class Request:
    """One machine."""

    machine: str
    """Its name, deterministic: asking twice with one name makes one machine."""
    pool: Pool
    spec: JobSpec
    max_lifetime_seconds: float


@dataclass(frozen=True)
class Machine:
    """A machine as its provider sees it."""

    name: str
    job: str
    launch: int
    state: MachineState
    detail: str = ""
    """The provider's own word for the state; :data:`EVICTED` if it is gone by a notice."""


class Provider(ABC):
    """Machines of one cloud. Every method may be repeated; none waits longer than a minute."""

    name: str

    @abstractmethod
    def ask(self, request: Request) -> Machine:
        """Have this machine; one that is there already under this name is returned as it is.

        Raises a :class:`ProviderError`; then nothing is left behind.
        """

    @abstractmethod
    def list(self) -> list[Machine]:
        """Every machine that carries our tags, the stopped ones too."""

    @abstractmethod
    def start(self, name: str) -> None:
        """Start a stopped machine again. Raises a :class:`ProviderError`."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove the machine with everything that was made for it; gone already is fine."""

    @abstractmethod
    def evict(self, name: str, *, notice: bool = True) -> None:
        """Have the machine evicted, for tests and demos; GiveUpError where that cannot be."""
