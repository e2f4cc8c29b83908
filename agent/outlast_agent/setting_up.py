"""What a machine needs before it may claim: image, code, inputs and, ahead, the checkpoint.

All at once, each in a thread of its own; see :class:`SetUp`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from outlast_agent import layout, records
from outlast_agent.clock import stamp
from outlast_agent.context import Context
from outlast_agent.folders import remove_tree
from outlast_agent.outcome import Ending
from outlast_agent.runtimes.base import CannotStartError, TryAgainError
from outlast_agent.spec import InputSpec
from outlast_agent.stores.base import NotFoundError, RefusedError, StoreError
from outlast_agent.stores.keys import check_key
from outlast_agent.stores.open import open_store
from outlast_agent.surely import StoppedError, Surely
from outlast_agent.unpack import UnpackError, unpack

PULL_TRIES = 6
PULL_DELAY = 5.0
"""Seconds before the second try; doubled with each."""

MAX_CODE_BYTES = 1 << 30
MAX_INPUT_BYTES = 1 << 44


class CannotSetUpError(Exception):
    """It will not work by trying again."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.ending = Ending("setup-failed", cause, message)


class SetUp:
    """Brings image, code and inputs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._spec, self._folders = context.spec, context.folders
        self._store, self._runtime = context.store, context.runtime
        self.image: str | None = None
        """What to start, once :meth:`run` has returned."""

    def run(self, *also: Callable[[], None]) -> None:
        """Bring everything, and do what else is given, at once.

        Raises CannotSetUpError with the first thing that will never be, StoppedError, OSError.
        """
        tasks = [self._bring_image, self._bring_code, self._bring_inputs, *also]
        with ThreadPoolExecutor(len(tasks), thread_name_prefix="set-up") as pool:
            for future in [pool.submit(task) for task in tasks]:
                future.result()

    def _bring_image(self) -> None:
        wanted = self._spec.image
        if wanted is None:
            return
        key = layout.image(self._spec.job)
        surely = self._context.surely("image")
        frozen = self._frozen_image(surely, key)
        prepared = self._prepare(wanted if frozen is None else frozen)
        if frozen is None:
            record = records.Image(at=stamp(), reference=wanted, digest=prepared)
            if not surely.create(self._store, key, records.dump(record)):
                # Another machine was first, maybe with a newer push of the same tag: the job
                # stays with what was first.
                first = self._frozen_image(surely, key)
                prepared = self._prepare(first or prepared)
        self.image = prepared

    def _frozen_image(self, surely: Surely, key: str) -> str | None:
        try:
            data = surely.do(lambda: self._store.read(key))
            return records.load(records.Image, data, key=key).digest
        except NotFoundError:
            return None
        except records.RecordError as error:
            raise CannotSetUpError("image", str(error)) from error

    def _prepare(self, image: str) -> str:
        delay = PULL_DELAY
        for number in range(1, PULL_TRIES + 1):
            try:
                prepared = self._runtime.prepare(image)
            except CannotStartError as error:
                raise CannotSetUpError(error.cause, str(error)) from error
            except TryAgainError as error:
                self._context.board.put("image", str(error))
                if number == PULL_TRIES:
                    raise CannotSetUpError(
                        "image",
                        f"given up after {PULL_TRIES} tries: {error}: check the name in `image`, "
                        "the registry, and that this machine reaches it",
                    ) from error
                if self._context.stop.wait(delay):
                    raise StoppedError("image") from error
                delay *= 2
            else:
                self._context.board.put("image", None)
                return prepared or image
        raise AssertionError("the last try returns or raises")

    def _bring_code(self) -> None:
        sha256 = self._spec.code_sha256
        if sha256 is None:
            return
        folder, archive = self._folders.code, self._folders.home / "code.archive"
        if (folder.parent / "code.done").exists() and folder.is_dir():
            return
        self._folders.home.mkdir(parents=True, exist_ok=True)
        remove_tree(folder)
        key = layout.code(self._spec.job, sha256)
        surely = self._context.surely("code")
        for _ in range(2):
            try:
                surely.do(lambda: self._store.fetch(key, archive))
            except NotFoundError as error:
                raise CannotSetUpError("code", f"{error}; submit the job again") from error
            if _sha256(archive) == sha256:
                break
        else:
            raise CannotSetUpError("code", f"{key} was altered in the store: submit the job again")
        try:
            unpack(archive, folder, limit=MAX_CODE_BYTES)
        except UnpackError as error:
            text = f"the packed code of the job: {error}: submit the job again"
            raise CannotSetUpError("code", text) from error
        archive.unlink()
        _make_read_only(folder)
        (folder.parent / "code.done").touch()

    def _bring_inputs(self) -> None:
        for number, source in enumerate(self._spec.inputs):
            folder = self._folders.input(number)
            done = folder.with_name(f"{number}.done")
            if done.exists():
                continue
            remove_tree(folder)
            folder.mkdir(parents=True)
            try:
                self._bring_input(source, folder, self._context.surely(f"input {source.source}"))
            except (StoreError, UnpackError) as error:
                text = f"input {source.source}: {error}{_hint(error)}"
                raise CannotSetUpError("input", text) from error
            done.touch()

    def _bring_input(self, source: InputSpec, folder: Path, surely: Surely) -> None:
        """One file, or everything below a name that ends with a slash."""
        base, _, name = source.source.rstrip("/").rpartition("/")
        if not base or base.endswith(":/") or not name:
            raise RefusedError("it names no file: write the whole URL of a file or folder")
        # Directly below the root of this machine.
        store = open_store("file:///" if base == "file://" else base)
        entries = [] if source.source.endswith("/") else [name]
        if not entries:
            prefix = f"{name}/"
            entries = surely.do(lambda: [entry.key for entry in store.list(prefix)])
            if not entries:
                raise NotFoundError("nothing is below it")
        for key in entries:
            check_key(key, operation="fetch")  # a refusal that no waiting lifts
            target = folder.joinpath(*key.split("/")[-1 if key == name else 1 :])
            target.parent.mkdir(parents=True, exist_ok=True)
            surely.do(partial(store.fetch, key, target))
        if source.unpack:
            for key in entries:
                archive = folder.joinpath(*key.split("/")[-1 if key == name else 1 :])
                aside = folder.with_name(f"{folder.name}.packed")
                remove_tree(aside)
                aside.mkdir()
                unpack(archive.rename(aside / archive.name), folder, limit=MAX_INPUT_BYTES)
                remove_tree(aside)


def _hint(error: Exception) -> str:
    """What to do about an input that will never be."""
    if isinstance(error, NotFoundError):
        return ": correct `from` in `inputs`, or put it there"
    if isinstance(error, UnpackError):
        return ": `unpack` takes a whole zip or tar file: put another one there, or leave it out"
    return ""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _make_read_only(folder: Path) -> None:
    """The command's working folder stays as it was packed, on every machine."""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
