"""Object stores when the server or the network is not what one hopes for."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import S3Store

from agent.stores import servers
from outlast_agent.stores import clients, objects
from outlast_agent.stores.base import (
    AlreadyExistsError,
    NoLoginError,
    NotFoundError,
    RefusedError,
    StoreError,
    UnavailableError,
)
from outlast_agent.stores.objects import ObjectStore
from outlast_agent.stores.open import open_store
from outlast_agent.stores.probe import probe
from outlast_agent.stores.retrying import Retrying

MIB = 1 << 20
Use = Callable[[str], None]
s3 = pytest.mark.needs("moto")
azure = pytest.mark.needs("azurite")


def one_clear_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    return f"s3://{servers.BUCKET}/{request.node.name}"


@s3
def test_a_server_that_passes_over_the_condition_is_refused(
    s3_endpoint: str, s3_environment: Use, url: str
) -> None:
    def fault(exchange: servers.Exchange) -> None:
        exchange.headers = {
            name: value
            for name, value in exchange.headers.items()
            if name.lower() != "if-none-match"
        }

    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)
        store = open_store(url)
        with pytest.raises(RefusedError, match=r"lets a second create.*another store") as caught:
            probe(store)
        assert url in one_clear_line(caught.value)
        assert list(store.list("")) == []


@s3
def test_a_lost_answer_to_a_create_is_settled(
    s3_endpoint: str, s3_environment: Use, url: str, tmp_path: Path
) -> None:
    lose = 1

    def fault(exchange: servers.Exchange) -> None:
        nonlocal lose
        if exchange.method == "PUT" and lose:
            exchange.lose_answer = True
            lose -= 1

    (tmp_path / "object").write_bytes(b"x" * (3 * MIB))
    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)
        store = open_store(url)
        store.create("attempts/000001.json", b"nonce")
        lose = 1
        store.create("objects/1", tmp_path / "object")
        assert lose == 0
        assert store.read("attempts/000001.json") == b"nonce"
        assert store.read("objects/1") == b"x" * (3 * MIB)


@s3
def test_passing_faults_are_waited_for(s3_endpoint: str, s3_environment: Use, url: str) -> None:
    answers = [503, 500, 429]

    def fault(exchange: servers.Exchange) -> None:
        exchange.status = answers.pop() if answers else None

    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)
        store = open_store(url)
        store.create("k", b"1")
        assert answers == []
        answers = [500]
        assert [entry.key for entry in store.list("")] == ["k"]


@s3
def test_a_refusal_is_told_at_once_with_what_to_do(
    s3_endpoint: str, s3_environment: Use, url: str
) -> None:
    asked = 0

    def fault(exchange: servers.Exchange) -> None:
        nonlocal asked
        asked += 1
        exchange.status = 403

    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)
        with pytest.raises(
            RefusedError, match=r"cannot be used: create of .*s3:PutObject"
        ) as caught:
            probe(open_store(url))
        assert one_clear_line(caught.value)
        assert asked == 1


@s3
def test_an_answer_that_does_not_come_in_time(
    s3_endpoint: str, s3_environment: Use, url: str
) -> None:
    def fault(exchange: servers.Exchange) -> None:
        exchange.delay = 3.0

    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)

        def connect(seconds: float) -> S3Store:
            options = {"timeout": "300ms", "allow_http": True}
            return S3Store(servers.BUCKET, client_options=options, retry_config={"max_retries": 0})

        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="create of k"):
            ObjectStore(url, connect).create("k", b"1")
        assert time.monotonic() - begun < 2


@s3
def test_an_upload_over_a_link_that_became_slow_gets_the_time_it_needs(
    s3_endpoint: str, s3_environment: Use, url: str
) -> None:
    seconds = {"now": 0.0}

    def fault(exchange: servers.Exchange) -> None:
        exchange.delay = seconds["now"]

    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)
        limits: list[float] = []

        def connect(allowed: float) -> S3Store:
            limits.append(allowed)  # all times a hundredth of what they are
            options = {"timeout": timedelta(seconds=allowed / 100), "allow_http": True}
            return S3Store(servers.BUCKET, client_options=options, retry_config={"max_retries": 0})

        plain = ObjectStore(url, connect, clock=lambda: time.monotonic() * 100)
        store = Retrying(plain, sleep=lambda _seconds: None)
        content = bytes(8 * MIB)
        store.create("fast", content)
        seconds["now"] = limits[0] / 100 + 1.0
        store.create("slow", memoryview(content))
        assert max(limits) > limits[0]
        assert store.read("slow") == content


@pytest.mark.parametrize(
    ("endpoint", "unsigned"), [("", "true"), ("https://h", "true"), ("http://h", "false")]
)
def test_payloads_go_unsigned_under_tls_and_only_there(endpoint: str, unsigned: str) -> None:
    env = {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    client = clients._s3("s3://bucket/prefix", env)(30.0)
    assert isinstance(client, S3Store)
    assert client.config["unsigned_payload"] == unsigned


@s3
@azure
@pytest.mark.parametrize("scheme", ["s3", "az"])
def test_a_bucket_that_does_not_exist_is_no_proof_of_anything(
    request: pytest.FixtureRequest, scheme: str, tmp_path: Path
) -> None:
    if scheme == "s3":
        request.getfixturevalue("s3_environment")(request.getfixturevalue("s3_endpoint"))
        store = open_store("s3://no-such-bucket/prefix")
    else:
        request.getfixturevalue("azure_environment")(request.getfixturevalue("azure_endpoint"))
        store = open_store(f"az://{servers.ACCOUNT}/no-such-container/prefix")
    for use in (
        lambda: store.read("k"),
        lambda: store.fetch("k", tmp_path / "out"),
        lambda: store.create("k", b""),
        lambda: store.put("k", b""),
        lambda: list(store.list("")),
        lambda: probe(store),
    ):
        with pytest.raises(RefusedError, match="create the bucket or container") as caught:
            use()
        one_clear_line(caught.value)


@azure
def test_a_wrong_key_is_told(
    azure_endpoint: str, azure_environment: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure_environment(azure_endpoint)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    with pytest.raises(RefusedError, match=r"403.*AZURE_STORAGE_ACCOUNT_KEY") as caught:
        open_store(f"az://{servers.ACCOUNT}/{servers.BUCKET}/p").read("k")
    assert "c2VjcmV0" not in one_clear_line(caught.value)


def test_nobody_listens(s3_environment: Use) -> None:
    s3_environment(f"http://127.0.0.1:{servers.free_port()}")
    with pytest.raises(UnavailableError, match=r"does not answer.*check the network") as caught:
        probe(open_store("s3://some-bucket/p"))
    one_clear_line(caught.value)


@s3
def test_a_file_too_large_for_memory_goes_up_in_parts(
    s3_endpoint: str,
    s3_environment: Use,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    methods = []

    def fault(exchange: servers.Exchange) -> None:
        methods.append(exchange.method)

    # The limit is lowered: a file of 256 MiB would take longer and show nothing else.
    monkeypatch.setattr(objects, "LARGE_BYTES", 20 * MIB)
    content = bytes(range(256)) * (40 * MIB // 256)
    (tmp_path / "in").write_bytes(content)
    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)
        store = open_store(url)
        store.create("outputs/1/model.keras", tmp_path / "in")
        assert methods.count("PUT") == 3
        store.fetch("outputs/1/model.keras", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == content
        with pytest.raises(AlreadyExistsError):
            store.create("outputs/1/model.keras", tmp_path / "in")


@s3
def test_an_object_that_changes_while_it_is_read_is_not_mixed(
    s3_endpoint: str, s3_environment: Use, url: str
) -> None:
    gets = 0

    def fault(exchange: servers.Exchange) -> None:
        nonlocal gets
        gets += exchange.method == "GET"
        if exchange.method == "GET" and gets == 2:
            other.put("k", b"b" * (20 * MIB))

    s3_environment(s3_endpoint)
    other = open_store(url)
    other.put("k", b"a" * (20 * MIB))
    with servers.proxy(s3_endpoint, fault) as endpoint:
        s3_environment(endpoint)
        content = open_store(url).read("k")  # the second try of all of it
    assert content == b"b" * (20 * MIB)


@s3
def test_keys_of_another_prefix_are_not_seen(
    s3_endpoint: str, s3_environment: Use, url: str
) -> None:
    s3_environment(s3_endpoint)
    open_store(f"{url}/one").create("k", b"1")
    two = open_store(f"{url}/one two")
    assert list(two.list("")) == []
    with pytest.raises(NotFoundError):
        two.read("k")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("http://host/x", "write file:///folder, s3://bucket/prefix"),
        ("/srv/store", "write file:///folder"),
        ("", "write file:///folder"),
        ("file://relative/path", "whole path"),
        ("s3://", "write s3://bucket/prefix"),
        ("s3:///x", "write s3://bucket/prefix"),
        ("az://account", "write az://account/container/prefix"),
        ("gs://", "write gs://bucket/prefix"),
    ],
)
def test_what_is_no_store_is_told(bad: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        open_store(bad)
    one_clear_line(caught.value)


@pytest.mark.parametrize("bad", ["s3://me:secret@b/x", "az://a/c?sig=secret", "s3://b/x#secret"])
def test_a_url_with_credentials_is_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(RefusedError, match="no credentials") as caught:
        open_store(bad)
    assert "secret" not in str(caught.value)


def test_settings_that_the_client_cannot_use_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "not base64!!")
    with pytest.raises(RefusedError, match=r"cannot be opened.*ACCOUNT_KEY") as caught:
        open_store("az://account/container/p")
    assert "not base64" not in one_clear_line(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://b/p", ["AWS_ACCESS_KEY_ID", "aws configure export-credentials"]),
        ("az://a/c", ["AZURE_STORAGE_ACCOUNT_KEY", "az login"]),
        ("gs://b/p", ["GOOGLE_APPLICATION_CREDENTIALS", "gcloud auth application-default login"]),
    ],
)
def test_without_credentials_and_identity_it_says_what_to_set(url: str, words: list[str]) -> None:
    from outlast_agent.stores.object_errors import translate

    # Of a laptop: nobody answers at the metadata address.
    error = RuntimeError("error sending request for url (http://169.254.169.254/latest): timed out")
    told = translate(error, operation="create", key="k", url=url)
    assert isinstance(told, NoLoginError)
    assert all(word in one_clear_line(told) for word in words)


def test_an_error_shows_no_signature() -> None:
    from outlast_agent.stores.object_errors import translate

    error = RuntimeError("PUT https://a.blob.core.windows.net/c/k?sig=SECRET&se=1 failed\nDebug")
    told = translate(error, operation="put", key="k", url="az://a/c")
    assert isinstance(told, StoreError)
    assert "SECRET" not in str(told)


@pytest.mark.parametrize(
    ("url", "status", "code", "exists"),
    [
        ("s3://b/p", 412, "PreconditionFailed", True),
        ("s3://b/p", 409, "ConditionalRequestConflict", False),
        ("s3://b/p", 409, "", False),
        ("gs://b/p", 409, "", False),
        ("az://a/c", 409, "BlobAlreadyExists", True),
        ("az://a/c", 409, "", True),
        ("az://a/c", 409, "SnapshotsPresent", False),
    ],
)
def test_a_conflict_is_not_yet_an_object(url: str, status: int, code: str, exists: bool) -> None:
    from obstore.exceptions import AlreadyExistsError as Exists

    from outlast_agent.stores.object_errors import translate

    body = f"<Error><Code>{code}</Code></Error>" if code else ""
    error = Exists(f"Server returned non-2xx status code: {status} Conflict: {body}")
    told = translate(error, operation="create", key="k", url=url)
    assert type(told) is (AlreadyExistsError if exists else UnavailableError)
