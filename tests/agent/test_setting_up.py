"""Image, code and inputs: brought once, checked, and told in one line when they cannot be."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import queue
import tarfile
import threading

import pytest

from outlast_agent import effects, events, layout, records, setting_up
from outlast_agent.board import Board
from outlast_agent.context import Context
from outlast_agent.folders import Folders
from outlast_agent.hands import Hands
from outlast_agent.journal import open_journal
from outlast_agent.runtimes.base import CannotStartError, TryAgainError
from outlast_agent.runtimes.process import ProcessRuntime
from outlast_agent.setting_up import CannotSetUpError, SetUp
from outlast_agent.spec import InputSpec, JobSpec
from outlast_agent.stores.file import FileStore

DIGEST = "registry/digits@sha256:" + "a" * 64


class Engine(ProcessRuntime):
    """Pulls as it is told to."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)
        self.asked = []

    def prepare(self, image):
        self.asked.append(image)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def make(tmp_path):
    def made(runtime=None, **spec):
        value = JobSpec(
            job="digits", launch=1, machine="m", store="file:///unused", runtime="process",
            command=("true",), **spec,
        )  # fmt: skip
        return Context(
            spec=value, folders=Folders(tmp_path / "root", "digits"),
            store=FileStore(tmp_path / "store"), runtime=runtime or ProcessRuntime(),
            journal=open_journal(), boot_id="b", crash=pytest.fail, board=Board(),
            stop=threading.Event(),
        )  # fmt: skip

    return made


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(setting_up, "PULL_DELAY", 0.001)


def pack(**files: bytes) -> tuple[bytes, str]:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    packed = data.getvalue()
    return packed, hashlib.sha256(packed).hexdigest()


def failure(context):
    with pytest.raises(CannotSetUpError) as error:
        SetUp(context).run()
    assert "\n" not in str(error.value)
    return error.value.ending.cause, str(error.value)


def test_the_image_is_frozen_by_who_pulls_it_first(make):
    context = make(Engine(DIGEST), image="registry/digits:1.4")
    setup = SetUp(context)
    setup.run()
    assert setup.image == DIGEST
    record = records.load(
        records.Image, context.store.read(layout.image("digits")), key="image.json"
    )
    assert (record.reference, record.digest) == ("registry/digits:1.4", DIGEST)
    # A newer push of the tag changes nothing.
    engine = Engine(DIGEST)
    later = SetUp(make(engine, image="registry/digits:1.4"))
    later.run()
    assert engine.asked == [DIGEST]


def test_a_pull_is_tried_again(make):
    setup = SetUp(make(Engine(TryAgainError("no answer"), DIGEST), image="i"))
    setup.run()
    assert setup.image == DIGEST


def test_a_pull_that_never_works_is_told(make):
    cause, text = failure(make(Engine(TryAgainError("reg/i:1: no answer")), image="reg/i:1"))
    assert cause == "image"
    assert "given up after 6 tries: reg/i:1: no answer: check the name in `image`" in text
    cause, text = failure(make(Engine(CannotStartError("image", "no such tag")), image="reg/i:1"))
    assert (cause, text) == ("image", "no such tag")


def test_the_code_is_unpacked_read_only_and_once(make):
    data, sha256 = pack(**{"train.py": b"print(1)", "lib/a.py": b"a"})
    context = make(code_sha256=sha256)
    context.store.create(layout.code("digits", sha256), data)
    SetUp(context).run()
    code = context.folders.code
    assert (code / "lib/a.py").read_bytes() == b"a"
    assert (code / "train.py").stat().st_mode & 0o222 == 0
    before = (code / "train.py").stat().st_ino
    SetUp(context).run()
    assert (code / "train.py").stat().st_ino == before


def test_code_cut_short_by_a_kill_is_unpacked_again(make):
    data, sha256 = pack(**{"train.py": b"print(1)"})
    context = make(code_sha256=sha256)
    context.store.create(layout.code("digits", sha256), data)
    context.folders.code.mkdir(parents=True)
    (context.folders.code / "half").touch()
    SetUp(context).run()
    assert [path.name for path in context.folders.code.iterdir()] == ["train.py"]


def test_code_that_is_gone_or_altered(make):
    data, sha256 = pack(**{"train.py": b"print(1)"})
    context = make(code_sha256=sha256)
    cause, text = failure(context)
    assert cause == "code"
    assert "submit the job again" in text
    context.store.create(layout.code("digits", sha256), data + b"!")
    cause, text = failure(context)
    assert cause == "code"
    assert "was altered" in text


def test_inputs_files_folders_and_archives(make, tmp_path):
    source = tmp_path / "datasets"
    (source / "many/deep").mkdir(parents=True)
    (source / "one.txt").write_bytes(b"1")
    (source / "many/deep/two.txt").write_bytes(b"2")
    (source / "cats.tgz").write_bytes(pack(**{"cats/a.png": b"cat"})[0])
    url = f"file://{source}"
    inputs = (
        InputSpec(source=f"{url}/one.txt", to="/one"),
        InputSpec(source=f"{url}/many/", to="/many"),
        InputSpec(source=f"{url}/cats.tgz", to="/cats", unpack=True),
    )
    context = make(inputs=inputs)
    SetUp(context).run()
    at = context.folders.input
    assert (at(0) / "one.txt").read_bytes() == b"1"
    assert (at(1) / "deep/two.txt").read_bytes() == b"2"
    assert (at(2) / "cats/a.png").read_bytes() == b"cat"
    assert [path.name for path in at(2).iterdir()] == ["cats"]


@pytest.mark.parametrize("name", ["gone.txt", "gone/", ""])
def test_an_input_that_is_not_there(make, tmp_path, name):
    (tmp_path / "datasets").mkdir()
    url = f"file://{tmp_path}/datasets/{name}" if name else "file:///"
    cause, text = failure(make(inputs=(InputSpec(source=url, to="/x"),)))
    assert cause == "input"
    assert text.startswith(f"input {url}: ")
    assert "correct `from` in `inputs`, or put it there" in text or "write the whole URL" in text


def test_an_input_that_is_not_there_directly_below_the_root(make):
    url = "file:///outlast-has-no-such-file"
    _cause, text = failure(make(inputs=(InputSpec(source=url, to="/x"),)))
    assert "correct `from` in `inputs`, or put it there" in text


def test_an_input_that_is_no_archive(make, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/a.tar").write_bytes(b"nonsense")
    source = InputSpec(source=f"file://{tmp_path}/datasets/a.tar", to="/x", unpack=True)
    cause, text = failure(make(inputs=(source,)))
    assert cause == "input"
    assert f"input file://{tmp_path}/datasets/a.tar: a.tar cannot be unpacked" in text
    assert "`unpack` takes a whole zip or tar file" in text


def test_code_that_cannot_be_unpacked(make):
    data = b"no archive"
    sha256 = hashlib.sha256(data).hexdigest()
    context = make(code_sha256=sha256)
    context.store.create(layout.code("digits", sha256), data)
    cause, text = failure(context)
    assert cause == "code"
    assert text.startswith("the packed code of the job: ")
    assert text.endswith(": submit the job again")


@pytest.mark.parametrize("name", ["caf\u00e9.csv", "back\\slash"])
def test_an_input_whose_name_does_not_fit_is_told_at_once(make, tmp_path, name):
    (tmp_path / "datasets/all").mkdir(parents=True)
    (tmp_path / "datasets/all" / name).write_bytes(b"x")
    source = InputSpec(source=f"file://{tmp_path}/datasets/all/", to="/x")
    cause, text = failure(make(inputs=(source,)))
    assert cause == "input"
    assert "only printable ASCII" in text


def test_a_disk_that_is_full_when_the_command_starts_is_told(context, store):
    class Full(ProcessRuntime):
        def start(self, work):
            raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")

    posted: queue.Queue[events.Event] = queue.Queue()
    context = dataclasses.replace(context, runtime=Full())
    hands = Hands(context, None, posted.put, pytest.fail)
    hands.perform(effects.Restore(1))
    assert isinstance(posted.get(timeout=20), events.Restored)
    hands.perform(effects.Start(1))
    refused = posted.get(timeout=20)
    assert isinstance(refused, events.Refused)
    assert (refused.ending.outcome, refused.ending.cause) == ("setup-failed", "disk-full")
    assert "/somewhere" in refused.ending.message
    hands.close(5)
