"""Whether this machine can run containers, asked before a job that needs them is submitted."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

SECONDS = 10
"""For an engine that does not answer."""

_INSTEAD = "or leave out `image` to run plain processes"


def engine_fault(environ: Mapping[str, str]) -> str | None:
    """Why no container runs here and what to do about it, in one line; None: an engine answers."""
    import docker  # noqa: PLC0415 - only jobs with an image need it
    from requests.exceptions import RequestException  # noqa: PLC0415

    where = environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        with contextlib.closing(
            docker.from_env(timeout=SECONDS, environment=dict(environ))
        ) as client:
            client.ping()
    except (docker.errors.DockerException, RequestException, OSError) as error:
        if "PermissionError" in repr(error) or "Permission denied" in str(error):
            return (
                f"this user may not use the container engine at {where}: add it to the group "
                f"docker, {_INSTEAD}"
            )
        return (
            f"no container engine answers at {where} on this machine, where the local provider "
            f"would run it: install or start Docker, {_INSTEAD}"
        )
    return None
