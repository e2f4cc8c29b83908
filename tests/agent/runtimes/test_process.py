"""The process runtime keeps the contract of ``runtimes.base``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.daemon_kit import until
from outlast_agent.runtimes import wrapper
from outlast_agent.runtimes.base import CannotStartError, Work
from outlast_agent.runtimes.process import ProcessRuntime

TESTS = Path(__file__).parents[2]


def work(folder: Path, *command: str, attempt: int = 1, **more) -> Work:
    root = folder / f"attempt-{attempt}"
    folders = {name: root / name for name in ("scratch", "outputs", "control", "state")}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    return Work(
        job="digits", machine=f"m-{folder.name}", launch=1, attempt=attempt, image=None,
        command=command, env=more.pop("env", {}), code=None, log=root / "work.log",
        **folders, **more,
    )  # fmt: skip


@pytest.fixture
def runtime():
    return ProcessRuntime()


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def shell(text: str) -> tuple[str, ...]:
    return ("sh", "-c", text)


def alive(folder: Path) -> list[int]:
    mark = f"OUTLAST_MACHINE=m-{folder.name}\0".encode()
    found = []
    for pid in wrapper.pids():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if mark in environ and wrapper.start_time(pid) is not None:
            found.append(pid)
    return found


def test_runs_and_says_how_it_ended(runtime, tmp_path):
    running = runtime.start(work(tmp_path, *shell("echo out; echo err >&2; exit 3")))
    assert runtime.wait(running, 10).code == 3
    assert running.work.log.read_text() == "out\nerr\n"
    assert alive(tmp_path) == []
    assert runtime.wait(running, 0).code == 3  # again


def test_what_the_command_is_told(runtime, tmp_path):
    told = work(tmp_path, *shell("env; pwd"), env={"COLOUR": "blue"})
    runtime.wait(runtime.start(told), 10)
    lines = told.log.read_text().splitlines()
    for line in (
        f"OUTLAST_SCRATCH={told.scratch}", f"OUTLAST_OUTPUTS={told.outputs}",
        f"OUTLAST_CONTROL={told.control}", "OUTLAST_JOB=digits", "OUTLAST_ATTEMPT=1", "COLOUR=blue",
    ):  # fmt: skip
        assert line in lines
    assert lines[-1] == str(told.outputs)


def test_it_works_in_the_code_folder(runtime, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    running = runtime.start(work(tmp_path, "pwd"))
    runtime.wait(running, 10)
    again = work(tmp_path, "pwd", attempt=2)
    again = Work(**{**again.__dict__, "code": code})
    runtime.wait(runtime.start(again), 10)
    assert again.log.read_text() == f"{code}\n"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("no-such-program",), 127, "no-such-program: No such file or directory"),
        (("/etc/passwd",), 126, "/etc/passwd: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_run(runtime, tmp_path, command, code, said):
    running = runtime.start(work(tmp_path, *command))
    assert runtime.wait(running, 10).code == code
    assert said in running.work.log.read_text()


def test_signals_show_as_a_shell_shows_them(runtime, tmp_path):
    running = runtime.start(work(tmp_path, *shell("kill -SEGV $$")))
    assert runtime.wait(running, 10).code == 128 + signal.SIGSEGV


def test_sigterm_goes_to_the_main_process_only(runtime, tmp_path):
    running = runtime.start(
        work(tmp_path, *shell("(trap 'echo child' TERM; echo ready; sleep 9) & sleep 9"))
    )
    until(lambda: running.work.log.read_text() == "ready\n")
    runtime.terminate(running)
    assert runtime.wait(running, 10).code == 143
    assert "child" not in running.work.log.read_text()
    runtime.terminate(running)  # ended already


def test_nothing_outlives_the_main_process(runtime, tmp_path):
    text = "setsid sleep 60 & (setsid sh -c 'sleep 61 & sleep 62') & echo started"
    running = runtime.start(work(tmp_path, *shell(text)))
    assert runtime.wait(running, 10).code == 0
    assert alive(tmp_path) == []


def test_kill_ends_all_of_it_and_its_exit_can_be_read(runtime, tmp_path):
    text = "trap '' TERM; setsid sleep 60 & echo ready; while true; do sleep 0.05; done"
    running = runtime.start(work(tmp_path, *shell(text)))
    until(lambda: running.work.log.read_text() == "ready\n")
    runtime.terminate(running)
    assert runtime.wait(running, 0.3) is None
    runtime.kill(running)
    assert runtime.wait(running, 10).code == 137
    assert alive(tmp_path) == []


def test_wait_waits_no_longer_than_it_is_told(runtime, tmp_path):
    running = runtime.start(work(tmp_path, "sleep", "5"))
    began = time.monotonic()
    assert runtime.wait(running, 0.2) is None
    assert time.monotonic() - began < 2
    runtime.remove(running)
    assert alive(tmp_path) == []


def test_it_outlives_who_started_it_and_is_adopted(runtime, tmp_path):
    starter = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location("suite", {__file__!r})
suite = importlib.util.module_from_spec(spec)
spec.loader.exec_module(suite)
made = suite.work(Path({str(tmp_path)!r}), "sh", "-c", "sleep 1.5; echo end; exit 4")
suite.ProcessRuntime().start(made)
"""
    subprocess.run([sys.executable, "-c", starter], check=True, timeout=30)
    same = work(tmp_path, "sh")
    running = runtime.adopt(same)
    assert running is not None
    assert runtime.wait(running, 10).code == 4
    assert same.log.read_text() == "end\n"
    # Ended, and not yet removed: found again, with its exit.
    again = ProcessRuntime().adopt(same)
    assert runtime.wait(again, 0).code == 4
    runtime.remove(again)
    assert runtime.adopt(same) is None


def test_adopting_kills_what_other_attempts_left(runtime, tmp_path):
    runtime.start(work(tmp_path, "sleep", "60", attempt=1))
    assert runtime.adopt(work(tmp_path, "sleep", "60", attempt=2)) is None
    until(lambda: alive(tmp_path) == [])


def test_a_wrapper_that_was_killed_is_told_and_nothing_stays(runtime, tmp_path):
    running = runtime.start(work(tmp_path, *shell("sleep 60 & sleep 61")))
    os.kill(int(running.id.split()[0]), signal.SIGKILL)
    ended = runtime.wait(running, 10)
    assert ended.code == 137
    assert "watched over" in ended.message
    assert alive(tmp_path) == []


def test_a_later_process_with_its_pid_is_left_alone(runtime, tmp_path):
    bystander = subprocess.Popen(["sleep", "60"])
    made = work(tmp_path, "true")
    (made.state / "wrapper").write_text(f"{bystander.pid} 1")
    (made.state / "main").write_text(f"{bystander.pid} 1")
    running = runtime.adopt(made)
    runtime.terminate(running)
    runtime.kill(running)
    runtime.remove(running)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_inputs_are_where_the_command_looks(runtime, tmp_path):
    here = tmp_path / "inputs" / "0"
    here.mkdir(parents=True)
    (here / "data.txt").write_text("cats\n")
    there = tmp_path / "there" / "data"
    made = work(tmp_path, "cat", f"{there}/data.txt", inputs=((here, str(there)),))
    runtime.wait(runtime.start(made), 10)
    assert made.log.read_text() == "cats\n"
    runtime.start(work(tmp_path, "true", attempt=2, inputs=((here, str(there)),)))  # renewed
    taken = tmp_path / "taken"
    taken.touch()
    with pytest.raises(CannotStartError, match="choose a path") as error:
        runtime.start(work(tmp_path, "true", attempt=3, inputs=((here, str(taken)),)))
    assert error.value.cause == "input"
