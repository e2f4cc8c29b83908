"""A checked job frozen into its store: the code first, then the job, then word of it."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from outlast_agent import layout
from outlast_agent.records import Beat, dump, load
from outlast_agent.stores.base import AlreadyExistsError, NotFoundError, Store
from outlast_agent.stores.open import open_store
from outlast_agent.stores.probe import probe
from outlast_provisioning.checks import Checked
from outlast_provisioning.clock import stamp
from outlast_provisioning.job import Job, differences
from outlast_provisioning.packing import Packed, PackError, pack


class TakenError(Exception):
    """Another job of this name is in the store; the message says what differs."""


def frozen(checked: Checked, packed: Packed | None) -> Job:
    """The job as it is put into its store."""
    return Job(
        at=stamp(),
        name=checked.file.name,
        store=checked.store,
        file=checked.file,
        code_sha256=packed.sha256 if packed else None,
        code_bytes=packed.size if packed else 0,
        submitted_by=_person(),
    )


@dataclass(frozen=True)
class Submission:
    """What a submit did."""

    job: Job
    outcome: Literal["created", "same"]
    packed: Packed | None


def submit(checked: Checked, store: Store) -> Submission:
    """Freeze the job in ``store``; submitted again with the same content, nothing changes.

    Raises TakenError, ``packing.PackError``, and StoreError if the store cannot be used.
    """
    probe(store)
    name = checked.file.name
    with tempfile.TemporaryDirectory(prefix="outlast-") as temporary:
        packed = None
        if checked.code is not None:
            others = [checked.path, *_folder_of(checked.store)]
            try:
                packed = pack(checked.code, Path(temporary) / "code.tar", without=others)
            except OSError as error:
                told = (
                    f"packing the code in {temporary}: {error.strerror}: make room, or set TMPDIR"
                )
                raise PackError(told) from error
            with contextlib.suppress(AlreadyExistsError):
                store.create(layout.code(name, packed.sha256), packed.path)
    job = frozen(checked, packed)
    outcome: Literal["created", "same"] = "created"
    try:
        store.create(layout.job_file(name), dump(job))
    except AlreadyExistsError:
        there = load(Job, store.read(layout.job_file(name)), key=layout.job_file(name))
        if not job.same_as(there):
            raise TakenError(
                f"job {name} is in {checked.store} already, and differs in "
                f"{', '.join(differences(there, job))}: choose another name, or see "
                f"`outlast status {name}`"
            ) from None
        job, outcome = there, "same"
    _announce(store, job)
    return Submission(job, outcome, packed)


def try_store(url: str) -> None:
    """Ask the store at ``url`` what a submit would ask, and leave nothing there.

    Raises RefusedError, UnavailableError, each one line.
    """
    root = _folder_of(url)
    # Not Path.exists, which raises for a name that is too long: opening says so in one line.
    parents = [path for top in root for path in (top, *top.parents)]
    new = [path for path in parents if not os.path.exists(path)]  # noqa: PTH110
    try:
        probe(open_store(url))
    finally:
        if new:
            for path in (root[0] / ".tmp", root[0] / "probes", *new):
                with contextlib.suppress(OSError):  # not made, or somebody else's by now
                    path.rmdir()


def _announce(store: Store, job: Job) -> None:
    """The first beat: controllers find jobs by listing the beats. Repaired by a second submit."""
    try:
        store.read(layout.beat(job.name))
    except NotFoundError:
        store.put(
            layout.beat(job.name),
            dump(
                Beat(
                    at=stamp(),
                    job=job.name,
                    attempt=None,
                    launch=0,
                    machine="",
                    boot_id="",
                    sequence=0,
                    phase="submitted",
                )
            ),
        )


def _folder_of(url: str) -> list[Path]:
    parts = urlsplit(url)
    return [Path(unquote(parts.path))] if parts.scheme == "file" else []


def _person() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()
