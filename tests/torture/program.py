"""What is trained under torture: every byte that it saves tells the step it belongs to."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import outlast
from outlast.checkpoint import Loaded, load
from outlast.exits import Stopped
from outlast.manifest import CheckpointId

SLOW = 7
"""Steps between two changes of what changes seldom."""
FOREVER = 10**6
_KEPT = 64
"""Steps that the log of the outputs holds: a file that grows, and begins anew."""


def arrays(step: int, attempt: int) -> dict[str, np.ndarray]:
    """What ``step`` of ``attempt`` saves: of several objects, some of a length of their own."""
    slow = step // SLOW
    return {
        "fast": _pattern(1, step * 100 + attempt, 40_000),
        "ragged": _pattern(2, step, 5_000 + step * 7919 % 45_000),
        "slow": _pattern(3, slow, 20_000),
        "frozen": _pattern(4, 0, 30_000),
        "small": np.float32([step, step + 0.5]),
    }


def outputs(step: int) -> dict[str, bytes]:
    """The files of the outputs folder after ``step``."""
    log = "".join(f"{each},{each * each}\n" for each in range(step - step % _KEPT, step + 1))
    return {"log.csv": log.encode(), "model/best.bin": _pattern(5, step // 3, 9_000).tobytes()}


def _pattern(what: int, step: int, length: int) -> np.ndarray:
    values = np.arange(length, dtype=np.uint64)
    values *= np.uint64(0x9E3779B97F4A7C15)
    values += np.uint64(step * 1_000_003 + what)
    values ^= values >> np.uint64(29)
    return values


def train(
    folder: Path | None, seed: int, total: int, say: Callable[..., None], *, pause: float
) -> None:
    """A program with ``outlast.Session``; ``folder`` only where no daemon says one.

    Says from which step it goes on, and each save that it knows to be whole.
    """
    from outlast.run import Run

    _small_pieces()
    chance = random.Random(seed)
    place = Path(os.environ["OUTLAST_OUTPUTS"]) if folder is None else folder / "outputs"
    session = outlast.Session(
        folder=None if folder is None else folder / "scratch", outputs=place, every=0
    )
    begun = session.steps_done
    run = Run.current()
    attempt, resumed = run._saving.attempt, run.resumed
    wrong = None if resumed is None else differs(session.arrays, resumed.id)
    say(begun=begun, wrong=wrong)
    if not session.restored:  # what was written for no checkpoint: a program begins such files anew
        for path in place.rglob("*.*"):
            path.unlink()
    told = begun
    held: dict[str, np.ndarray] = {}
    for done in _until_stopped(session, total, say):
        for name, value in arrays(done + 1, attempt).items():
            # In place where that is possible: what was saved must not change with it.
            if name in held and held[name].shape == value.shape:
                held[name][...] = value
            else:
                held[name] = value
        session.arrays.update(held)
        session.state["step"] = done + 1
        for name, data in outputs(done + 1).items():
            _put(place / name, data, grows=name == "log.csv" and (done + 1) % _KEPT != 0)
        time.sleep(pause * chance.random())
        saved = run._saving.saved
        if saved is not None and saved.step != told:
            told = saved.step
            say(whole=told)
    run.end(True)
    say(finished=session.steps_done)


def _until_stopped(session: outlast.Session, total: int, say: Callable[..., None]) -> Iterator[int]:
    """The steps; a notice ends them with a save, which is said."""
    try:
        yield from session.steps(total)
    except Stopped:
        say(stopped=session.steps_done)
        time.sleep(60.0)  # whoever gave the notice kills it


def _put(path: Path, data: bytes, *, grows: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    if not grows:
        path.write_bytes(data)
        return
    with path.open("ab") as file:
        file.write(data[path.stat().st_size :])


def _small_pieces() -> None:
    """Many objects, each of many writes, from a few hundred kilobytes.

    What is large in the library is a default of it, not an option that anybody needs.
    """
    from outlast import blocks, objects

    objects._WORTH = 32 << 10
    for function, name, value in (
        (objects.ObjectWriter.__init__, "object_bytes", 128 << 10),
        (blocks.Blocks.__init__, "size", 32 << 10),
    ):
        assert function.__kwdefaults__ is not None
        assert name in function.__kwdefaults__
        function.__kwdefaults__[name] = value


def differs(found: object, id_: CheckpointId) -> str | None:
    """What is not as it was saved; None: all is."""
    expected = arrays(id_.step, id_.attempt)
    given = dict(found)  # type: ignore[call-overload]
    if given.keys() != expected.keys():
        return f"of {id_} the arrays are {sorted(given)}"
    for name, value in expected.items():
        if given[name].dtype != value.dtype or not np.array_equal(given[name], value):
            return f"of {id_} the array {name} is another"
    return None


def check(root: Path, id_: CheckpointId) -> str | None:
    """Load one checkpoint below ``root``: what is wrong with its content, or None.

    Raises what :func:`outlast.checkpoint.load` does for one that is not whole.
    """
    loaded = load(root, id_)
    wrong = differs(loaded.arrays, id_) or _state(loaded)
    for file in loaded.manifest.outputs:
        data = bytes(loaded.all_arrays.objects.read(file.pieces))
        if outputs(id_.step).get(file.path) != data:
            wrong = wrong or f"of step {id_.step} the output {file.path} is another"
    if len(loaded.manifest.outputs) != len(outputs(id_.step)):
        wrong = wrong or f"of step {id_.step} there are {len(loaded.manifest.outputs)} outputs"
    return wrong


def _state(loaded: Loaded) -> str | None:
    state = loaded.state["state"]
    return None if state == {"step": loaded.step} else f"step {loaded.step} holds state {state}"


def check_outputs(id_: CheckpointId, place: Path) -> str | None:
    """Whether the outputs folder of a resume is that of its step."""
    found = {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }
    return None if found == outputs(id_.step) else f"outputs of step {id_.step}: {sorted(found)}"
