"""How each cloud's client is made from a URL. Credentials come from the environment or the
machine's identity, as the cloud's own tools have it; emulators by the same variables
(``AWS_ENDPOINT_URL``, ``AZURE_STORAGE_ENDPOINT``, ``GOOGLE_BASE_URL``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from outlast_agent.stores.base import RefusedError
from outlast_agent.stores.object_errors import LOGIN, one_line
from outlast_agent.stores.objects import Client, ClientFactory, ObjectStore
from outlast_agent.stores.patience import LEAST_SECONDS
from outlast_agent.stores.retrying import Retrying

if TYPE_CHECKING:  # in the library's stubs only
    from obstore.store import ClientConfig, RetryConfig, S3Config

_NO_RETRY: RetryConfig = {"max_retries": 0}
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_GOOGLE_ENDPOINTS = ("GOOGLE_BASE_URL",)
_AZURE_ENDPOINTS = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")


def open_objects(url: str, environ: Mapping[str, str] | None = None) -> Retrying:
    """The store at an ``s3://``, ``az://`` or ``gs://`` URL; nothing is asked of it yet.

    Raises RefusedError for a URL or a variable that the client library cannot use.
    """
    env = os.environ if environ is None else environ
    connect = _FACTORIES[urlsplit(url).scheme](url, env)
    try:
        connect(LEAST_SECONDS)
    except Exception as error:  # the library's classes, and built-in ones for some faults
        said = one_line(error)
        raise RefusedError(
            f"the store {url} cannot be opened: {said}: correct the URL, or: "
            f"{LOGIN[urlsplit(url).scheme]}"
        ) from error
    return Retrying(ObjectStore(url, connect))


def _s3(url: str, env: Mapping[str, str]) -> ClientFactory:
    bucket, prefix = _parts(url, 1)
    endpoint = _first(env, _S3_ENDPOINTS)
    plain = endpoint.startswith("http://")
    settings: S3Config = {"endpoint": endpoint} if endpoint else {}

    def connect(seconds: float) -> Client:
        return S3Store(
            bucket,
            prefix=prefix,
            config=settings,
            # TLS guards the content already; hashing it again halves the rate.
            unsigned_payload=not plain,
            client_options=_options(seconds, plain),
            retry_config=_NO_RETRY,
        )

    return connect


def _azure(url: str, env: Mapping[str, str]) -> ClientFactory:
    account, container, prefix = _parts(url, 2)
    endpoint = _first(env, _AZURE_ENDPOINTS)

    def connect(seconds: float) -> Client:
        return AzureStore(
            container,
            account_name=account,
            prefix=prefix,
            client_options=_options(seconds, endpoint.startswith("http://")),
            retry_config=_NO_RETRY,
        )

    return connect


def _google(url: str, env: Mapping[str, str]) -> ClientFactory:
    bucket, prefix = _parts(url, 1)
    endpoint = _first(env, _GOOGLE_ENDPOINTS)

    def connect(seconds: float) -> Client:
        return GCSStore(
            bucket,
            prefix=prefix,
            client_options=_options(seconds, endpoint.startswith("http://")),
            retry_config=_NO_RETRY,
        )

    return connect


_FACTORIES: dict[str, Callable[[str, Mapping[str, str]], ClientFactory]] = {
    "s3": _s3,
    "az": _azure,
    "gs": _google,
}


def _parts(url: str, count: int) -> list[str]:
    """The first ``count`` names of the URL, and the rest, the prefix."""
    split = urlsplit(url)
    names = [part for part in f"{split.netloc}/{split.path}".split("/") if part]
    if len(names) < count or not split.netloc:
        form = {1: "bucket/prefix", 2: "account/container/prefix"}[count]
        raise RefusedError(f"{url!r} is not whole: write {split.scheme}://{form}")
    return [*names[:count], "/".join(names[count:])]


def _first(env: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((env[name] for name in names if env.get(name)), "")


def _options(seconds: float, plain: bool) -> ClientConfig:
    return {
        "timeout": timedelta(seconds=seconds),
        "connect_timeout": timedelta(seconds=5),
        "allow_http": plain,
    }
