"""The frozen job, as it lies in the store, and what a machine is told of it."""

from __future__ import annotations

import hashlib

from outlast.cadence import BETWEEN_LOSSES
from outlast_agent import prices
from outlast_agent.records import Launch, Record
from outlast_agent.spec import CheckpointSpec, InputSpec, JobSpec, ResourceSpec
from outlast_agent.sync.collect import Best, Rule
from outlast_provisioning.jobfile import JobFile
from outlast_provisioning.providers.base import Pool
from outlast_provisioning.upkeep import SIZES, Upkeep, estimate


class Job(Record):
    """``job.json``: created once at submit, never changed."""

    name: str
    store: str
    """URL of the store that it lies in."""
    file: JobFile
    """The job file as checked, with every default filled in."""
    code_sha256: str | None = None
    code_bytes: int = 0
    submitted_by: str = ""

    @property
    def uid(self) -> str:
        """Tells this job's machines from those of a namesake in another store."""
        return hashlib.sha256(f"{self.store}\n{self.name}".encode()).hexdigest()[:8]

    def same_as(self, other: Job) -> bool:
        """Whether the two would train the same."""
        return (self.name, self.store, self.file, self.code_sha256) == (
            other.name,
            other.store,
            other.file,
            other.code_sha256,
        )


def differences(old: Job, new: Job) -> list[str]:
    """The fields in which two jobs of one name differ."""
    mine, theirs = old.file.model_dump(by_alias=True), new.file.model_dump(by_alias=True)
    names = [name for name in mine if mine[name] != theirs[name]]
    return names + ["the code"] * (old.code_sha256 != new.code_sha256)


def machine_name(job: Job, launch: int) -> str:
    """The name of a launch's machine: the same whoever asks, so asking twice makes one."""
    return f"{job.name[:40].rstrip('-')}-{job.uid}-{launch}"


def pools(job: Job) -> tuple[Pool, ...]:
    """Where the job may run."""
    return tuple(
        Pool(
            provider=entry.provider,
            size="docker" if job.file.image else "process",
            grace_seconds=entry.grace,
        )
        for entry in job.file.pools
    )


def rule_of(file: JobFile) -> Rule:
    """Which of its checkpoints stay."""
    keep = file.checkpoint.keep
    best = None
    if keep.best is not None:
        best = Best(keep.best.metric, keep.best.mode, keep.best.count)
    return Rule(keep.newest, keep.every, best)


def job_spec(
    job: Job,
    launch: Launch,
    pool: Pool,
    *,
    given: float | None = None,
    between_losses: float = BETWEEN_LOSSES,
) -> JobSpec:
    """What the machine of ``launch`` is told. The provider adds where its notices appear.

    ``given``: seconds of notice that the pool's machines really had; None: what it promises.
    ``between_losses``: seconds, as in ``outlast.cadence.BETWEEN_LOSSES``.
    """
    file = job.file
    return JobSpec(
        job=job.name,
        launch=launch.number,
        machine=launch.machine,
        store=job.store,
        runtime="docker" if file.image else "process",
        image=file.image,
        code_sha256=job.code_sha256,
        command=file.command,
        env=file.env,
        inputs=tuple(
            InputSpec(source=one.source, to=one.to, how=one.how, unpack=one.unpack)
            for one in file.inputs
        ),
        resources=ResourceSpec(
            gpus=file.resources.gpus,
            cpus=file.resources.cpus,
            memory_bytes=file.resources.memory,
            shm_bytes=file.resources.shm,
        ),
        checkpoint=CheckpointSpec(
            every_seconds=file.checkpoint.every,
            durable_every_seconds=file.checkpoint.durable_every,
            max_overhead=file.checkpoint.max_overhead,
            between_losses_seconds=between_losses,
            keep=rule_of(file),
            scratch=file.checkpoint.scratch,
            exact=file.checkpoint.exact,
        ),
        grace_seconds=pool.grace_seconds if given is None else min(given, pool.grace_seconds),
        usd_per_hour=pool.price or prices.MACHINE_USD_PER_HOUR,
        usd_per_gb=prices.leaving(pool.provider, job.store),
        max_lifetime_seconds=file.max_lifetime,
        failures=file.retries.failures,
    )


def upkeep(job: Job) -> tuple[JobSpec, list[Upkeep]]:
    """What saving will take on a machine of its cheapest pool, for each size of state."""
    pool = min(pools(job), key=lambda one: one.price)
    launch = Launch(
        job=job.name,
        number=1,
        provider=pool.provider,
        pool={},
        machine=machine_name(job, 1),
        nonce="",
        reason="first",
    )
    spec = job_spec(job, launch, pool)
    return spec, [estimate(spec, size) for size in SIZES]
