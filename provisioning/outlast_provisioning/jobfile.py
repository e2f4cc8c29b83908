"""What a person writes: the job file, one model per section. Reading it is ``parsing``'s work."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from outlast_agent.scratch.choice import Wanted
from outlast_agent.spec import JobName
from outlast_provisioning.units import Duration, DurationOrAuto, Share, Size

VERSION = 1

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]

NOT_YET = {
    "secrets": "secrets resolved on the machine",
    "deadline": "deadlines",
    "budget": "budgets",
    "fallback": "falling back to on-demand machines",
    "matrix": "one job file for many jobs",
    "notify": "notifications",
    "nodes": "several machines for one job",
    "on_nan": "stopping when the loss is not finite",
    "identity": "an identity for the container",
    "pools.regions": "regions",
    "pools.zones": "zones",
    "pools.sizes": "machine sizes",
    "pools.max_price": "prices",
    "pools.eviction": "a choice of eviction policy",
}
"""Fields of the design whose machinery is not here: refused, not passed over."""


class Section(BaseModel):
    """Immutable; strict about types; no field that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Input(Section):
    """Data that is brought to the machine before the command starts."""

    source: Text = Field(alias="from", description="URL: s3://, az://, gs:// or file://")
    to: Text = Field(description="Absolute path that the command finds it at")
    how: Literal["copy"] = Field(default="copy", description="Only copy in this version")
    unpack: bool = Field(default=False, description="Unpack a zip or tar file after the copy")


class Resources(Section):
    """What the container may use."""

    gpus: int = Field(default=0, ge=0, le=64)
    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory: Size | None = None
    disk: Size | None = None
    shm: Size | None = Field(default=None, description="Shared memory, for data-loader workers")


class PoolEntry(Section):
    """A place where the job may run."""

    provider: str = Field(description="local: processes and containers on this machine")
    grace: Duration = Field(default=30.0, description="Notice before an eviction (local)")


class Best(Section):
    """Keep the best by a metric."""

    metric: Text = Field(description="As the checkpoints name it: val_loss")
    mode: Literal["min", "max"] = Field(description="Whether less is better, or more")
    count: int = Field(default=1, ge=1, le=100, description="How many; of equal ones the earliest")


class Keep(Section):
    """Which checkpoints stay."""

    newest: int = Field(default=3, ge=2, le=1000, description="How many of the newest")
    every: int | None = Field(
        default=None, ge=1, le=10**12, description="Steps: one for each multiple, the first after"
    )
    best: Best | None = None


def _keep(value: Any) -> Any:
    """``keep: 3`` is short for ``keep: {newest: 3}``."""
    if isinstance(value, bool) or not isinstance(value, int | dict):
        raise ValueError("write how many of the newest stay, like 3, or {newest: 3, every: 1000}")
    if isinstance(value, dict):
        return value
    if not 2 <= value <= 1000:
        raise ValueError(f"must be a whole number from 2 to 1000, not {value}")
    return {"newest": value}


class Checkpoint(Section):
    """How the job is saved."""

    every: DurationOrAuto = Field(
        default=None, description="Local cadence; auto: from the measured cost of a save"
    )
    durable_every: DurationOrAuto = Field(
        default=None,
        description="Cadence of uploads; auto: from their size, the link and what requests cost",
    )
    keep: Annotated[
        Keep,
        BeforeValidator(_keep, json_schema_input_type=Annotated[int, Ge(2), Le(1000)] | Keep),
    ] = Field(default=Keep(), description="Which stay, of the newest (a number) and others")
    max_overhead: Share = Field(
        default=0.01, description="Part of training time that saving may take, with auto"
    )
    scratch: Wanted = Field(
        default="auto",
        description="Where saves are written first: ram, local, disk, or the fastest of them",
    )
    exact: Literal["best", "strict"] = Field(
        default="best", description="strict: only machines on which the bits are the same"
    )


class Retries(Section):
    """How often what fails is tried again."""

    failures: int = Field(default=3, ge=0, le=100, description="Failures retried in all")


class JobFile(Section):
    """A job: what to train, where it may run, and how it is saved."""

    version: Literal[1]
    name: JobName = Field(description="Lower-case letters, digits and hyphens, at most 63")
    image: Text | None = Field(default=None, description="Omit to run plain processes (local)")
    code: Text | None = Field(default=None, description="Folder, packed at submit, read-only")
    command: tuple[Text, ...] = Field(min_length=1)
    env: dict[str, str] = Field(default_factory=dict)
    store: Text | None = Field(default=None, description="file://, s3://, az:// or gs:// URL")
    inputs: tuple[Input, ...] = ()
    resources: Resources = Resources()
    pools: tuple[PoolEntry, ...] = Field(min_length=1)
    checkpoint: Checkpoint = Checkpoint()
    retries: Retries = Retries()
    max_lifetime: Duration = Field(default=7 * 86400.0, description="A machine ends itself then")

    @field_validator("env")
    @classmethod
    def _names(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise ValueError(f"{name!r:.50} cannot be the name of a variable")
            if name.startswith("OUTLAST_"):
                raise ValueError(f"{name} is set by Outlast: choose another name")
        return env


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the job file, for editors; published as ``docs/job.schema.json``."""
    schema = JobFile.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Outlast job file"
    return schema
