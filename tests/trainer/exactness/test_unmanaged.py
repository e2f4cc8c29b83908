"""Outside Outlast: a folder beside the script, and nobody who brings back files or sends notice."""

from __future__ import annotations

from pathlib import Path

from trainer.exactness.cases import assert_same
from trainer.exactness.stops import Stop
from trainer.exactness.table import named
from trainer.exactness.twins import Twins

OPTIONS = {"outputs": "outputs", "every": 0.001}


def test_killed_and_started_again_by_hand(twins: Twins) -> None:
    scenario = named("files.everything")
    folder = twins.folder(scenario, "by-hand")
    stop = Stop("batch", 0, 1, 4, kill=True)
    killed = twins.attempt(scenario, folder, 1, stop, managed=False, options=OPTIONS)
    assert killed.done.code == -9, killed.done.log
    rest = twins.attempt(scenario, folder, 2, None, managed=False, options=OPTIONS)
    assert rest.done.code == 0, rest.done.log
    assert (folder / ".outlast").is_dir()
    assert not (folder / "scratch-1").exists()
    assert_same(twins.whole(scenario, resume=False), [killed, rest])


def test_sigterm_is_a_notice(twins: Twins) -> None:
    scenario = named("data.shuffled")
    folder = twins.folder(scenario, "sigterm")
    stop = Stop("batch", 0, 1, 2, sigterm=True)
    options = {"folder": "elsewhere"}
    stopped = twins.attempt(scenario, folder, 1, stop, managed=False, options=options)
    assert stopped.done.code == 75, stopped.done.log
    rest = twins.attempt(scenario, folder, 2, None, managed=False, options=options)
    assert rest.done.code == 0, rest.done.log
    assert list(Path(folder, "elsewhere", "checkpoints").glob("*.json"))
    assert_same(twins.whole(scenario, resume=False), [stopped, rest])
