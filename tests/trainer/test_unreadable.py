"""Outputs that this process may not read: one line that names them; nothing is lost."""

from __future__ import annotations

import os
import sys

from outlast.checkpoint import checkpoints_in

# Modes mean nothing to root, unless it gives up what lets it pass over them.
_FREE = "-dac_override,-dac_read_search"
BOUND = [] if os.geteuid() else ["setpriv", f"--bounding-set={_FREE}", f"--inh-caps={_FREE}"]

LOOP = """
    import os, sys
    import outlast

    session = outlast.Session()
    closed = os.environ["OUTLAST_OUTPUTS"] + "/" + sys.argv[1]
    for step in session.steps(6):
        session._run.flush()
        if step == 2:
            os.chmod(closed, 0)
        if step == 4:
            os.chmod(closed, 0o700)
"""


def started(place, name):
    folder = place.outputs / "plots"
    folder.mkdir(parents=True)
    (folder / "report.txt").write_text("one")
    return place.run(*BOUND, sys.executable, place.script(LOOP), name, OUTLAST_EVERY="0")


def told(place, name):
    return (
        f"saving step 3 below {place.scratch} failed: output {name} cannot be read: Permission "
        "denied. Make it readable for this process, or take it away. Training goes on; the next "
        "save tries again."
    )


def test_a_file_is_named_and_the_next_save_tries_again(place):
    done = started(place, "plots/report.txt")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"outlast: {told(place, 'plots/report.txt')}"]
    assert [note["code"] for note in place.notes()] == ["outputs-unreadable"]
    assert checkpoints_in(place.scratch)[0].step == 6


def test_a_folder_is_not_passed_over(place):
    done = started(place, "plots")
    assert done.stderr.splitlines() == [f"outlast: {told(place, 'folder plots')}"]
    assert checkpoints_in(place.scratch)[0].step == 6


def test_a_folder_that_cannot_be_brought_back_is_named(place):
    assert started(place, "plots/report.txt").returncode == 0
    (place.outputs / "plots").chmod(0)
    alone = {"OUTLAST_CONTROL": "", "OUTLAST_ATTEMPT": ""}
    command = [*BOUND, sys.executable, place.script("import outlast; outlast.Session()")]
    done = place.run(*command, **alone)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"outlast: train.py, line 1: the outputs folder {place.outputs} cannot be brought back to "
        "checkpoint 000001-000000000006: output folder plots cannot be read: Permission denied; "
        "make all in it readable and writable for this process, or empty it, and start again"
    ]
    (place.outputs / "plots").chmod(0o700)
    assert place.run(*command, **alone).returncode == 0
    assert (place.outputs / "plots" / "report.txt").read_text() == "one"
