"""Which store a command means, and what this machine's own folder is. Read once, at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from outlast_agent import layout
from outlast_agent.layout import is_job_name
from outlast_agent.stores.base import NotFoundError, Store
from outlast_agent.stores.open import open_store, split_url
from outlast_provisioning.checks import whole_url
from outlast_provisioning.registry import Registry


class InputError(Exception):
    """What was typed cannot be done; one line says what to type instead."""


@dataclass(frozen=True)
class Place:
    """Frozen environment of one command."""

    home: Path
    """``$OUTLAST_HOME``, else ``~/.outlast``: local machines and the registry."""
    store: str | None
    """``--store``, else ``$OUTLAST_STORE``."""

    @property
    def registry(self) -> Registry:
        """Jobs submitted from here."""
        return Registry(self.home)

    def store_of(self, job: str) -> Store:
        """The store of ``job``. Raises InputError if nobody knows, StoreError."""
        if not is_job_name(job):
            raise InputError(f"'{job:.100}' is not the name of a job: `outlast ls` shows them")
        url = self.store or self.registry.store_of(job)
        if url is None:
            raise InputError(f"job {job} was not submitted from here: give --store URL")
        return open_existing(url)

    def one_store(self) -> Store:
        """The store, if there is only one that can be meant. Raises InputError, StoreError."""
        urls = self.all_stores()
        if len(urls) > 1:
            raise InputError(f"give --store URL; known here: {', '.join(urls)}")
        return open_store(urls[0])

    def all_stores(self) -> list[str]:
        """The URLs that can be meant, at least one. Raises InputError."""
        if self.store is not None:
            return [self.store]
        urls = sorted(set(self.registry.stores().values()))
        if not urls:
            raise InputError("no job was submitted from here: give --store URL")
        return urls


def open_existing(url: str) -> Store:
    """The store at ``url``, to look at: no folder is made. Raises InputError, StoreError."""
    parts = split_url(url)
    if parts.scheme == "file" and not _there(Path(unquote(parts.path))):
        raise InputError(f"there is no folder {unquote(parts.path)}: correct the URL of the store")
    return open_store(url)


def must_exist(store: Store, job: str) -> None:
    """Raises InputError if ``job`` is not in ``store``, StoreError."""
    try:
        store.read(layout.job_file(job))
    except NotFoundError as error:
        told = f"no job {job} in {store.url}: `outlast ls` shows what is there"
        raise InputError(told) from error


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        told = f"the folder {str(path)[:100]} cannot be looked at ({error.strerror})"
        raise InputError(f"{told}: correct the URL of the store") from error


def read_place(environ: Mapping[str, str], store: str | None) -> Place:
    """From the environment and the option ``--store``. Raises RefusedError for what is no URL."""
    home = environ.get("OUTLAST_HOME")
    url = store or environ.get("OUTLAST_STORE") or None
    return Place(
        home=Path(home).resolve() if home else Path.home() / ".outlast",
        store=None if url is None else whole_url(url, Path.cwd()),
    )
