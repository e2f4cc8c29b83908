"""Each example, stopped by a notice and killed, ends with the bits of its uninterrupted run.

``make test-live`` runs them, the PyTorch ones ``make test-examples``, which installs PyTorch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from outlast.progress import read_progress

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[2] / "examples"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")

COMMANDS = {
    "sklearn_partial_fit": ("sklearn", (sys.executable,)),
    "keras_custom_loop": ("tensorflow", (sys.executable,)),
    "pytorch_loop": ("torch", (sys.executable,)),
    "pytorch_ddp": ("torch", (*TORCHRUN, "--master-port", "29517")),
}


def digest(out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith("sha256"))


def cases():
    for name, (package, _) in COMMANDS.items():
        yield pytest.param(name, marks=pytest.mark.needs("torch") if package == "torch" else ())


@pytest.mark.parametrize("name", list(cases()))
def test_ends_with_the_same_bits(place, wait_for, name):
    package, command = COMMANDS[name]
    place.env = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "OUTLAST_EVERY": "0.3"}
    script = EXAMPLES / f"{name}.py"
    reference = place.run(*command, script, OUTLAST_SCRATCH=str(place.root / "reference"))
    assert reference.returncode == 0, reference.stderr
    (place.control() / "end.json").unlink()
    (place.control() / "progress.json").unlink()

    def start_and_reach(attempt, enough):
        process = place.start(*command, script, attempt=attempt)
        wait_for(
            lambda: (
                process.poll() is not None
                or ((p := read_progress(place.control(attempt))) and enough(p))
            ),
            timeout=60,
        )
        return process

    first = start_and_reach(1, lambda p: p.step > 0)
    place.notice(1)
    _, err = first.communicate(timeout=60)
    assert first.returncode == (75 if len(command) == 1 else 1), (
        err
    )  # torchrun has a code of its own
    assert "stopped at step" in err
    stopped = place.end(1)
    assert stopped.outcome == "yielded"

    attempt = 2
    if package != "tensorflow":  # which takes long to import; test_session kills as well
        second = start_and_reach(2, lambda p: p.saved_step)
        place.kill(second)
        assert second.returncode == -9
        attempt = 3

    last = place.run(*command, script, attempt=attempt)
    assert last.returncode == 0, last.stderr
    assert read_progress(place.control(attempt)).resumed_step >= stopped.step
    assert digest(last.stdout) == digest(reference.stdout)
    assert place.end(attempt).outcome == "finished"
