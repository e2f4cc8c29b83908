"""What a Docker engine's refusals mean: nothing to be done by trying again, or a passing fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from docker.errors import APIError, DockerException

from outlast_agent.runtimes.base import CannotStartError, TryAgainError, Work

_NO_SPACE = "no space left on device"
# An answer of the registry that will be the same tomorrow. What is not here passes or not.
_NO_IMAGE = {
    "manifest unknown": "correct `image:`, or push it",
    "not found": "correct `image:`, or push it",
    "name unknown": "correct `image:`, or push it",
    "repository does not exist": "correct `image:`, or let this machine log in to the registry",
    "access denied": "correct `image:`, or let this machine log in to the registry",
    "unauthorized": "let this machine log in to the registry",
    "no basic auth credentials": "let this machine log in to the registry",
    "invalid reference format": "correct `image:`",
    "no matching manifest": "build it for this machine's kind of processor",
}


def one_line(error: Exception) -> str:
    """What ``error`` says, without the library's wrapping."""
    text = error.explanation if isinstance(error, APIError) and error.explanation else error
    return " ".join(str(text).split())[:300]


def repository(image: str) -> str:
    """``registry:5000/name`` of ``registry:5000/name:tag`` or of ``...@sha256:...``."""
    name = image.split("@", maxsplit=1)[0]
    last = name.rsplit("/", maxsplit=1)[-1]
    return name[: -len(last)] + last.split(":", maxsplit=1)[0]


@contextmanager
def image_faults(image: str) -> Iterator[None]:
    """Translate what goes wrong while ``image`` is pulled."""
    try:
        yield
    except APIError as error:
        said = one_line(error)
        if _NO_SPACE in said:
            raise CannotStartError(
                "disk-full", f"no room to pull {image}: choose a larger disk: {said}"
            ) from error
        for words, hint in _NO_IMAGE.items():
            if words in said.lower():
                raise CannotStartError(
                    "image", f"{image} cannot be pulled: {said}: {hint}"
                ) from error
        raise TryAgainError(f"{image} cannot be pulled now: {said}") from error
    except (DockerException, requests.exceptions.RequestException) as error:
        raise TryAgainError(f"{image} cannot be pulled now: {one_line(error)}") from error


@contextmanager
def start_faults(work: Work) -> Iterator[None]:
    """Translate what goes wrong while a container is made and started."""
    try:
        yield
    except APIError as error:
        said = one_line(error)
        low = said.lower()
        if "could not select device driver" in low or "nvidia-container" in low:
            raise CannotStartError(
                "error",
                f"the engine cannot give the job {work.resources.gpus} GPUs: {said}: use an image "
                "of the machine with NVIDIA's container toolkit, or set resources.gpus to 0",
            ) from error
        if _NO_SPACE in low:
            raise CannotStartError(
                "disk-full", f"no room to start {work.image}: choose a larger disk: {said}"
            ) from error
        if "no such image" in low:
            raise CannotStartError("image", f"{work.image} is not here any more: {said}") from error
        if "executable file not found" in low or "no command specified" in low:
            raise CannotStartError(
                "command", f"{work.command[0]!r} is not in {work.image}: {said}"
            ) from error
        if error.status_code is not None and 400 <= error.status_code < 500:
            raise CannotStartError(
                "error", f"the engine refuses to start {work.image}: {said}"
            ) from error
        raise
