from __future__ import annotations

import pytest

from outlast_provisioning.credentials import looks_secret, secret_value


@pytest.mark.parametrize(
    "name",
    ["WANDB_API_KEY", "HF_TOKEN", "CLIENT_SECRET", "DB_PASSWORD", "AWS_ACCESS_KEY_ID", "password"],
)
def test_names_of_credentials(name: str) -> None:
    assert looks_secret(name, "x") == "its name is that of a credential"


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "KEYBOARD", "TF_CPP_MIN_LOG_LEVEL", "MONKEY", "SECRETARY"]
)
def test_names_that_only_begin_alike(name: str) -> None:
    assert looks_secret(name, "2") is None


def test_where_a_credential_lies_is_none() -> None:
    assert looks_secret("GOOGLE_APPLICATION_CREDENTIALS", "/run/key.json") is None


@pytest.mark.parametrize(
    "value",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a" * 36,
        "hf_" + "b" * 34,
        "-----BEGIN RSA PRIVATE KEY-----",
        "DefaultEndpointsProtocol=https;AccountKey=abc==",
        "https://host/container?sv=1&sig=abc",
        "postgres://me:word@host/db",
        "eyJ" + "a" * 10 + ".eyJ" + "b" * 10 + "." + "c" * 10,
    ],
)
def test_values_of_credentials(value: str) -> None:
    why = looks_secret("SETTING", value)
    assert why is not None
    assert value not in why


@pytest.mark.parametrize("value", ["2", "true", "s3://bucket/prefix", "http://[", "sketch-of-it"])
def test_values_that_are_settings(value: str) -> None:
    assert secret_value(value) is None
