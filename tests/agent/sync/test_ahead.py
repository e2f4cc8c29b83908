"""Objects go up as they are finished, before there is a manifest that names them."""

from __future__ import annotations

import threading
import time

from agent.daemon_kit import until
from agent.scratch_kit import JOB, Slow, Uploading, ref, write
from outlast_agent import layout
from outlast_agent.sync import upload
from outlast_agent.sync.cadence import Cadence
from outlast_agent.sync.whole import Scratch


def lay(scratch, data, attempt=1):
    """One whole object of a save that is under way."""
    each = ref(data, attempt)
    path = scratch / each.key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(".new.tmp").write_bytes(data)
    path.with_name(".new.tmp").rename(path)  # it appears whole, as the library has it
    return layout.job_root(JOB) + each.key


def test_objects_go_up_before_their_manifest_is_there(store, scratch):
    slow = Slow(store)
    with Uploading(slow, scratch) as up:
        lay(scratch, b"zombie", attempt=2)
        early = [lay(scratch, b"%d" % n) for n in range(3)]
        up.uploader.look()
        until(lambda: sorted(slow.created) == sorted(early))
        write(scratch, 1, 1, [b"0", b"1", b"2", b"3"])
        up.flush()
    assert up.steps() == [1]
    assert len(slow.created) == 5  # each once, and the manifest
    assert up.durable[0].uploaded == 4


def test_what_no_manifest_ever_names_is_swept_and_what_one_will_name_is_not(
    store, scratch, monkeypatch
):
    monkeypatch.setattr(upload, "SWEEP_SECONDS", 0.0)
    with Uploading(store, scratch) as up:
        failed, coming = lay(scratch, b"failed"), lay(scratch, b"coming")
        up.uploader.look()

        def there():
            return {entry.key for entry in store.list(layout.objects(JOB))}

        until(lambda: there() == {failed, coming} and not up.uploader._sending.busy)
        (scratch / failed.removeprefix(layout.job_root(JOB))).unlink()  # as a save that fails does
        for step in (1, 2):
            write(scratch, 1, step, [b"%d" % step])
            up.uploader.look()
            until(lambda step=step: step in up.steps())
        until(lambda: failed not in there())
        assert coming in there()
        write(scratch, 1, 3, [b"failed", b"coming"])  # the very bytes come again
        up.flush()
        assert up.steps()[-1] == 3
        assert {failed, coming} <= there()


def test_saves_that_are_not_to_go_up_yet_do_not_go_up_early(store, scratch):
    slow = Slow(store)
    with Uploading(slow, scratch, every=3600) as up:
        write(scratch, 1, 1, [b"1"])
        up.uploader.look()
        until(lambda: up.steps() == [1])
        key = lay(scratch, b"early")
        up.uploader.look()
        time.sleep(0.2)
        assert key not in slow.created
        up.uploader.rush(time.monotonic() + 30)
        until(lambda: key in slow.created)


def test_what_an_early_object_should_not_be_is_left_to_its_manifest(store, scratch, tmp_path):
    slow = Slow(store)
    with Uploading(slow, scratch) as up:
        (tmp_path / "secret").write_bytes(b"secret")
        key = lay(scratch, b"secret").removeprefix(layout.job_root(JOB))
        (scratch / key).unlink()
        (scratch / key).symlink_to(tmp_path / "secret")
        honest = lay(scratch, b"honest")
        up.uploader.look()
        until(lambda: slow.created == [honest])
        assert up.refused == []
        (scratch / key).unlink()
        write(scratch, 1, 1, [b"secret", b"honest"])
        up.flush()
        assert up.steps() == [1]


def test_uploads_leave_the_link_to_others_until_there_is_a_notice(store, scratch, monkeypatch):
    slow = Slow(store, 0.1)
    write(scratch, 1, 1, [b"%d" % n for n in range(40)])
    with Uploading(slow, scratch) as up:
        until(lambda: slow.created)
        time.sleep(0.5)
        assert len(slow.created) <= 12  # four in each 0.4 s; twenty without a rest
        begun = time.monotonic()
        up.uploader.rush(begun + 60)
        up.flush()
        assert time.monotonic() - begun < 2.5
    assert up.steps() == [1]


def test_what_is_saved_while_it_looks_is_durable_before_a_flush_is_answered(
    store, scratch, monkeypatch
):
    done, uploading = threading.Event(), Uploading(store, scratch)
    looks, newer_than = [], Scratch.newer_than

    def late(self, durable):
        found = newer_than(self, durable)
        looks.append(found)
        if len(looks) == 1:  # the program saves, ends, and is flushed, before this is judged
            write(scratch, 1, 5, [b"the last"])
            uploading.uploader.flush(None, done.set)
        return found

    monkeypatch.setattr(Scratch, "newer_than", late)
    with uploading:
        assert done.wait(10)
        assert uploading.steps() == [5]


def test_uploads_follow_from_what_the_latest_took(store, scratch):
    slow = Slow(store, 0.2)
    cadence = Cadence(between_losses=600.0)
    with Uploading(slow, scratch, cadence=cadence) as up:
        assert up.uploader.every is None
        for step in (1, 2):
            write(scratch, 1, step, [b"x%d" % step * 1000])
            up.uploader.look()
        until(lambda: 1 in up.steps() or 2 in up.steps())
        first = up.steps()
        every = up.uploader.every
        # 0.2 s behind training, a tenth of which it feels, and a loss each 600 s: 2 s and more.
        assert 2.0 < every < 60.0
        write(scratch, 1, 3, [b"more"])
        up.uploader.look()
        time.sleep(0.3)
        assert up.steps() == first
        up.flush()  # waits for no cadence
        assert up.steps() == [*first, 3]
