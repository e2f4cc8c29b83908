from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.stores import servers
from outlast_agent.stores.base import Store
from outlast_agent.stores.open import open_store


@pytest.fixture(scope="module")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.moto(tmp_path_factory.mktemp("moto") / "log") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def azure_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("azurite")
    with servers.azurite(folder, folder / "log") as endpoint:
        yield endpoint


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what a client of an S3 server at an endpoint finds in its environment."""

    def use(endpoint: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")

    return use


@pytest.fixture
def azure_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """As ``s3_environment``, for Azure."""

    def use(endpoint: str) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", endpoint)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", servers.ACCOUNT_KEY)

    return use


@pytest.fixture(scope="module")
def google_endpoint(s3_endpoint: str) -> Iterator[str]:
    with servers.google(s3_endpoint) as endpoint:
        yield endpoint


@pytest.fixture
def google_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """As ``s3_environment``, for Google."""

    def use(endpoint: str) -> None:
        account = {"gcs_base_url": endpoint, "disable_oauth": True}
        empty = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        path = tmp_path / "account.json"
        path.write_text(json.dumps(account | empty))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(path))
        monkeypatch.setenv("GOOGLE_BASE_URL", endpoint)

    return use


_count = 0


@pytest.fixture(
    params=[
        "file",
        pytest.param("s3", marks=pytest.mark.needs("moto")),
        pytest.param("az", marks=pytest.mark.needs("azurite")),
        pytest.param("gs", marks=pytest.mark.needs("moto")),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    global _count  # noqa: PLW0603 - each test its own prefix
    _count += 1
    if request.param == "file":
        return open_store(f"file://{tmp_path}/the store")
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3_endpoint")
        request.getfixturevalue("s3_environment")(endpoint)
        return open_store(f"s3://{servers.BUCKET}/some prefix/{_count}")
    if request.param == "gs":
        endpoint = request.getfixturevalue("google_endpoint")
        request.getfixturevalue("google_environment")(endpoint)
        return open_store(f"gs://{servers.BUCKET}/google/{_count}")
    endpoint = request.getfixturevalue("azure_endpoint")
    request.getfixturevalue("azure_environment")(endpoint)
    return open_store(f"az://{servers.ACCOUNT}/{servers.BUCKET}/some prefix/{_count}")
