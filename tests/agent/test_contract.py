"""The contract between daemon and command, with commands as people write them."""

from __future__ import annotations

import sys
import textwrap
import time

import pytest

from agent.daemon_kit import JOB, STEPS, TRAIN, assert_finished, cluster, until
from outlast_agent import layout

_BEFORE, _LOOP = textwrap.dedent(TRAIN).split("for step in", 1)
FINALLY = f"""{_BEFORE}
def save_model():
    (outputs / "model.tmp").write_bytes(b"half")
    time.sleep(0.5)
    (outputs / "model.tmp").write_bytes(state.tobytes())
    Path(os.environ["OUTLAST_SCRATCH"]).parent.joinpath("finally-ran").touch()

try:
{textwrap.indent("for step in" + _LOOP, "    ")}
finally:
    save_model()
"""

WORKERS = textwrap.dedent(TRAIN).replace(
    "for step in range(begin + 1, steps + 1):",
    """
import multiprocessing, queue as queues, signal
def load(queue, marks):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while True:
        told = signal.sigtimedwait({signal.SIGTERM}, 0)
        if told is not None:
            if told.si_pid != os.getppid():
                (Path(marks) / f"{os.getpid()} by {told.si_pid}").touch()
            os._exit(0)
        try:
            queue.put(1, timeout=0.05)
        except queues.Full:
            pass
marks = Path(os.environ["OUTLAST_SCRATCH"]).parent / "marks"
marks.mkdir(exist_ok=True)
fork = multiprocessing.get_context("fork")
queue = fork.Queue(2)
for _ in range(2):
    fork.Process(target=load, args=(queue, marks), daemon=True).start()
for step in range(begin + 1, steps + 1):
    queue.get()""",
)

OWN_HANDLER = textwrap.dedent(TRAIN).replace(
    "for step in range(begin + 1, steps + 1):",
    """
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for step in range(begin + 1, steps + 1):""",
)


@pytest.fixture
def world(tmp_path):
    with cluster(tmp_path) as made:
        yield made


def evict_and_go_on(world, command, seconds=30):
    """Evict the first machine at some step, let a second one finish; the first attempt's end."""
    vm = world.launch(1, command)
    until(lambda: vm.step() > 10)
    vm.metadata.evict(seconds)
    end = until(lambda: world.has(layout.attempt_end(JOB, 1)) and world.end(1))
    assert end.outcome == "yielded", vm.journal()
    assert vm.processes() == []
    vm.power_cut()
    assert world.launch(2, command).wait() == 0
    return end


@pytest.mark.parametrize("shell", ["{} | tee log.txt", "{}"], ids=["tee", "sh -c"])
def test_a_shell_around_it(world, shell):
    command = f"{sys.executable} {world.script(TRAIN)} {STEPS} 0.05 20"
    end = evict_and_go_on(world, ["sh", "-c", shell.format(command)])
    assert end.step == end.durable_step
    finished = world.outputs(2)
    assert set(finished) <= {"model.npy", "log.csv", "log.txt"}
    finished.pop("log.txt", None)
    assert world.end(2).started_from == f"000001-{end.step:012d}"
    assert len(finished["log.csv"].splitlines()) == STEPS


def test_a_pipe_does_not_hide_a_failure(world):
    script = world.script("""
        from outlast.run import Run
        Run.current()
        raise ValueError("bad data")
    """)
    vm = world.launch(1, ["sh", "-c", f"{sys.executable} {script} 2>&1 | tee log.txt"])
    assert vm.wait() == 0
    end = world.end(1)
    assert (end.outcome, end.exit_code) == ("failed", 0)
    assert end.log_tail[-1] == "ValueError: bad data"


def test_a_handler_of_its_own(world):
    end = evict_and_go_on(
        world, [sys.executable, world.script(OWN_HANDLER), str(STEPS), "0.05", "20"]
    )
    assert end.step == end.durable_step
    assert_finished(world, 2)


def test_finally_saves_a_model(world):
    end = evict_and_go_on(world, [sys.executable, world.script(FINALLY), str(STEPS), "0.05", "20"])
    assert end.step == end.durable_step
    ran = world.vms[0].root / f"jobs/{JOB}/attempts/000001/finally-ran"
    assert ran.exists()  # it had the time
    outputs = world.outputs(2)
    assert outputs.pop("model.tmp") == outputs["model.npy"]


def test_workers_are_not_signalled_and_nothing_stays(world):
    # So little time that SIGTERM comes before the program has left.
    end = evict_and_go_on(
        world, [sys.executable, world.script(WORKERS), str(STEPS), "0.05", "20"], 4
    )
    assert end.step == end.durable_step
    marks = world.vms[0].root / f"jobs/{JOB}/attempts/000001/marks"
    assert list(marks.iterdir()) == []
    assert_finished(world, 2)


WITHOUT = """
    import os, signal, sys, time
    from pathlib import Path
    outputs = Path(os.environ["OUTLAST_OUTPUTS"])
    asked = []
    {handler}
    (outputs / "ready").touch()
    if os.environ["OUTLAST_ATTEMPT"] == "2":
        sys.exit(0)
    while True:
        time.sleep(0.05)
        {each}
"""


@pytest.mark.parametrize(
    ("handler", "each", "code", "at_least"),
    [
        ("", "", 143, 0),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))", "", 0, 0),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))", "", 3, 0),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "", 137, 1.0),
    ],
    ids=["no handler", "exits 0", "exits 3", "ignores it"],
)
def test_without_the_library_it_is_signalled_at_once(world, handler, each, code, at_least):
    command = [sys.executable, world.script(WITHOUT.format(handler=handler, each=each))]
    vm = world.launch(1, command)
    ready = vm.root / f"jobs/{JOB}/attempts/000001/outputs/ready"
    until(ready.exists)
    vm.metadata.evict(4 if at_least else 30)
    began = time.monotonic()
    end = until(lambda: world.has(layout.attempt_end(JOB, 1)) and world.end(1))
    assert (end.outcome, end.exit_code) == ("yielded", code)
    assert at_least < time.monotonic() - began < 20
    vm.metadata.cancel()
    assert vm.wait() == 0
    assert world.end(2).outcome == "finished"  # exit code 0, and no signal
