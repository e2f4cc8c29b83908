"""What looks like a credential: it has no place in a job file, which is stored and passed on."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_NAME = re.compile(
    r"(?:^|_)(?:API_?KEYS?|ACCESS_?KEYS?|KEYS?|TOKENS?|SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE"
    r"|PWD|CREDENTIALS?|SAS|CONNECTION_STRING)(?:_ID)?$",
    re.IGNORECASE,
)
_VALUES = (
    (re.compile(r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"), "an AWS access key"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), "a private key"),
    (re.compile(r"\bgh[pousr]_[0-9A-Za-z]{30,}"), "a GitHub token"),
    (re.compile(r"\bglpat-[\w-]{20,}"), "a GitLab token"),
    (re.compile(r"\bhf_[0-9A-Za-z]{30,}"), "a Hugging Face token"),
    (re.compile(r"\bxox[abprs]-[\w-]{10,}"), "a Slack token"),
    (re.compile(r"\bsk-[\w-]{20,}"), "an API key"),
    (re.compile(r"\bAIza[\w-]{35}"), "a Google API key"),
    (re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"), "a signed token"),
    (re.compile(r"(?i)\b(?:AccountKey|SharedAccessSignature)="), "an Azure connection string"),
    (re.compile(r"(?i)[?&](?:sig|X-Amz-Signature|X-Goog-Signature)="), "a signed URL"),
)


def looks_secret(name: str, value: str) -> str | None:
    """Why this variable looks like a credential, in words that never show it; else None."""
    found = secret_value(value)
    if found is not None:
        return f"its value looks like {found}"
    # A path or a number under such a name is a setting: GOOGLE_..._CREDENTIALS=/run/key.json.
    if _NAME.search(name) and value and not value.startswith("/"):
        return "its name is that of a credential"
    return None


def secret_value(text: str) -> str | None:
    """What kind of credential ``text`` looks like, or None."""
    for pattern, kind in _VALUES:
        if pattern.search(text):
            return kind
    if "://" in text:
        try:
            parts = urlsplit(text)
        except ValueError:
            return None
        if parts.password:
            return "a URL with a password"
    return None
