"""Going on is refused: one plain line that says what to do, exit code 1, nothing changed."""

from __future__ import annotations

import json

import pytest
import xxhash

START = """
    import numpy as np
    import outlast

    class Module:
        def __init__(self, size):
            self.weights = {"layer.weight": np.zeros(size), "count": 0}
        def state_dict(self):
            return self.weights
        def load_state_dict(self, state):
            self.weights = state
        def named_parameters(self):
            return self.weights.items()

    session = outlast.Session()
"""
SAVED = """
    session.track(module=Module(3), rng=np.random.default_rng())
    for step in session.steps(1): pass
"""
OTHER = "checkpoint 000001-000000000001 is of another model or program: "
TRACK = "track what it had, or "
REFUSED = {
    "another model": (
        "session.track(module=Module(4))",
        f"{OTHER}module does not fit: module.layer.weight was float64[3] and is float64[4]; "
        f"{TRACK}",
    ),
    "another program": (
        "session.track(other=Module(3))",
        f"{OTHER}other does not fit: it is not in there; {TRACK}",
    ),
    "another kind of generator": (
        "session.track(rng=np.random.Generator(np.random.MT19937(0)))",
        f"{OTHER}rng does not fit: it is a MT19937 and was saved as a PCG64; {TRACK}",
    ),
    "a generator that was a module": (
        "session.track(module=np.random.default_rng())",
        f"{OTHER}module does not fit: the checkpoint has something other than a generator of "
        f"NumPy; {TRACK}",
    ),
    "another number of processes": (
        "",
        "checkpoint 000001-000000000001 was saved by 1 process and now 2 train: start as many "
        "as before, or ",
    ),
    "a newer version": (
        "",
        "manifest 000001-000000000001 has format version 9, this Outlast reads up to 1: update "
        "outlast, or ",
    ),
}
MANAGED = "submit the job under another name to begin anew. Nothing that is saved was changed."


def newer(manifest) -> None:
    value = json.loads(manifest.read_bytes())
    del value["check"]
    body = json.dumps({**value, "version": 9}).encode()[1:]
    manifest.write_bytes(b'{"check":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body))


def files(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_says_what_to_do(place, case):
    code, message = REFUSED[case]
    assert place.python(place.script(START + SAVED)).returncode == 0
    if case == "a newer version":
        newer(place.scratch / "checkpoints" / "000001-000000000001.json")
    before = files(place.scratch)
    world = "2" if case == "another number of processes" else "1"
    script = place.script(f"{START}\n    {code}\n")
    done = place.python(script, attempt=2, WORLD_SIZE=world)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    line = line.removeprefix("outlast: train.py, line ").partition(": ")[2]
    assert line == message + MANAGED
    assert [(note["level"], note["text"]) for note in place.notes(2)] == [("error", line)]
    assert place.end(2) is None
    assert files(place.scratch) == before


def test_without_a_daemon_the_folder_to_remove_is_named(place):
    names = ("OUTLAST_SCRATCH", "OUTLAST_CONTROL", "OUTLAST_OUTPUTS", "OUTLAST_ATTEMPT")
    environ = dict.fromkeys(names, "")
    place.python(place.script(START + SAVED), **environ)
    again = place.script(START + "    session.track(other=Module(3))\n")
    done = place.python(again, **environ)
    folder = place.root / ".outlast" / "train"
    assert done.stderr.splitlines()[-1].endswith(
        f"or remove {folder} to begin anew. Nothing that is saved was changed."
    )


def test_it_can_be_caught_and_a_hook_of_ones_own_stays(place):
    place.python(place.script(START + SAVED))
    caught = """
    try:
        session.track(module=Module(4))
    except ValueError as error:
        print("caught", type(error).__name__)
    """
    done = place.python(place.script(START + caught), attempt=2)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caught OtherModelError\n", "")
    assert place.notes(2) == []

    own = "\n    import sys\n    sys.excepthook = lambda *_: print('mine')\n"
    done = place.python(place.script(own + START + "    session.track(other=1)\n"), attempt=3)
    assert (done.returncode, done.stdout, done.stderr) == (1, "mine\n", "")

    done = place.python(place.script(START + "    raise ValueError('theirs')\n"), attempt=4)
    assert done.stderr.startswith("Traceback ")
    assert done.stderr.endswith("ValueError: theirs\n")
    assert place.notes(4) == []


def test_a_checkpoint_of_another_framework(place):
    script = place.script(
        """
        from outlast.run import Run
        from outlast.snapshot import Snapshot
        Run.current().save(Snapshot(1, {"kind": "fit"}, {}), "end")
        """
    )
    place.python(script)
    done = place.python(place.script("import outlast; outlast.Session()"), attempt=2)
    assert done.stderr.splitlines() == [
        "outlast: train.py, line 1: checkpoint 000001-000000000001 was not written by "
        f"outlast.Session: run the program that wrote it, or {MANAGED}"
    ]


def test_another_machine_is_told_or_refused(place):
    script = place.script(START + SAVED)
    place.python(script, OMP_NUM_THREADS="1")
    told = place.python(script, attempt=2, OMP_NUM_THREADS="2")
    assert told.returncode == 0
    (note,) = place.notes(2)
    assert note["code"] == "machine-differs"
    assert "OMP_NUM_THREADS was 1 and is 2" in note["text"]
    refused = place.python(script, attempt=3, OMP_NUM_THREADS="3", OUTLAST_EXACT="strict")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "can only go on with equal bits" in line
    assert [note["code"] for note in place.notes(3)] == ["machine-differs"]
    assert place.end(3) is None
