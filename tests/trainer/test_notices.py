"""Notices and signals, seen from outside: the program stops in time, saved, or goes on."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from outlast.checkpoint import load_newest
from outlast.environment import Environment
from outlast.notice import Notice, clear_notice, write_notice
from outlast.run import Run
from trainer.run_kit import TRAIN, at_step, result, steps


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_notice(place, number):
    script = place.script(TRAIN + "\n    train(2000)\n")
    process = place.start(sys.executable, script)
    at_step(process, 5)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75
    assert f"({number.name.lower()}), saved" in err
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


def test_what_is_not_a_notice_is_told_once(place):
    script = place.script(TRAIN + "\n    train(100)\n")
    process = place.start(sys.executable, script)
    at_step(process, 3)
    (place.control() / "notice.json").write_text("{}")
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert [note["code"] for note in place.notes()] == ["notice-unreadable"]


@pytest.fixture
def run(tmp_path):
    run = Run(Environment(tmp_path / "scratch", None, tmp_path, "test", 1, 0, 1))
    yield run
    run.close()


def notice(run, seconds: float) -> Notice:
    return Notice("event-1", "preempt", seconds, time.monotonic() + seconds, "")


def test_of_a_notice_and_a_signal_the_earlier_deadline_rules(run, wait_for):
    control = run.environment.control
    write_notice(control, notice(run, 30))
    wait_for(lambda: run.notice)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_for(lambda: run.notice.reason == "sigterm")
    assert 9 < run.notice.left(time.monotonic()) <= 10

    write_notice(control, notice(run, 5))
    wait_for(lambda: run.notice.reason == "preempt")
    write_notice(control, notice(run, 30))
    wait_for(lambda: run.notice.reason == "sigterm")

    clear_notice(control)  # what a signal said is not taken back by it
    run._tick()
    assert run.notice.reason == "sigterm"
    assert run.stop_requested


def test_a_later_signal_does_not_lengthen_a_notice(run, wait_for):
    write_notice(run.environment.control, notice(run, 5))
    wait_for(lambda: run.notice)
    os.kill(os.getpid(), signal.SIGTERM)
    run._tick()
    assert run.notice.reason == "preempt"
    clear_notice(run.environment.control)
    wait_for(lambda: run.notice.reason == "sigterm")
