"""The table of runtimes."""

from __future__ import annotations

from outlast_agent.runtimes.base import Runtime
from outlast_agent.spec import JobSpec


def open_runtime(spec: JobSpec) -> Runtime:
    """The runtime that a job spec asks for."""
    match spec.runtime:
        case "docker":
            # The engine's SDK takes a third of a second to import.
            from outlast_agent.runtimes.docker import DockerRuntime  # noqa: PLC0415

            return DockerRuntime()
        case "process":
            from outlast_agent.runtimes.process import ProcessRuntime  # noqa: PLC0415

            return ProcessRuntime()
