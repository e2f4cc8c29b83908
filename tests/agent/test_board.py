"""What does not work at the moment, in words."""

from outlast_agent.board import Board


def test_one_line_for_each_cause():
    board = Board()
    for part, key in (("store", "jobs/a/launches/"), ("code", "jobs/a/code/1")):
        assert board.put(part, f"read of {key} in s3://b/p: no credentials: set AWS_ACCESS_KEY_ID")
    assert board.put("runtime", "the engine does not answer")
    assert board.text() == (
        "store, code: read of jobs/a/launches/ in s3://b/p: no credentials: set AWS_ACCESS_KEY_ID; "
        "runtime: the engine does not answer"
    )
    assert not board.put("runtime", "the engine does not answer")  # no news
    for part in ("store", "code", "runtime"):
        assert board.waits()
        assert board.put(part, None)
    assert (board.text(), board.waits()) == ("", False)
    board.put("notices", "no answer")
    assert not board.waits()  # no claim needs them
