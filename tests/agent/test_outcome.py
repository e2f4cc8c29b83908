"""How an attempt ended: the end file is the truth, the exit code a hint."""

from __future__ import annotations

import pytest

from outlast.progress import End
from outlast_agent.outcome import Circumstances, judge
from outlast_agent.runtimes.base import Exit

TOLD = Circumstances(told=True, announced=True)
ANNOUNCED = Circumstances(announced=True)
WITHOUT = Circumstances()
SIGNALLED = Circumstances(told=True)


@pytest.mark.parametrize(
    ("code", "end", "around", "outcome"),
    [
        # With the library: what it says.
        (0, End("finished", 9), ANNOUNCED, "finished"),
        (139, End("finished", 9), ANNOUNCED, "finished"),  # a crash while Python leaves
        (3, End("finished", 9), ANNOUNCED, "failed"),  # what came after training failed
        (3, End("finished", 9), TOLD, "finished"),
        (0, End("finished", 9), TOLD, "finished"),
        (75, End("yielded", 9), TOLD, "yielded"),
        (0, End("yielded", 9), TOLD, "yielded"),  # `| tee`
        (137, End("yielded", 9), TOLD, "yielded"),  # killed in a long step after its save
        (0, None, ANNOUNCED, "failed"),  # `| tee` hid a traceback
        (1, None, ANNOUNCED, "failed"),
        (1, None, TOLD, "yielded"),  # whatever happens under a notice is not its failure
        # Without: the exit code, and whether it was told.
        (0, None, WITHOUT, "finished"),
        (1, None, WITHOUT, "failed"),
        (0, None, SIGNALLED, "yielded"),
        (143, None, SIGNALLED, "yielded"),
        (137, None, SIGNALLED, "yielded"),
        (143, None, WITHOUT, "failed"),
        (75, None, WITHOUT, "failed"),
        # A person's wish.
        (75, End("yielded", 9), Circumstances(told=True, cancelled=True), "cancelled"),
        (143, None, Circumstances(told=True, cancelled=True), "cancelled"),
        (0, End("finished", 9), Circumstances(told=True, cancelled=True), "finished"),
    ],
)
def test_outcomes(code, end, around, outcome):
    assert judge(Exit(code), end, around).outcome == outcome


def test_a_stop_that_nobody_asked_for_must_have_made_a_step():
    moved = Circumstances(announced=True, started_step=8)
    assert judge(Exit(75), End("yielded", 9), moved).outcome == "yielded"
    stuck = Circumstances(announced=True, started_step=9)
    assert judge(Exit(75), End("yielded", 9), stuck).outcome == "failed"


@pytest.mark.parametrize(
    ("exit_", "around", "cause", "said"),
    [
        (Exit(137, out_of_memory=True), ANNOUNCED, "out-of-memory", "resources.memory"),
        (Exit(137, out_of_memory=True), TOLD, "out-of-memory", "resources.memory"),
        (Exit(127), WITHOUT, "command", "not found"),
        (Exit(126), WITHOUT, "command", "cannot be run"),
        (Exit(1), Circumstances(disk_full=True), "disk-full", "full disk"),
        (Exit(139), WITHOUT, "error", "segmentation fault"),
        (Exit(137), WITHOUT, "error", "SIGKILL, not from Outlast"),
        (Exit(3), WITHOUT, "error", "exit code 3"),
        (Exit(0), ANNOUNCED, "error", "did not say that it finished"),
    ],
)
def test_causes(exit_, around, cause, said):
    ending = judge(exit_, None, around)
    assert (ending.outcome, ending.cause) == ("failed", cause)
    assert said in ending.message
    assert "\n" not in ending.message
