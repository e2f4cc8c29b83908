"""From a URL to a store: the table of stores."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from outlast_agent.stores.base import RefusedError, Store
from outlast_agent.stores.file import FileStore

OBJECT_SCHEMES = {"s3", "az", "gs"}
FORMS = "file:///folder, s3://bucket/prefix, az://account/container/prefix or gs://bucket/prefix"


def split_url(url: str) -> SplitResult:
    """The parts of ``url``.

    Raises RefusedError for what cannot be taken apart, is no text, or holds a NUL, credentials,
    a query or a fragment.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:  # brackets that hold no IPv6 address
        raise RefusedError(f"{url!r:.100} is not the URL of a store: write {FORMS}") from error
    if "\0" in unquote(url):
        raise RefusedError(f"{url!r:.100} holds a NUL character: correct the URL of the store")
    where = f"{parts.scheme}://{parts.hostname or ''}{parts.path}".removeprefix("://")
    if any("\ud800" <= letter <= "\udfff" for letter in url):
        raise RefusedError(f"{where:.100} is no text: give a store whose name is UTF-8")
    if parts.scheme == "file" and (parts.query or parts.fragment):
        told = "must end before ? or #; in the name of a folder they are written %3F and %23"
        raise RefusedError(f"{where:.100} {told}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RefusedError(
            f"{where:.100} must hold no credentials, query or fragment: credentials come from the "
            "environment or the machine's identity"
        )
    return parts


def open_store(url: str) -> Store:
    """The store at ``url``. Nothing is asked of it yet, save that a folder is made.

    Raises RefusedError for a URL that is none of the forms above, or that holds credentials.
    """
    parts = split_url(url)
    if parts.scheme == "file":
        return _open_folder(url)
    if parts.scheme in OBJECT_SCHEMES:
        # The client library takes a tenth of a second of each start; a folder needs none of it.
        from outlast_agent.stores.clients import open_objects  # noqa: PLC0415

        return open_objects(url)
    raise RefusedError(f"{url!r} is not the URL of a store: write {FORMS}")


def _open_folder(url: str) -> FileStore:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise RefusedError(f"{url!r} must name a whole path: write file:///home/me/store")
    return FileStore(Path(path))
