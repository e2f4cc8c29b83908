"""Images, pulled from a real registry by a real engine."""

from __future__ import annotations

import docker
import pytest

from outlast_agent.runtimes.base import CannotStartError, TryAgainError
from outlast_agent.runtimes.docker import DockerRuntime

pytestmark = pytest.mark.needs("docker", "registry")


@pytest.fixture
def runtime() -> DockerRuntime:
    return DockerRuntime()


def test_a_tag_becomes_its_digest_and_stays_it(
    runtime: DockerRuntime, engine: docker.DockerClient, small_image: str
) -> None:
    digest = runtime.prepare(small_image)
    assert digest is not None
    assert digest.startswith(small_image.removesuffix(":1") + "@sha256:")
    assert runtime.prepare(digest) == digest
    engine.images.remove(small_image, force=True)  # with its last name it goes
    assert engine.images.list(name=digest.split("@", maxsplit=1)[0]) == []
    assert runtime.prepare(digest) == digest  # pulled again


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "names no image"),
        ("{registry}/outlast/empty:2", "cannot be pulled.*manifest unknown.*correct `image:`"),
        ("{registry}/other:1", "cannot be pulled.*correct `image:`"),
        ("Not An Image", "invalid reference format"),
    ],
)
def test_an_image_that_does_not_exist_is_told(
    runtime: DockerRuntime, small_image: str, reference: str | None, message: str
) -> None:
    image = reference and reference.format(registry=small_image.split("/", maxsplit=1)[0])
    with pytest.raises(CannotStartError, match=message) as caught:
        runtime.prepare(image)
    assert caught.value.cause == "image"
    assert "\n" not in str(caught.value)


def test_a_registry_that_does_not_answer_may_answer_later(runtime: DockerRuntime) -> None:
    with pytest.raises(TryAgainError, match=r"cannot be pulled now.*connection refused"):
        runtime.prepare("127.0.0.1:9/outlast:1")
