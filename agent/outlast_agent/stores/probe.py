"""Whether a store can be trusted, asked before its first use.

Everything rests on a create that fails when the name is taken; some servers that call
themselves compatible pass over the condition, and two machines would train the same job.
"""

from __future__ import annotations

import secrets

from outlast_agent.stores.base import AlreadyExistsError, RefusedError, Store, UnavailableError

PREFIX = "probes/"


def probe(store: Store) -> None:
    """Create, create again, overwrite, read, list and delete a small key.

    Raises RefusedError, in one line that says what to do, for a store that cannot be used, and
    UnavailableError for one that does not answer.
    """
    key = f"{PREFIX}{secrets.token_hex(8)}"
    try:
        store.create(key, b"first")
        _check_second_create(store, key)
        store.put(key, b"third")
        if store.read(key, limit=100) != b"third":
            raise RefusedError("what was written last is not what is read: name another store")
        if [entry.key for entry in store.list(key)] != [key]:
            raise RefusedError("what was written is not listed: name another store")
        store.delete(key)
    except RefusedError as error:
        raise RefusedError(f"the store {store.url} cannot be used: {error}") from error
    except UnavailableError as error:
        raise type(error)(f"the store {store.url} does not answer: {error}") from error


def _check_second_create(store: Store, key: str) -> None:
    try:
        store.create(key, b"second")
    except AlreadyExistsError:
        return
    store.delete(key)
    raise RefusedError(
        "it lets a second create of the same key pass, so two machines could train this job at "
        "the same time: update its server to one that knows If-None-Match, or name another store"
    )
