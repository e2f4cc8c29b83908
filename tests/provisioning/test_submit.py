from __future__ import annotations

import sys
from pathlib import Path

import pytest

from outlast_agent import layout
from outlast_agent.records import Beat, dump, load
from outlast_agent.stores.base import RefusedError
from outlast_provisioning import submit as submit_module
from outlast_provisioning.checks import Checked, check_job_file
from outlast_provisioning.job import Job
from outlast_provisioning.packing import PackError
from outlast_provisioning.submit import TakenError, submit
from provisioning.simulated import MemoryStore


class Lax(MemoryStore):
    """Lets a second create pass."""

    def create(self, key: str, data: bytes | Path) -> None:
        self.content[key] = data.read_bytes() if isinstance(data, Path) else data


class Cut(MemoryStore):
    """Dies before the create of this key, as a killed submit would."""

    at = ""

    def create(self, key: str, data: bytes | Path) -> None:
        if self.at and self.at in key:
            raise KeyboardInterrupt
        super().create(key, data)


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    (tmp_path / "train.py").write_text("print(1)\n")
    path = tmp_path / "job.yaml"
    path.write_text(
        f"version: 1\nname: digits\ncode: .\ncommand: [{sys.executable}, train.py]\n"
        "store: s3://bucket/prefix\npools: [{provider: local}]\n"
    )
    return check_job_file(path, store=None, environ={})


def test_what_is_frozen(checked: Checked) -> None:
    store = MemoryStore()
    done = submit(checked, store)
    assert done.outcome == "created"
    job = load(Job, store.read(layout.job_file("digits")), key="")
    assert job == done.job
    assert job.store == "s3://bucket/prefix"
    assert job.code_sha256 is not None
    assert len(store.read(layout.code("digits", job.code_sha256))) == job.code_bytes
    beat = load(Beat, store.read(layout.beat("digits")), key="")
    assert (beat.phase, beat.attempt) == ("submitted", None)
    assert sorted(store.content) == [
        "beats/digits",
        layout.code("digits", job.code_sha256),
        "jobs/digits/job.json",
    ]


def test_again_with_the_same_content_changes_nothing(checked: Checked) -> None:
    store = MemoryStore()
    submit(checked, store)
    store.put(layout.beat("digits"), b"the daemon's own")
    before = dict(store.content)
    assert submit(checked, store).outcome == "same"
    assert store.content == before


def test_with_other_content_it_is_refused(checked: Checked) -> None:
    store = MemoryStore()
    submit(checked, store)
    other = Checked(
        checked.path, checked.file.model_copy(update={"env": {"A": "1"}}), checked.code, ()
    )
    job_before = store.read(layout.job_file("digits"))
    with pytest.raises(TakenError, match="differs in env: choose another name"):
        submit(other, store)
    assert store.read(layout.job_file("digits")) == job_before


@pytest.mark.parametrize("at", ["code/", "job.json"])
def test_cut_off_anywhere_it_can_be_repeated(checked: Checked, at: str) -> None:
    store = Cut()
    store.at = at
    with pytest.raises(KeyboardInterrupt):
        submit(checked, store)
    assert layout.job_file("digits") not in store.content
    store.at = ""
    assert submit(checked, store).outcome == "created"


def test_cut_off_before_the_first_beat_the_second_submit_repairs_it(checked: Checked) -> None:
    store = MemoryStore()
    submit(checked, store)
    store.delete(layout.beat("digits"))
    assert submit(checked, store).outcome == "same"
    assert layout.beat("digits") in store.content


def test_a_store_that_lets_a_second_create_pass_is_refused(checked: Checked) -> None:
    store = Lax()
    with pytest.raises(RefusedError, match="second create"):
        submit(checked, store)
    assert store.content == {}


def test_a_newer_job_is_not_judged(checked: Checked) -> None:
    store = MemoryStore()
    submit(checked, store)
    job = load(Job, store.read(layout.job_file("digits")), key="")
    store.put(layout.job_file("digits"), dump(job.model_copy(update={"version": 7})))
    with pytest.raises(ValueError, match="version 7"):
        submit(checked, store)


def test_no_room_to_pack_is_told(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(submit_module, "pack", full)  # a test cannot fill a disk
    store = MemoryStore()
    with pytest.raises(PackError, match=r"packing the code in .*: No space left .*set TMPDIR"):
        submit(checked, store)
    assert not list(store.list("jobs/"))
