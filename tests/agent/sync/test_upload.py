"""Scratch -> store: only what is whole, honest and the attempt's own; the newest first."""

from __future__ import annotations

import os
import threading
import time

from agent.daemon_kit import until
from agent.scratch_kit import JOB, Slow, Uploading, ids, ref, store_checkpoint, write
from outlast.manifest import dump_manifest
from outlast_agent import layout
from outlast_agent.sync import upload


def test_whole_checkpoints_become_durable_the_newest_alone(store, scratch):
    for step in (1, 2, 3):
        write(scratch, 1, step, [b"weights %d" % step, b"frozen"])
    with Uploading(store, scratch) as up:
        up.flush()
        assert up.steps() == [3]
        write(scratch, 1, 4, [b"weights 4", b"frozen"])
        up.uploader.look()
        until(lambda: up.steps() == [3, 4])
    assert up.durable[1].uploaded == len(b"weights 4")  # what is there is not sent again
    assert ids(store) == ["000001-000000000003", "000001-000000000004"]


def test_the_manifest_is_last(store, scratch):
    slow = Slow(store, 0.01)
    write(scratch, 1, 1, [b"a" * n for n in range(1, 30)])
    with Uploading(slow, scratch) as up:
        up.flush()
    assert "/checkpoints/" in slow.created[-1]
    assert sum("/objects/" in key for key in slow.created) == 29


def test_a_listing_every_two_seconds_is_the_truth(store, scratch, monkeypatch):
    monkeypatch.setattr(upload, "LOOK_SECONDS", 0.05)  # no watch here: nobody calls look()
    with Uploading(store, scratch) as up:
        write(scratch, 1, 1, [b"a"])
        until(lambda: up.steps() == [1])


def test_a_restarted_daemon_goes_on_where_the_other_was(store, scratch):
    write(scratch, 1, 1, [b"a", b"b"])
    with Uploading(store, scratch) as up:
        up.flush()
    write(scratch, 1, 2, [b"a", b"c"])
    slow = Slow(store)
    with Uploading(slow, scratch) as up:
        until(lambda: up.uploader.durable is not None)
        up.flush()
        assert up.steps() == [2]
    assert [key.rsplit("/", 2)[-2] for key in slow.created] == ["000001", "checkpoints"]


def test_a_restarted_daemon_passes_over_what_was_damaged_in_the_store(store, scratch):
    store_checkpoint(store, 1, 1, [b"a"])
    damaged = store_checkpoint(store, 1, 2, [b"b"])
    (store.root / layout.job_root(JOB) / damaged.id.key).write_bytes(b"nonsense")
    write(scratch, 1, 3, [b"c"])
    with Uploading(store, scratch) as up:
        until(lambda: up.uploader.durable is not None)
        up.flush()
        assert up.steps() == [3]


def test_a_newer_save_replaces_an_older_one_under_way_when_time_is_short(store, scratch):
    slow = Slow(store, 0.2)
    write(scratch, 1, 1, [b"old %d" % n for n in range(40)])
    with Uploading(slow, scratch) as up:
        until(lambda: slow.created)
        up.uploader.rush(time.monotonic() + 60)
        write(scratch, 1, 2, [b"new"], kind="notice")
        up.uploader.look()
        until(lambda: up.durable)
        assert up.steps() == [2]
        assert len(slow.created) < 40


def test_the_one_that_fits_is_chosen_under_a_notice(store, scratch):
    write(scratch, 1, 2, [b"small"])
    write(scratch, 1, 3, [os.urandom(3_000_000)])
    up = Uploading(store, scratch, expected_rate=1e6)
    up.uploader.rush(time.monotonic() + 2.0)
    with up:
        until(lambda: up.steps() == [2, 3])  # what is left of the time, for what may fit after all


def test_a_flush_gives_up_at_its_time_and_says_so(store, scratch):
    slow = Slow(store)
    slow.away = True
    write(scratch, 1, 1, [b"a"])
    with Uploading(slow, scratch) as up:
        began = time.monotonic()
        up.flush(until=began + 0.5)
        assert 0.4 < time.monotonic() - began < 2
        assert up.steps() == []


def test_a_store_that_is_away_is_tried_until_it_is_back(store, scratch):
    slow = Slow(store)
    slow.away = True
    write(scratch, 1, 1, [b"a"])
    with Uploading(slow, scratch) as up:
        time.sleep(0.3)
        slow.away = False
        up.flush()
        assert up.steps() == [1]


def test_a_cadence_for_uploads_but_not_for_ends(store, scratch):
    with Uploading(store, scratch, every=3600) as up:
        write(scratch, 1, 1, [b"1"])
        up.uploader.look()
        until(lambda: up.steps() == [1])
        write(scratch, 1, 2, [b"2"])
        up.uploader.look()
        time.sleep(0.3)
        assert up.steps() == [1]
        write(scratch, 1, 3, [b"3"], kind="fit")
        up.uploader.look()
        until(lambda: up.steps() == [1, 3])


def test_objects_that_vanish_while_they_are_carried_are_carried_all_the_same(store, scratch):
    slow = Slow(store, 0.1)
    manifest = write(scratch, 1, 1, [b"%d" % n for n in range(12)])
    with Uploading(slow, scratch) as up:
        until(lambda: slow.created)
        (scratch / manifest.id.key).unlink()
        for each in manifest.objects:
            (scratch / each.key).unlink()
        until(lambda: up.steps() == [1])
    assert ids(store) == ["000001-000000000001"]


def test_what_it_resumed_from_may_be_named_and_is_not_sent(store, scratch):
    parent = store_checkpoint(store, 1, 5, [b"frozen", b"old"])
    write(scratch, 2, 6, [b"new"], parent=str(parent.id), objects=parent.objects[:1])
    with Uploading(store, scratch, attempt=2, parent=parent) as up:
        up.flush()
        assert up.steps() == [6]
        assert up.durable[0].uploaded == 3


# What a hostile program may do -----------------------------------------------------------------


def hostile(store, scratch, said, **more):
    """Nothing is uploaded, once, with a reason; an honest checkpoint after it is."""
    with Uploading(store, scratch, **more) as up:
        up.flush()
        assert up.steps() == []
        assert len(up.refused) == 1
        assert said in up.refused[0]
    assert ids(store) == []


def test_a_link_to_a_secret(store, scratch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"key")
    manifest = write(scratch, 1, 1, [b"key"])
    path = scratch / manifest.objects[0].key
    path.unlink()
    path.symlink_to(secret)
    hostile(store, scratch, "Too many levels of symbolic links")


def test_a_link_in_place_of_a_folder(store, scratch, tmp_path):
    write(scratch, 1, 1, [b"key"])
    (scratch / "objects").rename(tmp_path / "elsewhere")
    (scratch / "objects").symlink_to(tmp_path / "elsewhere")
    hostile(store, scratch, "Not a directory")


def test_a_pipe(store, scratch):
    manifest = write(scratch, 1, 1, [b"a"])
    path = scratch / manifest.objects[0].key
    path.unlink()
    os.mkfifo(path)
    hostile(store, scratch, "not a regular file")


def test_other_bytes_than_the_name_says(store, scratch):
    manifest = write(scratch, 1, 1, [b"abc"])
    (scratch / manifest.objects[0].key).write_bytes(b"abd")
    hostile(store, scratch, "does not hold what its name says")


def test_another_length_than_the_name_says(store, scratch):
    manifest = write(scratch, 1, 1, [b"abc"])
    (scratch / manifest.objects[0].key).write_bytes(b"abc" * 1000)
    hostile(store, scratch, "does not hold what its name says")


def test_an_object_that_is_not_there(store, scratch):
    manifest = write(scratch, 1, 1, [b"abc"])
    (scratch / manifest.objects[0].key).unlink()
    hostile(store, scratch, "is not there")


def test_objects_of_another_attempt(store, scratch):
    write(scratch, 2, 1, [b"abc"], objects=(ref(b"other", 1),))
    hostile(store, scratch, "which is not its own", attempt=2)


def test_another_parent_or_job(store, scratch):
    write(scratch, 1, 1, [b"abc"], parent="000000-000000000001")
    hostile(store, scratch, "names another parent")


def test_another_job(store, scratch):
    write(scratch, 1, 1, [b"abc"], job="other")
    hostile(store, scratch, "is of job 'other'")


def test_a_link_in_place_of_the_checkpoints(store, scratch, tmp_path):
    write(scratch, 1, 1, [b"abc"])
    (scratch / "checkpoints").rename(tmp_path / "elsewhere")
    (scratch / "checkpoints").symlink_to(tmp_path / "elsewhere")
    hostile(store, scratch, "cannot be read")


def test_a_kind_that_no_event_could_tell(store, scratch):
    write(scratch, 1, 1, [b"a"], kind="\ud800")
    hostile(store, scratch, "calls its kind")


def test_an_object_too_large_to_carry(store, scratch):
    huge = ref(b"", 1).__class__(1, "0" * 32, 1 << 40)
    write(scratch, 1, 1, [b"abc"], objects=(huge,))
    hostile(store, scratch, "at most")


def test_numbers_that_json_cannot_say(store, scratch):
    manifest = write(scratch, 1, 1, [b"abc"])
    path = scratch / manifest.id.key
    text = dump_manifest(manifest).decode().replace('"metrics":{}', '"metrics":{"loss":NaN}')
    path.write_text(text)
    with Uploading(store, scratch) as up:
        up.flush()
        assert len(up.refused) == 1


def test_manifests_of_other_attempts_are_passed_over(store, scratch):
    write(scratch, 1, 99, [b"old"])
    write(scratch, 3, 99, [b"zombie"])
    with Uploading(store, scratch, attempt=2) as up:
        write(scratch, 2, 1, [b"own"])
        up.flush()
        assert up.steps() == [1]
    assert ids(store) == ["000002-000000000001"]


def test_nothing_is_written_after_close(store, scratch):
    slow = Slow(store, 0.1)
    write(scratch, 1, 1, [b"%d" % n for n in range(50)])
    up, before = Uploading(slow, scratch), threading.active_count()
    up.uploader.start()
    until(lambda: slow.created)
    up.uploader.close()
    count = len(slow.begun)
    assert threading.active_count() < before + 20
    time.sleep(0.3)
    assert len(slow.begun) == count < 50
    assert ids(store) == []


def test_sweeping_keeps_what_must_stay(store, scratch, monkeypatch):
    monkeypatch.setattr(upload, "SWEEP_SECONDS", 0.0)
    old = [store_checkpoint(store, 1, step, [b"first %d" % step]) for step in (1, 2, 3)]
    parent = store_checkpoint(store, 2, 4, [b"frozen", b"4"])
    with Uploading(store, scratch, attempt=3, parent=parent, keep=2) as up:
        for step in range(5, 10):
            write(
                scratch, 3, step, [b"%d" % step], parent=str(parent.id),
                objects=parent.objects[:1], kind="fit" if step == 6 else "cadence",
            )  # fmt: skip
            up.uploader.look()
            until(lambda step=step: step in up.steps())
            if step == 5:
                assert len(ids(store)) == 5  # one own is not enough to delete others'
        kept = [
            "000002-000000000004",  # its parent
            "000003-000000000006",  # the newest end of a fit
            "000003-000000000008",
            "000003-000000000009",
        ]
        until(lambda: ids(store) == kept)  # it sweeps once the newest is durable
    assert ids(store) == kept
    assert old[0].id.key not in ids(store)
    objects = {entry.key.split("objects/")[1] for entry in store.list(layout.objects(JOB))}
    names = {each.key.split("objects/")[1] for each in parent.objects}
    assert names <= objects
    assert len(objects) == len(names) + 3


def test_under_a_notice_nothing_is_swept(store, scratch, monkeypatch):
    monkeypatch.setattr(upload, "SWEEP_SECONDS", 0.0)
    with Uploading(store, scratch, keep=2) as up:
        up.uploader.rush(time.monotonic() + 60)
        for step in range(1, 7):
            write(scratch, 1, step, [b"%d" % step])
            up.uploader.look()
            until(lambda step=step: step in up.steps())
    assert len(ids(store)) == 6


def test_what_is_under_way_is_not_left_for_what_does_not_fit_either(store, scratch):
    slow = Slow(store, 0.1)
    old = write(scratch, 1, 1, [b"old %d" % n for n in range(20)])
    with Uploading(slow, scratch) as up:
        until(lambda: slow.created)
        up.uploader.rush(time.monotonic() + 0.1)
        (scratch / old.id.key).unlink()  # the library keeps its newest two
        write(scratch, 1, 2, [b"new"], kind="notice")
        up.uploader.look()
        until(lambda: up.steps() == [1, 2])
