"""The end of each fit becomes durable, since each stays in the store."""

from __future__ import annotations

import time

from agent.scratch_kit import Uploading, write
from outlast_agent.stores.file import FileStore


def test_the_end_of_a_fit_is_not_passed_over_for_what_is_newer(tmp_path):
    store, scratch = FileStore(tmp_path / "store"), tmp_path / "scratch"
    write(scratch, 1, 1, [b"1"])
    write(scratch, 1, 2, [b"2"], kind="fit")
    write(scratch, 1, 3, [b"3"])
    with Uploading(store, scratch) as up:
        up.flush()
        assert up.steps() == [2, 3]
    for step, kind in ((4, "fit"), (5, "cadence")):
        write(scratch, 1, step, [b"%d" % step], kind=kind)
    up = Uploading(store, scratch)
    up.uploader.rush(time.monotonic() + 30)
    with up:
        up.flush()
        assert up.steps() == [5]  # under a notice the newest is what counts
