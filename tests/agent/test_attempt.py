"""An attempt's hands: what is done even where a part of it cannot be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from outlast.notice import Notice
from outlast_agent.attempt import Attempt
from outlast_agent.teller import Teller


def test_a_notice_hurries_the_upload_even_if_it_cannot_be_written(context):
    attempt = Attempt(context, 1, Teller(context))  # its folders are not there
    rushed = []
    attempt.uploader = SimpleNamespace(rush=rushed.append)
    with pytest.raises(OSError, match="notice"):
        attempt.tell(Notice("n", "preempt", 30.0, 100.0, ""))
    assert rushed == [100.0]
