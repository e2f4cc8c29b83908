"""One local machine, and what it publishes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import httpx

from outlast_agent import layout
from outlast_agent.records import Launch, dump
from outlast_agent.spec import JobSpec
from outlast_agent.stores.base import AlreadyExistsError
from outlast_agent.stores.file import FileStore
from outlast_provisioning.providers.base import Pool, Request
from outlast_provisioning.providers.local import LocalProvider
from outlast_provisioning.providers.local_folder import MachineFolder

QUERY = "/metadata/scheduledevents?api-version=2020-07-01"


HEADERS = {"Metadata": "true"}


def intend(tmp_path: Path) -> None:
    """Without an intent in the store the daemon ends its machine within a second, mid-test."""
    record = Launch(
        job="digits",
        number=1,
        provider="local",
        pool={},
        machine="digits-1",
        nonce="n",
        reason="first",
    )
    with contextlib.suppress(AlreadyExistsError):
        FileStore(tmp_path / "store").create(layout.launch("digits", 1), dump(record))


def ask(
    provider: LocalProvider, tmp_path: Path, grace: float = 30.0, runtime: str = "process"
) -> MachineFolder:
    spec = JobSpec(
        job="digits",
        launch=1,
        machine="digits-1",
        store=f"file://{tmp_path / 'store'}",
        runtime=runtime,  # type: ignore[arg-type]
        image=None if runtime == "process" else "127.0.0.1:9/nobody/nothing:1",
        command=("sleep", "1000"),
    )
    pool = Pool(provider="local", grace_seconds=grace)
    intend(tmp_path)
    provider.ask(Request("digits-1", pool, spec, 600))
    return MachineFolder(tmp_path / "home" / "local" / "digits-1")


def endpoint(folder: MachineFolder) -> str:
    found = folder.supervised()
    assert found is not None
    return found.endpoint


def events(url: str) -> list[dict[str, str]]:
    answer = httpx.get(url + QUERY, headers=HEADERS, trust_env=False)
    assert answer.status_code == 200
    return list(answer.json()["Events"])


def until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
