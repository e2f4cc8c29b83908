"""A store in a folder, and the surroundings of a daemon that uses it."""

from __future__ import annotations

import pytest

from outlast_agent.context import Context
from outlast_agent.folders import Folders
from outlast_agent.journal import open_journal
from outlast_agent.runtimes.process import ProcessRuntime
from outlast_agent.spec import JobSpec
from outlast_agent.stores.file import FileStore


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


@pytest.fixture
def context(tmp_path, store):
    spec = JobSpec(
        job="digits", launch=1, machine="m", store=store.url, runtime="process", command=("true",)
    )
    return Context(
        spec=spec, folders=Folders(tmp_path / "root", "digits"), store=store,
        runtime=ProcessRuntime(), journal=open_journal(), boot_id="b", crash=pytest.fail,
    )  # fmt: skip
