"""The job spec: everything a machine is told, in its user data. No secrets, ever."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from outlast.cadence import BETWEEN_LOSSES, MAX_OVERHEAD
from outlast_agent.prices import MACHINE_USD_PER_HOUR
from outlast_agent.scratch.choice import Wanted
from outlast_agent.sync.collect import Rule

VERSION = 1

JobName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]


class Frozen(BaseModel):
    """Immutable, and no field that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(Frozen):
    """Data that is brought to the machine before the command starts."""

    source: str
    """URL: ``s3://``, ``az://``, ``gs://``, ``file://``."""
    to: str
    """Absolute path inside the container."""
    how: Literal["copy"] = "copy"
    unpack: bool = False
    """Unpack a zip or tar file after the copy."""


class ResourceSpec(Frozen):
    """What the container may use. None: no limit."""

    gpus: int = 0
    cpus: float | None = None
    memory_bytes: int | None = None
    shm_bytes: int | None = None


class CheckpointSpec(Frozen):
    """How the job is saved."""

    every_seconds: float | None = None
    """Local cadence; None: chosen from the measured cost of a save."""
    durable_every_seconds: float | None = None
    """Cadence of uploads; None: chosen, as ``sync.cadence`` says."""
    max_overhead: float = Field(default=MAX_OVERHEAD, gt=0, le=1)
    """Part of the training time that saves may take."""
    between_losses_seconds: float = Field(default=BETWEEN_LOSSES, gt=0)
    """As in ``outlast.cadence.BETWEEN_LOSSES``."""
    keep: Rule = Rule()
    """Which checkpoints stay."""
    scratch: Wanted = "auto"
    """Where they are written before they are durable, as :mod:`outlast_agent.scratch` says."""
    exact: Literal["best", "strict"] = "best"


class WatcherSpec(Frozen):
    """Where eviction notices are published."""

    kind: Literal["azure", "none"] = "none"
    endpoint: str = "http://169.254.169.254"
    resource: str = ""
    """This machine's name in the events; events for others are passed over."""


class JobSpec(Frozen):
    """The job and this machine's place in it."""

    version: int = VERSION
    job: JobName
    launch: int = Field(ge=1)
    """Number of the launch that asked for this machine."""
    machine: str
    """The machine's name at its provider."""
    store: str
    """URL of the store."""
    runtime: Literal["docker", "process"]
    image: str | None = None
    """As in the job file; ``image.json`` in the store holds the digest."""
    code_sha256: str | None = None
    """The packed code in the store; None: the image holds it."""
    command: tuple[str, ...]
    env: dict[str, str] = Field(default_factory=dict)
    inputs: tuple[InputSpec, ...] = ()
    resources: ResourceSpec = ResourceSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    watcher: WatcherSpec = WatcherSpec()
    grace_seconds: float = 30.0
    """Notice that is reckoned with: what this pool promises, or less if it gave less before."""
    usd_per_hour: float = Field(default=MACHINE_USD_PER_HOUR, gt=0)
    """What the machine costs, about."""
    usd_per_gb: float = Field(default=0.0, ge=0)
    """What a gigabyte costs that leaves the machine for the store."""
    max_lifetime_seconds: float = 7 * 24 * 3600.0
    """The machine ends itself after this long, whatever happens."""
    failures: int = 3
    """How many failures after new durable progress are retried. Decided by the controller."""
    docker_network: str = "bridge"
    extra: dict[str, Any] = Field(default_factory=dict)
    """Reserved for providers; the daemon passes over it."""
