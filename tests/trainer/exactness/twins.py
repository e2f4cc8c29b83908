"""Runs a script whole and in pieces, as the daemon would, and says how the two differ."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from outlast.checkpoint import load_newest
from outlast.durable import replace_json
from outlast.manifest import CheckpointId, newest_first
from outlast.outputs import restore_outputs
from outlast.progress import EX_TEMPFAIL, End, read_end
from trainer.exactness import outcome
from trainer.exactness.forks import Done, Forks
from trainer.exactness.stops import Stop
from trainer.exactness.table import Scenario

KILLED = -9
ALWAYS = {"OUTLAST_EVERY": "0.001"}
"""A cadence so short that every batch is saved if the writer keeps up."""


@dataclass(frozen=True)
class Attempt:
    """One process."""

    number: int
    stop: Stop | None
    done: Done
    folder: Path

    @cached_property
    def trace(self) -> list[dict[str, Any]]:
        """Every event, in order."""
        path = self.folder / f"trace-{self.number}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """Those of these kinds."""
        return (event for event in self.trace if event["event"] in kinds)

    @property
    def end(self) -> End | None:
        """What it left in its control folder."""
        return read_end(self.folder / f"control-{self.number}")

    @property
    def told(self) -> list[str]:
        """Codes of the warnings that were there before its first step."""
        first = next(self.events("first step"), None)
        notes = first["notes"] if first else []
        return [note["code"] for note in notes if note["level"] != "info"]

    @cached_property
    def outcome(self) -> dict[str, Any]:
        """What it is judged by; only of one that finished."""
        return outcome.load(self.folder / "result.json")

    @property
    def outputs(self) -> Path:
        """The folder of output files that it shares with the attempts before and after it."""
        return self.folder / "outputs"

    def wrong_end(self) -> str | None:
        """Why this is not how it should have ended, with what it printed; None if it is."""
        expected, outcome_word = 0, "finished"
        if self.stop is not None:
            expected, outcome_word = (
                (KILLED, None) if self.stop.kill else (EX_TEMPFAIL, "yielded")  # type: ignore[assignment]
            )
        word = self.end.outcome if self.end else None
        reached = self.stop is None or any(self.events("stop"))
        if reached and (self.done.code, word) == (expected, outcome_word):
            return None
        return (
            f"attempt {self.number} (to be stopped at {self.stop}, "
            f"{'reached' if reached else 'never reached'}) ended with code {self.done.code} and "
            f"{word}, not {expected} and {outcome_word}:\n{self.done.log[-4000:]}"
        )


class Twins:
    """Runs scenarios; uninterrupted runs are kept for other cases, and other test processes."""

    def __init__(self, forks: Forks, root: Path, shared: Path) -> None:
        """``root`` is this process' own, ``shared`` that of all that test at once."""
        self._forks = forks
        self._root = root
        self._shared = shared

    def whole(self, scenario: Scenario, *, resume: bool = True) -> Attempt:
        """The uninterrupted run, with the callback or without."""
        __tracebackhide__ = True
        folder = self._shared / f"{scenario.script}-{'whole' if resume else 'plain'}"
        over = folder / "over.json"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # another case has it, or another process is about to
            done = _wait_for(over)
            attempt = Attempt(1, None, done, folder)
        else:
            attempt = self.attempt(scenario, folder, 1, None, resume=resume)
            replace_json(over, asdict(attempt.done))
        if resume:
            assert not (problem := attempt.wrong_end()), problem
        assert attempt.done.code == 0, attempt.done.log
        return attempt

    def interrupted(self, scenario: Scenario, stops: Sequence[Stop]) -> list[Attempt]:
        """The same script, stopped and started again; the last attempt is left to finish."""
        __tracebackhide__ = True
        folder = self.folder(scenario, "-".join(str(stop) for stop in stops))
        attempts = []
        for number, stop in enumerate([*stops, None], start=1):
            attempts.append(self.attempt(scenario, folder, number, stop))
            assert not (problem := attempts[-1].wrong_end()), problem
        return attempts

    def attempt(
        self,
        scenario: Scenario,
        folder: Path,
        number: int,
        stop: Stop | None,
        *,
        resume: bool = True,
        managed: bool = True,
        environ: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Attempt:
        """One process in ``folder``, with everything the daemon sets up for it if ``managed``.

        ``more`` goes to :func:`trainer.exactness.child.main`.
        """
        (folder / "outputs").mkdir(exist_ok=True)
        around = dict(ALWAYS) if stop is not None and stop.kill else {}
        if managed:
            around |= _manage(folder, number)
        done = self._forks.run(
            "trainer.exactness.child:main",
            {
                "script": scenario.script,
                "resume": resume,
                "trace": str(folder / f"trace-{number}.jsonl"),
                "result": str(folder / "result.json"),
                "stop": None if stop is None else stop.as_json(),
                **more,
            },
            folder=folder,
            log=folder / f"log-{number}.txt",
            environ={**around, **(environ or {})},
        )
        return Attempt(number, stop, done, folder)

    def folder(self, scenario: Scenario, name: str) -> Path:
        """A new one for one run in pieces."""
        return Path(tempfile.mkdtemp(prefix=f"{scenario.script}-{name}-", dir=self._root))


def _wait_for(over: Path) -> Done:
    deadline = time.monotonic() + 300
    while not over.exists():
        assert time.monotonic() < deadline, f"{over} was never written by another test process"
        time.sleep(0.05)
    return Done(**json.loads(over.read_text()))


def _manage(folder: Path, number: int) -> dict[str, str]:
    """What the daemon does before the command starts; the environment it gives.

    It brings the newest whole checkpoint to a scratch folder of the attempt's own, and nothing
    else, then the outputs of that checkpoint.
    """
    control, scratch, outputs = (
        folder / f"control-{number}",
        folder / f"scratch-{number}",
        folder / "outputs",
    )
    control.mkdir()
    scratch.mkdir()
    before = folder / f"scratch-{number - 1}"
    loaded = before.exists() and load_newest(before, rank=0, world_size=1, on_damaged=_never)
    if loaded:
        for key in (loaded.id.key, *(ref.key for ref in loaded.manifest.objects)):
            (scratch / key).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before / key, scratch / key)
        restore_outputs(scratch, loaded.manifest, outputs)
    else:
        shutil.rmtree(outputs)
        outputs.mkdir()
    return {
        "OUTLAST_SCRATCH": str(scratch),
        "OUTLAST_OUTPUTS": str(outputs),
        "OUTLAST_CONTROL": str(control),
        "OUTLAST_JOB": "exactness",
        "OUTLAST_ATTEMPT": str(number),
    }


def _never(checkpoint: CheckpointId, why: str) -> None:
    raise AssertionError(f"checkpoint {checkpoint} is damaged: {why}")


def newest(folder: Path, number: int) -> CheckpointId | None:
    """The newest checkpoint that attempt ``number`` left in its scratch folder."""
    checkpoints = folder / f"scratch-{number}" / "checkpoints"
    found = newest_first(path.name for path in checkpoints.glob("*.json"))
    return found[0] if found else None


Key = tuple[str, int, int, int]


def _key(event: dict[str, Any]) -> Key:
    return event["event"], event["fit"], event["epoch"], event["batch"]


def divergences(whole: Attempt, pieces: Sequence[Attempt]) -> list[str]:
    """Where the pieces' events are not those of the uninterrupted run; empty if they are.

    Every batch, validation batch and epoch has to be there with exactly the logs of the
    uninterrupted run, whichever process ran it, and no other. A batch may be seen twice only if
    it is the one at which the process before was stopped: callbacks see it end again, so that
    the epoch's tail can follow, but it is not trained again.
    """
    kinds = ("batch", "validation", "epoch")
    expected = {_key(event): event["logs"] for event in whole.events(*kinds)}
    found = []
    seen: set[Key] = set()
    for attempt in pieces:
        batches = [_key(event) for event in attempt.events("batch")]
        for event in attempt.events(*kinds):
            key = _key(event)
            if key not in expected:
                found.append(f"attempt {attempt.number}: {key} is not part of the whole run")
            elif event["logs"] != expected[key]:
                found.append(
                    f"attempt {attempt.number}: {key} logged {_numbers(event['logs'])}, "
                    f"not {_numbers(expected[key])}"
                )
        again = [key for key in batches if key in seen]
        noticed = attempt.number > 1 and pieces[attempt.number - 2].done.code == EX_TEMPFAIL
        if noticed and len(again) > 1:
            found.append(f"attempt {attempt.number} repeated {len(again)} batches: {again}")
        seen.update(_key(event) for event in attempt.events(*kinds))
    found.extend(f"{key} was never seen" for key in expected if key not in seen)
    return found


def _numbers(logs: dict[str, str]) -> dict[str, float]:
    return {name: float.fromhex(value) for name, value in logs.items()}
