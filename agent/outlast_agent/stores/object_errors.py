"""What an object store's refusals and faults mean, in one line each. Pure."""

from __future__ import annotations

import re

from obstore import exceptions

from outlast_agent.stores.base import (
    AlreadyExistsError,
    NoLoginError,
    NotFoundError,
    RefusedError,
    StoreError,
    UnavailableError,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})", re.DOTALL)
_QUERY = re.compile(r"(https?://[^\s?)\"']*)\?[^\s)\"']*")
_NO_CONTAINER = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "InvalidBucketName"}
_ABOUT_LOGIN = (
    "169.254.169.254",
    "metadata.google.internal",
    "token request",
    "MissingCredentials",
    "NoCredentials",
)
_PASSING = {408, 409, 425, 429}

LOGIN = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION), as "
    "`aws configure export-credentials --format env` prints them, or give this machine a role",
    "az": "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY, or run `az login` and set "
    "AZURE_USE_AZURE_CLI=true, or give this machine an identity",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`, "
    "or give this machine a service account",
}
_RIGHTS = {
    "s3": "allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there "
    "(without the last, what is missing looks forbidden)",
    "az": "give this identity or key the role Storage Blob Data Contributor there",
    "gs": "give this account the role Storage Object User there",
}


def translate(error: Exception, *, operation: str, key: str, url: str) -> StoreError:
    """The error of :mod:`outlast_agent.stores.base` that ``error`` of the client library is."""
    scheme = url.split(":", 1)[0]
    text = str(error)
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    code = found[1] if (found := _CODE.search(text)) else None
    where = f"{operation} of {key} in {url}" if key else f"{operation} in {url}"

    said = _summary(text, status, code)
    if isinstance(error, exceptions.AlreadyExistsError | FileExistsError):
        # S3 answers 409 to a create while another request for the name is under way, which may
        # come to nothing; that something is there it says with 412. Azure says that with 409.
        if status == 409 and code != "BlobAlreadyExists" and (code or scheme != "az"):
            return UnavailableError(f"{where}: {said}: another request is under way: try again")
        return AlreadyExistsError(f"{where}: it exists")
    if code in _NO_CONTAINER:
        return RefusedError(f"{where}: {said}: create the bucket or container, or correct the URL")
    if isinstance(error, exceptions.NotFoundError | FileNotFoundError):
        return NotFoundError(f"{where}: nothing is there")
    if any(words in text for words in _ABOUT_LOGIN):
        # Asked of the machine's identity, not of the store: its 403 or 404 is about that.
        kind = RefusedError if status in {400, 401, 403, 404} else NoLoginError
        return kind(f"{where}: no credentials: {said}: {LOGIN[scheme]}")
    if isinstance(error, exceptions.UnauthenticatedError) or status == 401:
        return RefusedError(f"{where}: {said}: {LOGIN[scheme]}")
    if isinstance(error, exceptions.PermissionDeniedError | PermissionError) or status == 403:
        return RefusedError(f"{where}: {said}: {_RIGHTS[scheme]}; or {LOGIN[scheme]}")
    if status in {301, 307} or code == "AuthorizationHeaderMalformed":
        return RefusedError(f"{where}: {said}: the bucket is in another region: set AWS_REGION")
    if isinstance(error, exceptions.PreconditionError):
        return UnavailableError(f"{where}: {said}: it changed meanwhile: try again")
    if isinstance(
        error,
        exceptions.NotSupportedError
        | exceptions.InvalidPathError
        | exceptions.UnknownConfigurationKeyError,
    ) or (status is not None and 400 <= status < 500 and status not in _PASSING):
        return RefusedError(f"{where}: {said}: correct the URL or the store's settings")
    return UnavailableError(f"{where}: {said}: {_passing_hint(text, status)}")


def one_line(said: Exception | str) -> str:
    """The first line of what the library says, without what may be a secret."""
    # A query may hold a signature, and what follows the first line is the library's inside.
    return _QUERY.sub(r"\1", str(said).strip().split("\n", maxsplit=1)[0])[:300]


def _passing_hint(text: str, status: int | None) -> str:
    if status is not None:
        return "the store's own fault or too many requests: try again later"
    if "dns error" in text or "failed to lookup" in text:
        return "check the name in the URL, and the network"
    return "check the network and the endpoint, then try again"


def _summary(text: str, status: int | None, code: str | None) -> str:
    if code or status:
        message = found[1].split("\n")[0].strip() if (found := _MESSAGE.search(text)) else ""
        return " ".join(part for part in (str(status or ""), code or "", message) if part)
    return one_line(text)
