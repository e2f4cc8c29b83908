"""How programs stop and end, seen from outside: files, exit codes, one line on stderr."""

from __future__ import annotations

import signal
import sys

import pytest

from outlast.progress import read_announcement, read_progress
from trainer.run_kit import TRAIN, at_step, result, steps


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
