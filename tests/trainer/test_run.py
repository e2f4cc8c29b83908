"""How programs stop and end, seen from outside: files, exit codes, one line on stderr."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from outlast.checkpoint import load_newest
from outlast.progress import read_announcement, read_progress

TRAIN = """
    import os, sys, time
    import numpy as np
    from outlast.run import Run
    from outlast.snapshot import Snapshot

    run = Run.current()
    rng = np.random.default_rng(0)
    x, step = np.zeros(100), 0
    if run.resumed:
        x, step = run.resumed.arrays["x"], run.resumed.step
        rng.bit_generator.state = run.resumed.state["rng"]

    def snapshot():
        return Snapshot(step, {"rng": rng.bit_generator.state}, {"x": x.copy()})

    def train(total=60, seconds=0.01):
        global x, step
        while step < total:
            run.step_begin()
            x += rng.normal(size=100)
            time.sleep(seconds)
            step += 1
            run.step_end(step)
            print(step, flush=True)
            if run.stop_requested:
                run.stop(snapshot())
            if run.due():
                run.save(snapshot())
        run.save(snapshot(), "end")
        run.finish()
        print("result", x.sum().hex(), flush=True)
"""


def steps(out: str) -> list[int]:
    return [int(line) for line in out.splitlines() if line.isdigit()]


def result(out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith("result"))


def at_step(process, number: int) -> list[str]:
    """Lines of output up to step ``number``."""
    lines = []
    while (line := process.stdout.readline()) and line.strip() != str(number):
        lines.append(line)
    assert line, process.stderr.read()
    return [*lines, line]


def test_notice_stops_at_the_next_batch_and_the_next_attempt_goes_on(place):
    script = place.script(TRAIN + "\n    train()\n")
    whole = place.python(script, attempt=1, OUTLAST_SCRATCH=str(place.root / "other"))
    (place.control(1) / "end.json").unlink()

    process = place.start(sys.executable, script)
    first = at_step(process, 20)
    place.notice()
    out, err = process.communicate(timeout=20)
    first = steps("".join(first) + out)
    assert process.returncode == 75
    assert err.strip() == f"outlast: stopped at step {first[-1]} (preempt), saved"
    end = place.end()
    assert (end.outcome, end.step) == ("yielded", first[-1])

    second = place.python(script, attempt=2)
    assert second.returncode == 0
    assert first + steps(second.stdout) == list(range(1, 61))
    assert result(second.stdout) == result(whole.stdout)
    assert place.end(2).outcome == "finished"


def test_a_notice_is_obeyed_within_a_step(place):
    script = place.script(TRAIN + "\n    train(2000)\n")
    process = place.start(sys.executable, script)
    at_step(process, 5)
    place.notice()
    noticed = time.monotonic()
    process.communicate(timeout=20)
    assert process.returncode == 75
    assert time.monotonic() - noticed < 2.0


def test_a_notice_that_is_taken_back_is_forgotten(place, wait_for):
    script = place.script(TRAIN + "\n    train(20, seconds=0.05)\n")
    process = place.start(sys.executable, script, OUTLAST_EVERY="0")
    at_step(process, 3)
    place.notice()
    (place.control() / "notice.json").unlink()
    out, _ = process.communicate(timeout=30)
    assert process.returncode in (0, 75)  # the batch may just have ended
    if process.returncode == 0:
        assert steps(out)[-1] == 20


def test_what_the_daemon_is_told(place, wait_for):
    script = place.script(
        TRAIN
        + """
    run.describe(epoch=2, epochs=5, metrics={"loss": 0.5, "bad": float("nan")})
    run.note("warning", "shuffle-unseeded", "The order will differ.")
    train(200)
    """
    )
    process = place.start(sys.executable, script, OUTLAST_EVERY="0.1")
    at_step(process, 100)
    assert read_announcement(place.control()).pid == process.pid
    progress = wait_for(
        lambda: (p := read_progress(place.control())) and p.step > 50 and p.saved_step and p
    )
    process.communicate(timeout=20)
    assert progress.phase == "training"
    assert progress.metrics == {"loss": 0.5}
    assert (progress.epoch, progress.epochs) == (2, 5)
    assert 0.01 <= progress.step_seconds < 0.1
    assert place.notes() == [
        {"level": "warning", "code": "shuffle-unseeded", "text": "The order will differ."}
    ]
    assert read_progress(place.control()).step == 200


ENDINGS = {
    "nothing more": ("", 0, "finished"),
    "an exception": ("raise RuntimeError('no')", 1, None),
    "sys.exit(3)": ("sys.exit(3)", 3, None),
    "sys.exit('a message')": ("sys.exit('no')", 1, None),
    "sys.exit(0)": ("sys.exit(0)", 0, "finished"),
    "sys.exit()": ("sys.exit()", 0, "finished"),
    "an exit that was caught": (
        "try:\n        sys.exit(3)\n    except SystemExit:\n        pass\n    run.finish()",
        0,
        "finished",
    ),
    "os._exit": ("os._exit(0)", 0, None),
    "SIGKILL": ("os.kill(os.getpid(), 9)", -9, None),
    "training goes on and breaks off": ("run.step_begin()", 0, None),
    "an excepthook of one's own": (
        "sys.excepthook = lambda *_: print('caught')\n    raise ValueError",
        1,
        None,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_finished_is_said_only_at_a_good_end(place, ending):
    code, returncode, outcome = ENDINGS[ending]
    done = place.python(place.script(f"{TRAIN}\n    train(3, 0)\n    {code}\n"))
    assert done.returncode == returncode, done.stderr
    end = place.end()
    assert (end and end.outcome) == outcome


def test_the_end_is_told_through_a_pipe(place):
    script = place.script(TRAIN + "\n    train(2000)\n")
    process = place.start("sh", "-c", f"{sys.executable} {script} | tee {place.root}/log")
    at_step(process, 5)
    place.notice()
    process.communicate(timeout=20)
    assert process.returncode == 0  # tee's; the end file is the truth
    assert place.end().outcome == "yielded"


def test_except_exception_does_not_swallow_it_and_finally_runs(place):
    script = place.script(
        TRAIN
        + """
    try:
        try:
            train(2000)
        except Exception:
            print("swallowed")
    finally:
        print("finally", flush=True)
    """
    )
    process = place.start(sys.executable, script)
    at_step(process, 5)
    place.notice()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "swallowed" not in out
    assert "finally" in out
    assert "Traceback" not in err


def test_exit_handlers_run_and_the_framework_is_not_torn_down(place):
    script = place.script(
        """
    import atexit, logging, os
    class Framework:
        def __del__(self):
            print("torn down", flush=True)
    """
        + TRAIN
        + """
    framework = Framework()
    logging.basicConfig(filename=os.environ["OUTLAST_OUTPUTS"] + "/log", level="INFO")
    atexit.register(lambda: (logging.info("my handler"), print("my handler")))
    train(2000)
    """
    )
    process = place.start(sys.executable, script)
    at_step(process, 5)
    place.notice()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 75
    assert out.rstrip().endswith("my handler")
    assert "my handler" in (place.outputs / "log").read_text()
    assert "torn down" not in out


def test_sigterm_is_a_notice(place):
    script = place.script(TRAIN + "\n    train(2000)\n")
    process = place.start(sys.executable, script)
    at_step(process, 5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "(sigterm), saved" in err
    assert place.end().outcome == "yielded"


def test_ctrl_c_is_a_notice(place):
    script = place.script(TRAIN + "\n    train(2000)\n")
    process = place.start(sys.executable, script)
    at_step(process, 5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "(sigint), saved" in err
    assert place.end().outcome == "yielded"


def test_a_second_ctrl_c_does_not_wait_for_the_step(place):
    one_step = "run.step_begin(); run.step_end(1); print(1, flush=True); run.step_begin()"
    script = place.script(TRAIN + f"\n    {one_step}\n    time.sleep(60)\n")
    process = place.start(sys.executable, script)
    at_step(process, 1)
    process.send_signal(signal.SIGINT)
    while "once more stops at once" not in (line := process.stderr.readline()):
        assert line, "it ended at the first Ctrl-C"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert process.returncode == -signal.SIGINT


def test_sigterm_after_training_ends_the_program(place):
    script = place.script(
        TRAIN + "\n    train(3)\n    print('late', flush=True)\n    time.sleep(30)\n"
    )
    process = place.start(sys.executable, script)
    at_step(process, 3)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert place.end() is None


@pytest.mark.parametrize("before", [True, False])
def test_a_handler_of_ones_own_stays(place, before):
    own = """
    import os, signal
    signal.signal(signal.SIGTERM, lambda *_: (print("mine", flush=True), os._exit(0)))
    """
    text = own + TRAIN if before else TRAIN + own
    process = place.start(sys.executable, place.script(text + "\n    train(2000)\n"))
    at_step(process, 5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert "mine" in out
    assert process.returncode == 0
    assert place.end() is None


def test_a_step_too_long_for_the_notice_is_given_up_for_the_newest_save(place, wait_for):
    script = place.script(TRAIN + "\n    train(4, 0.3)\n    train(6, 60)\n")
    process = place.start(sys.executable, script, OUTLAST_EVERY="0")
    at_step(process, 4)
    place.notice(seconds=3)
    end = wait_for(place.end, timeout=4)
    assert (end.outcome, end.step) == ("yielded", 4)
    process.kill()
    process.communicate()
    assert load_newest(place.scratch).step == 4


def test_a_step_that_ends_in_time_after_all_is_saved(place, wait_for):
    # Steps of 0.05 s, then one of 2 s: expected to end any moment, then overdue.
    script = place.script(TRAIN + "\n    train(10, 0.05)\n    train(11, 2.0)\n    train(99, 9)\n")
    process = place.start(sys.executable, script, OUTLAST_EVERY="0")
    at_step(process, 10)
    place.notice(seconds=1.5)
    assert wait_for(place.end).step == 10
    process.communicate(timeout=20)
    assert process.returncode == 75
    assert (place.end().outcome, place.end().step) == ("yielded", 11)


def test_forked_workers_neither_save_nor_end(place):
    script = place.script(
        TRAIN
        + """
    import multiprocessing as mp

    def work(queue):
        try:
            run.save(snapshot(), "end")
        except RuntimeError as error:
            queue.put(str(error))
        sys.exit(0)

    def wait_to_be_terminated():
        time.sleep(60)

    context = mp.get_context("fork")
    train(3, 0)
    queue = context.SimpleQueue()
    worker = context.Process(target=work, args=(queue,))
    worker.start()
    print(queue.get(), flush=True)
    worker.join()
    sleeper = context.Process(target=wait_to_be_terminated)
    sleeper.start()
    sleeper.terminate()
    sleeper.join()
    print("sleeper", sleeper.exitcode, flush=True)
    if os.fork() == 0:
        sys.exit(0)      # runs exit handlers, as some loaders do
    os.wait()
    print("forked", os.path.exists(os.environ["OUTLAST_CONTROL"] + "/end.json"), flush=True)
    """
    )
    done = place.python(script)
    assert "only the process that trains can save" in done.stdout
    assert "sleeper -15" in done.stdout
    assert "forked False" in done.stdout
    assert place.end().outcome == "finished"


def test_without_a_daemon_checkpoints_lie_beside_the_script(place):
    script = place.script(TRAIN + "\n    train(5, 0)\n")
    names = ("OUTLAST_SCRATCH", "OUTLAST_CONTROL", "OUTLAST_OUTPUTS", "OUTLAST_ATTEMPT")
    environ = dict.fromkeys(names, "")
    first = place.python(script, **environ)
    again = place.python(script, **environ)
    assert result(first.stdout) == result(again.stdout)
    assert steps(again.stdout) == []
    assert (place.root / ".outlast" / "train" / "checkpoints" / "000001-000000000005.json").exists()
    assert not place.end()


def test_without_a_daemon_it_is_said_how_to_go_on(place):
    script = place.script(TRAIN + "\n    train(2000)\n")
    names = ("OUTLAST_SCRATCH", "OUTLAST_CONTROL", "OUTLAST_OUTPUTS", "OUTLAST_ATTEMPT")
    process = place.start(sys.executable, script, **dict.fromkeys(names, ""))
    at_step(process, 5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "(sigint), saved: run again to go on from there" in err


def test_two_programs_do_not_share_a_folder(place):
    script = place.script(TRAIN + "\n    train(2000)\n")
    first = place.start(sys.executable, script)
    at_step(first, 3)
    second = place.python(script)
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"outlast: train.py, line 7: another process trains with {place.scratch}: end it, or give "
        "this one another folder"
    ]


def test_what_is_not_a_notice_is_told_once(place):
    script = place.script(TRAIN + "\n    train(100)\n")
    process = place.start(sys.executable, script)
    at_step(process, 3)
    (place.control() / "notice.json").write_text("{}")
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert [note["code"] for note in place.notes()] == ["notice-unreadable"]


def test_a_state_that_is_not_plain_is_named(place):
    script = place.script(TRAIN + '\n    run.save(Snapshot(1, {"model": {"f": print}}, {}))\n')
    done = place.python(script)
    assert done.returncode == 1
    assert "TypeError: model/f is a builtins.builtin_function_or_method" in done.stderr


def test_a_damaged_checkpoint_is_told_and_passed_over(place):
    script = place.script(TRAIN + "\n    train(20, 0.02)\n")
    place.python(script, OUTLAST_EVERY="0.05")
    newest = max(place.scratch.glob("checkpoints/*"))
    newest.write_bytes(newest.read_bytes()[:-5])
    done = place.python(script, attempt=2)
    assert done.returncode == 0
    assert "checkpoint-damaged" in [note["code"] for note in place.notes(2)]
    assert 0 < len(steps(done.stdout)) < 20
    assert result(done.stdout)
