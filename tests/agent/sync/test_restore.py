"""Store -> machine: verified, falling back with proof only, and held when it must be."""

from __future__ import annotations

import threading
import time

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from agent.scratch_kit import JOB, Slow, store_checkpoint, surely, write
from outlast.manifest import CheckpointId, NewerVersionError, dump_manifest
from outlast_agent import layout
from outlast_agent.stores.base import NotFoundError
from outlast_agent.surely import StoppedError
from outlast_agent.sync import newest, restore
from outlast_agent.sync.newest import Said
from outlast_agent.sync.restore import Downloader

EVER = 10**6


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "download"


def bring(store, folder, *, below=EVER, set_aside=()):
    return Downloader(store, JOB, lambda _: folder, surely()).newest(
        below=below, set_aside=set_aside
    )


def key(what):
    return layout.job_root(JOB) + what.key


def test_nothing(store, folder):
    assert bring(store, folder).manifest is None


def test_the_highest_attempt_then_the_highest_step(store, folder):
    store_checkpoint(store, 1, 99, [b"zombie"])
    wanted = store_checkpoint(store, 2, 7, [b"a", b"b"])
    store_checkpoint(store, 2, 6, [b"c"])
    found = bring(store, folder)
    assert found.manifest == wanted
    assert {(folder / each.key).read_bytes() for each in wanted.objects} == {b"a", b"b"}


def test_not_of_its_own_attempt_or_later_and_not_set_aside(store, folder):
    store_checkpoint(store, 1, 1, [b"1"])
    store_checkpoint(store, 1, 2, [b"2"])
    store_checkpoint(store, 2, 3, [b"3"])
    found = bring(store, folder, below=2, set_aside=["000001-000000000002"])
    assert str(found.manifest.id) == "000001-000000000001"


def test_a_truncated_object_is_proof_and_the_one_before_is_used(store, folder):
    old = store_checkpoint(store, 1, 1, [b"old"])
    new = store_checkpoint(store, 1, 2, [b"new"])
    (store.root / key(new.objects[0])).write_bytes(b"ne")
    found = bring(store, folder)
    assert found.manifest == old
    assert "read 2 times with other bytes" in found.damaged[new.id]


def test_a_missing_object_is_proof(store, folder):
    old = store_checkpoint(store, 1, 1, [b"old"])
    new = store_checkpoint(store, 1, 2, [b"new"])
    store.delete(key(new.objects[0]))
    found = bring(store, folder)
    assert found.manifest == old
    assert "is not there" in found.damaged[new.id]


def test_a_damaged_manifest_is_proof(store, folder):
    old = store_checkpoint(store, 1, 1, [b"old"])
    new = store_checkpoint(store, 1, 2, [b"new"])
    (store.root / key(new.id)).write_bytes(dump_manifest(new)[:-20])
    found = bring(store, folder)
    assert found.manifest == old
    assert "is damaged" in found.damaged[new.id]


def test_a_manifest_without_end_is_proof(store, folder, monkeypatch):
    old = store_checkpoint(store, 1, 1, [b"old"])
    new = store_checkpoint(store, 1, 2, [b"new"])
    monkeypatch.setattr(restore, "MAX_MANIFEST_BYTES", 4096)
    (store.root / key(new.id)).write_bytes(b"x" * 5000)
    found = bring(store, folder)
    assert found.manifest == old
    assert "longer than" in found.damaged[new.id]


def test_once_wrong_is_no_proof(store, folder):
    wanted = store_checkpoint(store, 1, 2, [b"new"])

    class OnceWrong(Slow):
        tried = 0

        def fetch(self, key, path):
            arrived = super().fetch(key, path)
            self.tried += 1
            if self.tried > 1:
                return arrived
            path.write_bytes(b"nex")
            return xxhash.xxh3_128_hexdigest(b"nex")

    found = bring(OnceWrong(store), folder)
    assert found.manifest == wanted
    assert found.damaged == {}


def test_a_store_that_is_away_is_no_proof(store, folder):
    wanted = store_checkpoint(store, 1, 2, [b"new"])
    store_checkpoint(store, 1, 1, [b"old"])
    slow = Slow(store)
    slow.away = True
    threading.Timer(0.5, lambda: setattr(slow, "away", False)).start()
    found = bring(slow, folder)
    assert found.manifest == wanted
    assert found.damaged == {}


def test_broken_off_while_it_waits(store, folder):
    store_checkpoint(store, 1, 2, [b"new"])
    slow, stop = Slow(store), threading.Event()
    slow.away = True
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        Downloader(slow, JOB, lambda _: folder, surely(stop)).newest(below=EVER, set_aside=())
    assert time.monotonic() - began < 3


def test_a_newer_format_is_not_passed_over(store, folder):
    store_checkpoint(store, 1, 1, [b"old"])
    new = store_checkpoint(store, 1, 2, [b"new"])
    path = store.root / key(new.id)
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":7'))
    with pytest.raises(NewerVersionError, match="update outlast"):
        bring(store, folder)


def test_what_was_swept_meanwhile_is_not_damaged(store, folder):
    """A spare downloads while the one that trains sweeps."""
    old = store_checkpoint(store, 1, 1, [b"old"])

    class Swept(Slow):
        def fetch(self, key, path):
            if old.objects[0].key in key:
                store_checkpoint(store, 1, 2, [b"new"])
                store.delete(layout.job_root(JOB) + old.id.key)
                store.delete(key)
                raise NotFoundError(f"fetch of {key}: nothing is there")
            return super().fetch(key, path)

    found = bring(Swept(store), folder)
    assert found.manifest.step == 2
    assert found.damaged == {}


def test_again_only_what_changed_is_brought_and_the_rest_goes(store, folder):
    first = store_checkpoint(store, 1, 1, [b"frozen", b"one"])
    downloader = Downloader(store, JOB, lambda _: folder, surely())
    downloader.newest(below=EVER, set_aside=())
    store_checkpoint(store, 1, 2, [b"two"], objects=first.objects[:1])
    fetched = []
    inner, store.fetch = store.fetch, lambda k, p: (fetched.append(k), inner(k, p))[1]
    found = downloader.newest(below=EVER, set_aside=())
    assert len(fetched) == 1
    assert downloader.fetched_bytes == len(b"frozenonetwo")
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {each.key for each in found.manifest.objects} | {found.manifest.id.key}


def test_an_object_that_went_and_is_named_again_is_brought_again(store, folder, tmp_path):
    first = store_checkpoint(store, 1, 1, [b"best"])
    downloader = Downloader(store, JOB, lambda _: folder, surely())
    downloader.newest(below=EVER, set_aside=())
    store_checkpoint(store, 1, 2, [b"worse"])
    downloader.newest(below=EVER, set_aside=())
    again = store_checkpoint(store, 1, 3, [], objects=first.objects)
    downloader.move(downloader.newest(below=EVER, set_aside=()).manifest, tmp_path / "scratch")
    assert (tmp_path / "scratch" / again.objects[0].key).read_bytes() == b"best"


def test_what_is_here_already_and_altered_is_brought_again(store, folder):
    manifest = store_checkpoint(store, 1, 1, [b"abc"])
    bring(store, folder)
    (folder / manifest.objects[0].key).write_bytes(b"abd")
    bring(store, folder)
    assert (folder / manifest.objects[0].key).read_bytes() == b"abc"


def test_moved_into_scratch_whole(store, folder, tmp_path):
    manifest = store_checkpoint(store, 1, 1, [b"abc", b"d"])
    downloader = Downloader(store, JOB, lambda _: folder, surely())
    downloader.newest(below=EVER, set_aside=())
    downloader.move(manifest, tmp_path / "scratch")
    found = {str(p.relative_to(tmp_path / "scratch")) for p in (tmp_path / "scratch").rglob("*.*")}
    assert manifest.id.key in found
    assert (tmp_path / "scratch" / manifest.objects[0].key).read_bytes() == b"abc"
    # For another attempt on this machine it is brought again.
    again = downloader.newest(below=EVER, set_aside=())
    downloader.move(again.manifest, tmp_path / "other")
    assert (tmp_path / "other" / manifest.objects[0].key).read_bytes() == b"abc"


def test_progress_is_told(store, folder):
    store_checkpoint(store, 1, 1, [b"abc", b"d"])
    told = []
    Downloader(
        store, JOB, lambda _: folder, surely(), lambda here, of: told.append((here, of))
    ).newest(below=EVER, set_aside=())
    assert told[-1] == (4, 4)


# Held --------------------------------------------------------------------------------------------

C = CheckpointId


@pytest.mark.parametrize(
    ("found", "damaged", "set_aside", "said", "missing"),
    [
        (None, {}, (), None, None),  # a new job
        (C(1, 40), {}, (), Said(1, 40), None),
        (C(1, 50), {}, (), Said(1, 40), None),
        (C(2, 10), {}, (), Said(1, 40), None),  # a later attempt stands on it
        (C(1, 40), {}, (), Said(3, 40, C(1, 40)), None),  # attempt 3 made nothing of its own
        (None, {}, (), Said(3, 40, C(1, 40)), "000001-000000000040"),
        (C(2, 60), {}, (), Said(3, 50, C(1, 40)), "000003-000000000050"),  # a zombie's
        (C(1, 40), {C(2, 60): "altered"}, (), Said(3, 50, C(1, 40)), "000003-000000000050"),
        (C(1, 40), {}, ("000002-000000000060",), Said(3, 50), "000003-000000000050"),
        (None, {}, (), Said(1, 40), "000001-000000000040"),
        (C(1, 30), {}, (), Said(1, 40), "000001-000000000040"),
        (C(1, 30), {C(1, 40): "altered"}, (), Said(1, 40), None),  # proof
        (None, {C(1, 40): "altered"}, (), Said(1, 40), "000001-000000000040"),  # nothing is left
        (C(1, 30), {}, ("000001-000000000040",), Said(1, 40), None),  # a person decided
        (None, {}, ("000001-000000000040",), Said(1, 40), None),
        (C(1, 20), {C(1, 30): "altered"}, (), Said(1, 40), "000001-000000000040"),
    ],
)
def test_less_than_was_said(found, damaged, set_aside, said, missing):
    assert newest.missing(found, damaged=damaged, set_aside=set_aside, said=said) == missing


numbers = st.builds(CheckpointId, st.integers(1, 3), st.integers(1, 5))


@given(st.sets(numbers), st.integers(1, 4), st.sets(numbers))
def test_candidates_are_in_order_and_allowed(listed, below, aside):
    found = newest.candidates(sorted(listed), below=below, set_aside=[str(id_) for id_ in aside])
    assert found == sorted(found, reverse=True)
    assert set(found) == {id_ for id_ in listed if id_.attempt < below} - aside


def test_write_helper_and_store_agree(store, tmp_path):
    """What the kit writes is what the library reads."""
    from outlast.checkpoint import load_newest

    write(tmp_path, 1, 3, [b"abc"])
    assert load_newest(tmp_path).step == 3
