"""What one case asserts: a script stopped and resumed is the script that was not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from trainer.exactness import outcome
from trainer.exactness.stops import Stop, covering
from trainer.exactness.table import RARE, Scenario
from trainer.exactness.twins import Attempt, Twins, divergences
from trainer.files.content import contents


def rotated(scenarios: Sequence[Scenario]) -> list[object]:
    """Each scenario with a stop inside an epoch, or at another place, or (each fifth) at both.

    Two of three run with ``make test-live``, for ``make test`` to take ten minutes at most.
    """
    cases = []
    for turn, scenario in enumerate(each for each in scenarios if each.script not in RARE):
        inside, other, stops = covering(scenario.fits, turn)
        chosen = stops if turn % 5 == 0 else (inside if turn % 2 else other,)
        name = "-".join([scenario.script, *map(str, chosen)])
        marks = pytest.mark.live if turn % 3 else ()
        cases.append(pytest.param(scenario, chosen, id=name, marks=marks))
    return cases


def check(twins: Twins, scenario: Scenario, stops: Sequence[Stop]) -> None:
    """Stop ``scenario`` at each of ``stops``, one process after the other, and compare."""
    __tracebackhide__ = True
    pieces = twins.interrupted(scenario, stops)
    told = check_told(scenario, pieces[0])
    check_steps(scenario, pieces)
    # A script that sets the seed has to end as it does without the callback; that says more
    # than the twin with it, and costs no more.
    if told or not scenario.comparable:
        check_sane(twins.whole(scenario), pieces, killed=any(stop.kill for stop in stops))
        return
    whole = twins.whole(scenario, resume=not scenario.seeded)
    assert_same(whole, pieces)


def assert_same(whole: Attempt, pieces: Sequence[Attempt]) -> None:
    """Every batch, every variable, every file is that of the uninterrupted run."""
    __tracebackhide__ = True
    last = pieces[-1]
    found = divergences(whole, pieces) + outcome.differences(whole.outcome, last.outcome)
    one, two = contents(whole.outputs), contents(last.outputs)
    found += [
        f"{name}: {str(one.get(name))[:1500]!r} became {str(two.get(name))[:1500]!r}"
        for name in sorted({*one, *two})
        if one.get(name) != two.get(name)
    ]
    assert not found, "\n".join([f"{len(found)} differences", *found[:12], last.done.log])


def check_told(scenario: Scenario, first: Attempt) -> set[str]:
    """What was told before the first step is what may be, or must be."""
    __tracebackhide__ = True
    told = set(first.told)
    assert told <= scenario.told, f"a false alarm: {told - scenario.told}\n{first.done.log}"
    if scenario.must_tell and any(first.events("first step")):
        assert told, f"{scenario} cannot be exact, and nothing was told\n{first.done.log}"
    return told


def check_steps(scenario: Scenario, pieces: Sequence[Attempt]) -> None:
    """The step that each process ended with is the number of batches trained until then."""
    __tracebackhide__ = True
    if scenario.fits[0].batches[0] != 0:
        return  # several steps an execution: events do not count steps
    seen = set()
    for attempt in pieces:
        seen.update((e["fit"], e["epoch"], e["batch"]) for e in attempt.events("batch"))
        if attempt.end is not None:
            assert attempt.end.step == len(seen), f"attempt {attempt.number} said another step"


def check_sane(whole: Attempt, pieces: Sequence[Attempt], *, killed: bool) -> None:
    """Not exact, and said so: as many batches in each epoch, of the same samples, finite losses.

    ``killed``: there was no notice, so steps since the newest save are done again.
    """
    __tracebackhide__ = True
    expected = {(e["fit"], e["epoch"], e["batch"]) for e in whole.events("batch")}
    seen = [
        (e["fit"], e["epoch"], e["batch"]) for attempt in pieces for e in attempt.events("batch")
    ]
    assert set(seen) == expected
    repeated = len(seen) - len(expected)
    assert killed or repeated < len(pieces), "batches were repeated after a notice"
    expected_samples = {event["logs"].get("seen") for event in whole.events("epoch")}
    for attempt in pieces:
        for event in attempt.events("epoch"):
            same = len(expected_samples) > 1 or event["logs"].get("seen") in expected_samples
            assert same, f"epoch {event['epoch']} saw a sample twice, or never\n{attempt.done.log}"
        for event in attempt.events("batch", "epoch"):
            assert all(math.isfinite(float.fromhex(v)) for v in event["logs"].values()), event
