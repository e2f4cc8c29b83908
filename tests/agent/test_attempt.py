"""An attempt's hands: what is done even where a part of it cannot be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from outlast.manifest import CheckpointId
from outlast.notice import Notice
from outlast_agent import ending, layout, records
from outlast_agent.attempt import Attempt
from outlast_agent.outcome import Ending
from outlast_agent.teller import Teller


def test_a_notice_hurries_the_upload_even_if_it_cannot_be_written(context):
    attempt = Attempt(context, 1, Teller(context))  # its folders are not there
    rushed = []
    attempt.uploader = SimpleNamespace(rush=rushed.append)
    with pytest.raises(OSError, match="notice"):
        attempt.tell(Notice("n", "preempt", 30.0, 100.0, ""))
    assert rushed == [100.0]


def test_a_step_that_is_durable_was_done_whatever_an_old_progress_file_says(context, store):
    progress, durable = SimpleNamespace(step=16), SimpleNamespace(id=CheckpointId(1, 22))
    attempt = SimpleNamespace(
        number=1, progress=progress, durable=durable, durable_step=22, started_from=None,
        folders=context.folders.attempt(1),
    )  # fmt: skip
    ending.record(context, attempt, Ending("yielded"), None)
    key = layout.attempt_end("digits", 1)
    end = records.load(records.AttemptEnd, store.read(key), key=key)
    assert (end.step, end.durable_step) == (22, 22)
